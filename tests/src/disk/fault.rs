//! What a disk can do beside losing power.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::Variable;

/// A fault of the disk of one process; synchronisations are fsync and fdatasync of files and directories, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power goes at the synchronisation of this number instead.
    CutAt(u64),
    /// The synchronisation of this number fails with EIO, as on Linux: once for each handle of that file.
    FailAt(u64),
    /// After so many bytes were written the disk is full, for ever.
    FullAt(u64),
    /// Synchronisations take longer.
    Stall {
        /// By so much.
        by: Duration,
        /// Each of so many; 1 is each.
        every: u64,
        /// Only while this file exists, if one is named.
        only_while: Option<PathBuf>,
    },
}

impl Fault {
    /// What the shim reads.
    #[must_use]
    pub fn variables(&self) -> Vec<Variable> {
        let number = |number: u64| OsString::from(number.to_string());
        match self {
            Self::CutAt(at) => vec![("SHIM_CUT_AT", number(*at))],
            Self::FailAt(at) => vec![("SHIM_FAIL_AT", number(*at))],
            Self::FullAt(bytes) => vec![("SHIM_FULL_AT", number(*bytes))],
            Self::Stall { by, every, only_while } => {
                let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
                let mut variables = vec![("SHIM_STALL_MS", number(by)), ("SHIM_STALL_EVERY", number(*every))];
                variables.extend(only_while.iter().map(|path| ("SHIM_STALL_WHILE", path.clone().into_os_string())));
                variables
            }
        }
    }
}
