//! What the command line takes from the process environment, read in one place so that tests can give their own.

use std::path::PathBuf;

/// The variables that matter. `MUSTER_SERVER` is read by clap.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    /// `HOME`.
    pub(super) home: Option<PathBuf>,
    /// `MUSTER_CONFIG`: where the contexts are.
    pub(super) config: Option<PathBuf>,
    /// `NO_COLOR` is set to something, or `TERM` is `dumb`.
    pub(super) no_colour: bool,
}

impl Environment {
    /// That of this process.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment for the command line")]
    pub(super) fn of_process() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            home: set("HOME").map(PathBuf::from),
            config: set("MUSTER_CONFIG").map(PathBuf::from),
            no_colour: set("NO_COLOR").is_some() || set("TERM").is_some_and(|term| term == "dumb"),
        }
    }
}
