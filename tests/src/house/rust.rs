//! Rust source as far as the house rules need it: code without comments and literals, functions and their length, and which
//! rooms (top modules of the crate) a file enters.

use std::collections::BTreeSet;

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of `fn`, counted from 1.
    pub line: usize,
    /// From `fn` to the closing brace, both included.
    pub lines: usize,
}

/// The text with every comment, string and character literal blanked; line breaks stay where they are.
pub fn code(text: &str) -> String {
    let source: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < source.len() {
        let end = literal_end(&source, at);
        if end > at {
            out.extend(source[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(source[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none does.
fn literal_end(source: &[char], at: usize) -> usize {
    let next = source.get(at + 1).copied();
    match source[at] {
        '/' if next == Some('/') => find(source, at, |c| c == '\n'),
        '/' if next == Some('*') => block_comment_end(source, at),
        '"' => quoted_end(source, at + 1, '"'),
        '\'' if next == Some('\\') || source.get(at + 2) == Some(&'\'') => quoted_end(source, at + 1, '\''),
        'r' if !follows_word(source, at) => raw_string_end(source, at + 1).unwrap_or(at),
        'b' | 'c' if next == Some('r') && !follows_word(source, at) => raw_string_end(source, at + 2).unwrap_or(at),
        _ => at,
    }
}

fn find(source: &[char], from: usize, is: impl Fn(char) -> bool) -> usize {
    source[from..].iter().position(|c| is(*c)).map_or(source.len(), |offset| from + offset)
}

fn follows_word(source: &[char], at: usize) -> bool {
    at > 0 && (source[at - 1].is_alphanumeric() || source[at - 1] == '_')
}

fn block_comment_end(source: &[char], at: usize) -> usize {
    let (mut depth, mut here) = (0_usize, at);
    while here + 1 < source.len() {
        match (source[here], source[here + 1]) {
            ('/', '*') => (depth, here) = (depth + 1, here + 2),
            ('*', '/') => (depth, here) = (depth - 1, here + 2),
            _ => here += 1,
        }
        if depth == 0 {
            return here;
        }
    }
    source.len()
}

fn quoted_end(source: &[char], from: usize, quote: char) -> usize {
    let mut here = from;
    while here < source.len() {
        match source[here] {
            '\\' => here += 2,
            c if c == quote => return here + 1,
            _ => here += 1,
        }
    }
    source.len()
}

/// `from` is behind the `r`. `None` for a raw identifier.
fn raw_string_end(source: &[char], from: usize) -> Option<usize> {
    let quote = find(source, from, |c| c != '#');
    if source.get(quote) != Some(&'"') {
        return None;
    }
    let hashes = quote - from;
    let closes = |at: &usize| source[*at] == '"' && (1..=hashes).all(|offset| source.get(at + offset) == Some(&'#'));
    Some((quote + 1..source.len()).find(closes).map_or(source.len(), |at| at + 1 + hashes))
}

/// `code` without its `#[cfg(test)]` modules, blanked; line breaks stay.
pub fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        // A module with a body, or `mod tests;` and the like.
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(open), semicolon) if semicolon.is_none_or(|semicolon| open < semicolon) => {
                start + block_end(&rest[open..]).map_or(rest.len(), |length| open + length)
            }
            (_, Some(semicolon)) => start + semicolon + 1,
            _ => out.len(),
        };
        let blank: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
    }
    out
}

/// Names of the modules in files of their own that `code` declares for tests only.
pub fn test_modules(code: &str) -> Vec<String> {
    let declared = code.split("#[cfg(test)]").skip(1).filter_map(|rest| {
        let declaration =
            rest.split([';', '{']).next().filter(|declaration| rest[declaration.len()..].starts_with(';'))?;
        let mut words = declaration.split_whitespace().skip_while(|word| *word != "mod");
        words.nth(1).map(str::to_owned)
    });
    declared.collect()
}

/// Length in bytes of the block that `code` begins with.
fn block_end(code: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Every function with a body in `code`, nested ones too.
pub fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for start in words(code, "fn") {
        let after = &code[start + 2..];
        let name: String = after.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // `fn(` is a type; a `;` before the body is a declaration, but `;` also stands in `[u8; 4]`.
        if name.is_empty() {
            continue;
        }
        let Some(open) = body_start(after) else { continue };
        let Some(length) = block_end(&after[open..]) else { continue };
        let lines = after[..open + length].matches('\n').count() + 1;
        found.push(Function { name, line: code[..start].matches('\n').count() + 1, lines });
    }
    found
}

/// Where the body begins, in a signature that begins with the name; `None` for a declaration without one.
fn body_start(signature: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Where `word` stands alone.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !code[..*at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

/// Whether `code` names `path` (as in `muster_proto`) as a word of its own.
pub fn names(code: &str, path: &str) -> bool {
    words(code, path).next().is_some()
}

/// The top modules that `code` reaches through `crate::`, in `use` lines of any shape and in paths.
pub fn rooms_entered(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for at in words(code, "crate") {
        // `pub(crate)` and `pub(in crate::x)` say who may see something, not what it needs.
        let before = code[..at].trim_end();
        let Some(path) = code[at + "crate".len()..].trim_start().strip_prefix("::") else { continue };
        if before.ends_with("(in") || before.ends_with("( in") {
            continue;
        }
        let path = path.trim_start();
        match path.strip_prefix('{') {
            Some(group) => rooms.extend(first_words(group)),
            None => rooms.extend(first_word(path)),
        }
    }
    rooms
}

fn first_word(path: &str) -> Option<String> {
    let word: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// The first word of each item of a `use` group, up to the brace that closes it.
fn first_words(group: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut starts = vec![0];
    let mut end = group.len();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                end = at;
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(at + 1),
            _ => {}
        }
    }
    starts
        .into_iter()
        .filter(|start| *start < end)
        .filter_map(|start| first_word(group[start..end].trim_start()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let text = "a // x {\nb /* /* \n} */ */ c\n\"q\\\"{\" 'd' '\\'' '{' r#\"\"}\"# br\"}\" e<'f> r#g";
        let code = code(text);
        assert_eq!(code.matches('\n').count(), text.matches('\n').count());
        assert!(!code.contains(['{', '}', '"', 'x', 'q', 'd']), "{code}");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), "a b c e<'f> r#g");
    }

    #[test]
    fn functions_are_found_with_their_length() {
        let text = "fn a() {}\ntrait T { fn b(&self, x: [u8; 4]); fn c() -> [u8; 2] {\n  [0; 2]\n} }\n\
                    fn d<F: Fn(fn(u8) -> u8)>(f: F)\nwhere\n  F: Sized,\n{\n  fn e() {}\n}\n// fn f() {}\n";
        let found: Vec<(String, usize, usize)> =
            functions(&code(text)).into_iter().map(|function| (function.name, function.line, function.lines)).collect();
        let expected = [("a", 1, 1), ("c", 2, 3), ("d", 5, 6), ("e", 9, 1)].map(|(n, a, b)| (n.to_owned(), a, b));
        assert_eq!(found, expected);
    }

    #[test]
    fn rooms_are_seen_in_every_shape_of_use() {
        let text = "use crate::api::x;\nuse crate::{\n  cli::{a, b::c},\n  seal,\n};\nlet y = crate::pki::z();\n\
                    pub(crate) fn f() {}\npub(in crate::hidden) fn g() {}\nuse other::crate_name;";
        let rooms: Vec<String> = rooms_entered(&code(text)).into_iter().collect();
        assert_eq!(rooms, ["api", "cli", "pki", "seal"]);
    }

    #[test]
    fn what_is_only_for_tests_does_not_count() {
        let text =
            "use crate::a;\n#[cfg(test)]\nmod tests {\n  use crate::b;\n}\n#[cfg(test)]\nmod more;\nuse crate::c;";
        let rooms: Vec<String> = rooms_entered(&without_tests(&code(text))).into_iter().collect();
        assert_eq!(rooms, ["a", "c"]);
    }

    #[test]
    fn modules_for_tests_in_files_of_their_own_are_found() {
        let text = "mod a;\n#[cfg(test)]\nmod fixture;\n#[cfg(test)]\npub(crate) mod b;\n#[cfg(test)]\nmod tests {\n  mod c;\n}";
        assert_eq!(test_modules(&code(text)), ["fixture", "b"]);
    }

    #[test]
    fn a_name_counts_only_as_a_word() {
        assert!(names("use muster_proto::x;", "muster_proto"));
        assert!(!names("use muster_protocol::x;", "muster_proto"));
    }
}
