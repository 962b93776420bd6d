//! Why settings were refused, told so that the reader can mend them without looking anything up.

use std::path::PathBuf;

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML, or a value is of the wrong type.
    #[error("{}:{line}: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key that nothing knows.
    #[error("{}:{line}: unknown key {key}{}", file.display(), nearest.as_ref().map_or_else(
        || String::from("; `muster serve --print-config` shows all that exist"),
        |nearest| format!("; did you mean {nearest}?")))]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key with its section.
        key: String,
        /// The known key that is nearest, with its section.
        nearest: Option<String>,
    },
    /// A value of the right type that makes no sense.
    #[error("{}:{line}: {key}: {why}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key with its section.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// A variable whose value does not fit.
    #[error("{name}: {why}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
}
