//! What the documents say must be so: commands, paths and links in them are held against the repository. And what must not
//! stand in any tracked file.

use std::collections::BTreeSet;
use std::path::Path;

use muster_tests::house::rust::{code, functions};
use muster_tests::house::tracked::{Tracked, all, root};

const DEMO: &str = "cargo run --release --bin muster -- demo";
const TESTS: &str = "cargo test --workspace";

fn document(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents() -> Vec<Tracked> {
    all().into_iter().filter(|file| file.path.ends_with(".md") && !file.path.starts_with("tests/vectors/")).collect()
}

fn assert_none(what: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{what}:\n  {}", offenders.join("\n  "));
}

/// Text between backticks, outside of fenced blocks.
fn spans(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// Targets of Markdown links.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

#[test]
fn the_readme_has_the_two_commands_on_lines_of_their_own() {
    let readme = document("README.md");
    for command in [DEMO, TESTS] {
        assert!(readme.lines().any(|line| line == command), "{command}");
    }
}

#[test]
fn ci_runs_the_test_command_of_the_readme_and_nothing_narrower() {
    let script = document(".ci/run");
    let runs: Vec<&str> = script.lines().map(str::trim).filter(|line| line.starts_with("cargo test")).collect();
    assert_eq!(runs, [format!("{TESTS} 2>&1 | tee \"$log\"")]);
}

#[test]
fn every_link_in_a_document_leads_somewhere() {
    let mut offenders = Vec::new();
    for file in documents() {
        let folder = root().join(&file.path).parent().map(Path::to_owned).unwrap_or_default();
        for link in links(&file.text).into_iter().filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let path = link.split('#').next().unwrap_or_default();
            if !folder.join(path).exists() {
                offenders.push(format!("{}: {link}", file.path));
            }
        }
    }
    assert_none("leads nowhere", offenders);
}

/// `server/src/x.rs`, `docs/…` and, with `::name`, a function or type in that file.
#[test]
fn every_path_and_name_in_the_architecture_exists() {
    let tops = ["proto/", "server/", "agent/", "tests/", "deploy/", "docs/", ".ci/"];
    let mut offenders = Vec::new();
    let mut checked = 0;
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"] {
        for span in
            spans(&self::document(document)).into_iter().filter(|span| tops.iter().any(|top| span.starts_with(top)))
        {
            let (path, name) = span.split_once("::").map_or((span.as_str(), None), |(path, name)| (path, Some(name)));
            checked += 1;
            if !root().join(path).exists() {
                offenders.push(format!("{document}: {path} does not exist"));
            } else if let Some(name) = name
                && !defines(&self::document(path), name)
            {
                offenders.push(format!("{document}: {path} has no {name}"));
            }
        }
    }
    assert_none("named, but not there", offenders);
    assert!(checked > 20, "only {checked} paths were found: is the form still `path::name`?");
}

fn defines(text: &str, name: &str) -> bool {
    let code = code(text);
    let is_type = ["struct", "enum", "trait", "const", "type"].iter().any(|kind| {
        code.match_indices(&format!("{kind} {name}"))
            .any(|(at, found)| !code[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    });
    is_type || functions(&code).iter().any(|function| function.name == name)
}

#[test]
fn decisions_are_numbered_without_a_gap_and_say_what_they_rest_on() {
    let decisions: Vec<Tracked> = all()
        .into_iter()
        .filter(|file| file.path.starts_with("docs/decisions/") && file.path.ends_with(".md"))
        .collect();
    assert!(!decisions.is_empty());
    for (number, file) in (1..).zip(&decisions) {
        let name = file.path.trim_start_matches("docs/decisions/");
        assert!(name.starts_with(&format!("{number:04}-")), "{name} stands where number {number} belongs");
        for section in ["## Context", "## Decision", "## Consequences"] {
            assert!(file.text.lines().any(|line| line == section), "{name} has no {section}");
        }
    }
}

#[test]
fn no_tracked_file_tells_how_the_work_was_done_or_names_a_machine_or_a_registry() {
    // Written in pieces, so that this file does not find itself.
    let banned: Vec<String> = [
        ["/wo", "rk/"],
        ["/ro", "ot/wt"],
        ["/ro", "ot/brief"],
        ["/ro", "ot/.cargo"],
        ["/fa", "rm/"],
        ["crates", ".io"],
        ["docs", ".rs/"],
        ["static.rust-", "lang"],
        ["proxy.golang", ".org"],
        ["Co-authored", "-by"],
        ["chat", "gpt"],
        ["clau", "de"],
        ["anthro", "pic"],
        ["openai", ".com"],
        ["language ", "model"],
        ["TO", "DO("],
        ["FIX", "ME"],
    ]
    .into_iter()
    .map(|parts| parts.concat().to_lowercase())
    .chain([format!("{}/", root().display()).to_lowercase()])
    .collect();
    let mut offenders = Vec::new();
    // The lock file is cargo's own and names the registry; golden data is as Kubernetes wrote it.
    let ours = |path: &str| path != "Cargo.lock" && !path.starts_with("tests/vectors/");
    for file in all().into_iter().filter(|file| ours(&file.path)) {
        for (number, line) in file.text.lines().enumerate() {
            let lower = line.to_lowercase();
            offenders.extend(
                banned
                    .iter()
                    .filter(|word| lower.contains(word.as_str()))
                    .map(|word| format!("{}:{} {word}", file.path, number + 1)),
            );
            if names_an_issue(&lower) {
                offenders.push(format!("{}:{} names an issue of a tracker", file.path, number + 1));
            }
        }
    }
    assert_none("must not stand in a tracked file", offenders);
}

/// The word with a number after it: a reader of the code cannot look it up.
fn names_an_issue(lower: &str) -> bool {
    lower.match_indices("issue").any(|(at, word)| {
        let rest = lower[at + word.len()..].trim_start_matches('s').trim_start_matches([' ', '#']);
        rest.len() < lower[at + word.len()..].len() && rest.starts_with(|c: char| c.is_ascii_digit())
    })
}

#[test]
fn the_change_log_begins_with_what_is_not_released_yet() {
    let log = document("CHANGELOG.md");
    let headings: Vec<&str> = log.lines().filter(|line| line.starts_with("## ")).collect();
    assert_eq!(headings.first(), Some(&"## Unreleased"));
    let unique: BTreeSet<&&str> = headings.iter().collect();
    assert_eq!(unique.len(), headings.len());
}
