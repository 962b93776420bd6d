//! `Name:   value` lines with sections, as `kubectl describe` prints them.

use std::fmt::Write as _;

use crate::cli::console::plain;

/// Narrowest column of names, so that the screens of one command look alike.
const NAME_MIN: usize = 16;

/// Lines of names and values.
#[derive(Debug, Default)]
pub(in crate::cli) struct Fields {
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Field { depth: usize, name: &'static str, value: String },
    Section(String),
    Block(String),
}

impl Fields {
    /// A field; left out if its value is empty.
    pub(in crate::cli) fn add(&mut self, name: &'static str, value: impl Into<String>) -> &mut Self {
        self.put(0, name, value.into())
    }

    /// A field of the section before it; left out if its value is empty.
    pub(in crate::cli) fn below(&mut self, name: &'static str, value: impl Into<String>) -> &mut Self {
        self.put(1, name, value.into())
    }

    /// A heading.
    pub(in crate::cli) fn section(&mut self, title: impl Into<String>) -> &mut Self {
        self.lines.push(Line::Section(title.into()));
        self
    }

    /// Lines that are laid out already and safe, e.g. a table; indented below the section before them.
    pub(in crate::cli) fn block(&mut self, text: &str) -> &mut Self {
        self.lines.push(Line::Block(text.to_owned()));
        self
    }

    fn put(&mut self, depth: usize, name: &'static str, value: String) -> &mut Self {
        if !value.is_empty() {
            self.lines.push(Line::Field { depth, name, value });
        }
        self
    }

    /// All lines, values aligned.
    pub(in crate::cli) fn render(&self) -> String {
        let width = |line: &Line| match line {
            Line::Field { depth, name, .. } => 2 * depth + name.len() + 1,
            Line::Section(_) | Line::Block(_) => 0,
        };
        let column = self.lines.iter().map(width).max().unwrap_or(0).max(NAME_MIN) + 2;
        let mut out = String::new();
        for line in &self.lines {
            // Writing to a String cannot fail.
            let _ = match line {
                Line::Field { depth, name, value } => {
                    let indent = 2 * depth;
                    let name = format!("{name}:");
                    writeln!(out, "{:indent$}{name:<rest$}{}", "", plain(value), rest = column - indent)
                }
                Line::Section(title) => writeln!(out, "{}:", plain(title)),
                Line::Block(text) => text.lines().try_for_each(|line| writeln!(out, "  {line}")),
            };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;

    #[test]
    fn values_are_aligned_and_empty_fields_left_out() {
        let mut fields = Fields::default();
        fields
            .add("Name", "n1")
            .add("Pool", "")
            .section("Claimed")
            .below("Hostname", "x\u{1b}[2J")
            .block("A   B\n1   2\n");
        assert_eq!(
            fields.render(),
            "Name:             n1\n\
             Claimed:\n\
             \u{20} Hostname:       x\\u{1b}[2J\n\
             \u{20} A   B\n\
             \u{20} 1   2\n"
        );
    }
}
