//! Which keys exist, and on which line each stands in a file: the basis of useful errors.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use crate::suggestion::suggestion;

/// Every section with its keys. A test holds it against the types.
pub(super) const KNOWN: [(&str, &[&str]); 6] = [
    (
        "server",
        &[
            "id",
            "data_dir",
            "listen",
            "advertise",
            "ports",
            "enrolment_urls",
            "node_urls",
            "operator_urls",
            "promote_after",
        ],
    ),
    ("server.ports", &["enrolment", "nodes", "operators", "peers", "http"]),
    ("discovery", &["port", "url", "certificate", "key"]),
    ("storage", &["backend"]),
    ("seal", &["kind", "path", "previous"]),
    ("log", &["format", "level"]),
];

/// On which line each key stands, counted from 1.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// The line of a key; 1 for one that the file does not have.
    pub(super) fn line_of(&self, section: &str, key: &str) -> usize {
        self.0.get(&format!("{section}.{key}")).copied().unwrap_or(1)
    }
}

/// Refuses a key that nothing knows, and finds the line of each other one.
pub(super) fn check(file: &Path, text: &str) -> Result<Lines, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| syntax(file, text, &error))?;
    let mut lines = Lines::default();
    walk(file, text, table.get_ref(), "", &mut lines)?;
    Ok(lines)
}

/// An error of the parser, on the line where it saw it.
pub(super) fn syntax(file: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map_or(1, |span| line_at(text, span.start));
    ConfigError::Syntax { file: file.to_owned(), line, message: error.message().to_owned() }
}

/// Depth is bounded by [`KNOWN`]: only its sections are entered.
fn walk(file: &Path, text: &str, table: &DeTable<'_>, section: &str, lines: &mut Lines) -> Result<(), ConfigError> {
    for (key, value) in table {
        let path = joined(section, key.get_ref());
        let line = line_at(text, key.span().start);
        if !is_known(section, key.get_ref()) {
            return Err(ConfigError::UnknownKey {
                file: file.to_owned(),
                line,
                nearest: nearest(section, key.get_ref()),
                key: path,
            });
        }
        if let DeValue::Table(inner) = value.get_ref()
            && KNOWN.iter().any(|(name, _)| *name == path)
        {
            walk(file, text, inner, &path, lines)?;
        }
        lines.0.insert(path, line);
    }
    Ok(())
}

fn joined(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

fn keys_of(section: &str) -> Vec<&'static str> {
    if section.is_empty() {
        return KNOWN.iter().map(|(name, _)| *name).filter(|name| !name.contains('.')).collect();
    }
    KNOWN.iter().find(|(name, _)| *name == section).map_or_else(Vec::new, |(_, keys)| keys.to_vec())
}

fn is_known(section: &str, key: &str) -> bool {
    keys_of(section).contains(&key)
}

/// In the same section first; then a key of that very name in another section, which is how it is most often misplaced.
fn nearest(section: &str, key: &str) -> Option<String> {
    if let Some(found) = suggestion(key, keys_of(section)) {
        return Some(joined(section, found));
    }
    KNOWN.iter().find(|(_, keys)| keys.contains(&key)).map(|(name, _)| joined(name, key))
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
