//! The environment of the process, read here and nowhere else.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What of it the agent uses.
#[derive(Default)]
pub(super) struct Environment {
    /// `MUSTER_AGENT_*` without the prefix, in lower case; empty values left out.
    pub(super) settings: BTreeMap<String, String>,
    /// systemd's directory of credentials for this unit.
    pub(super) credentials: Option<PathBuf>,
    /// Where programs are looked for.
    pub(super) path: String,
    /// `MUSTER_LOG`.
    pub(super) log: Option<String>,
}

impl Environment {
    /// That of this process. Values that are no UTF-8 are nobody's settings.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
    pub(super) fn of_process() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let setting = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let name = name.to_str()?.strip_prefix("MUSTER_AGENT_")?.to_lowercase();
            value.into_string().ok().filter(|value| !value.is_empty()).map(|value| (name, value))
        };
        Self {
            settings: std::env::vars_os().filter_map(setting).collect(),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            path: text("PATH").unwrap_or_default(),
            log: text("MUSTER_LOG"),
        }
    }
}
