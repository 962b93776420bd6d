//! What this machine has begun and ended, on disk before it acts, so that a reboot resumes.
//!
//! The journal holds no secret: names of steps, paths, scrubbed messages.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::instruction::{Key, Verb};
use crate::preflight::Standing;
use crate::report::{Failure, Seen};

/// Format 1, 2026-11: the first.
const FORMAT: u32 = 1;

/// What became of one piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    /// The call was about to be made. In a new life this means: find out what became of it.
    Started {
        /// The last phase that kubeadm was seen to enter, for people.
        phase: String,
    },
    /// It succeeded and must never be made again.
    Succeeded {
        /// What it saw, for the report.
        seen: Seen,
        /// Its length.
        elapsed_ms: u64,
        /// A server has recorded it.
        reported: bool,
    },
    /// It failed; only a new attempt makes it again.
    Failed {
        /// Why.
        failure: Failure,
        /// Its length.
        elapsed_ms: u64,
        /// A server has recorded it.
        reported: bool,
    },
}

impl State {
    /// Whether nothing more will happen to it.
    pub const fn is_terminal(&self) -> bool {
        !matches!(self, State::Started { .. })
    }

    /// Whether a server still has to be told.
    pub const fn is_unreported(&self) -> bool {
        matches!(self, State::Succeeded { reported: false, .. } | State::Failed { reported: false, .. })
    }
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub verb: Verb,
    /// A duty beside the join.
    pub errand: bool,
    /// What became of it.
    #[serde(flatten)]
    pub state: State,
}

/// Everything that must outlive this process, identity aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// The attempt that this machine works on; it never goes back.
    pub attempt: u32,
    /// By name.
    pub entries: BTreeMap<Key, Entry>,
    /// The attempt whose calls have changed the machine and were not undone by a reset.
    pub changed_by: Option<u32>,
    /// This machine is a member of its cluster.
    pub joined: bool,
    /// Where this attempt's kubeadm configuration lies.
    pub config_path: Option<String>,
    /// Files with credentials of this join that lie on the machine.
    pub litter: Vec<String>,
}

/// JSON has no keys of two parts.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    attempt: u32,
    changed_by: Option<u32>,
    joined: bool,
    config_path: Option<String>,
    litter: Vec<String>,
    entries: Vec<StoredEntry>,
}

#[derive(Serialize, Deserialize)]
struct StoredEntry {
    #[serde(flatten)]
    key: Key,
    #[serde(flatten)]
    entry: Entry,
}

impl Journal {
    /// The bytes on disk.
    pub fn to_json(&self) -> Vec<u8> {
        let stored = Stored {
            format: FORMAT,
            attempt: self.attempt,
            changed_by: self.changed_by,
            joined: self.joined,
            config_path: self.config_path.clone(),
            litter: self.litter.clone(),
            entries: self
                .entries
                .iter()
                .map(|(key, entry)| StoredEntry { key: key.clone(), entry: entry.clone() })
                .collect(),
        };
        // Maps with string keys, numbers, strings and lists only: this cannot fail.
        serde_json::to_vec_pretty(&stored).unwrap_or_default()
    }

    /// How far the machine is on its way.
    pub const fn standing(&self) -> Standing {
        Standing { joined: self.joined, begun: self.changed_by.is_some() }
    }

    /// Reads what [`Journal::to_json`] wrote.
    ///
    /// # Errors
    /// If it is not a journal of a format that this agent knows.
    pub fn from_json(bytes: &[u8]) -> Result<Self, JournalError> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(JournalError::Unreadable)?;
        if stored.format != FORMAT {
            return Err(JournalError::Format { found: stored.format });
        }
        Ok(Self {
            attempt: stored.attempt,
            changed_by: stored.changed_by,
            joined: stored.joined,
            config_path: stored.config_path,
            litter: stored.litter,
            entries: stored.entries.into_iter().map(|stored| (stored.key, stored.entry)).collect(),
        })
    }
}

/// Why a journal cannot be used. An unreadable journal is never taken for an empty one: that would run calls twice.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error("cannot read or write {}: {source}", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a journal.
    #[error("the journal is damaged: {0}")]
    Unreadable(serde_json::Error),
    /// A newer agent wrote it.
    #[error("the journal has format {found}, this agent knows {FORMAT}; run the newer agent")]
    Format {
        /// Its number.
        found: u32,
    },
}

/// The journal's file.
#[derive(Debug, Clone)]
pub struct JournalFile {
    path: PathBuf,
}

impl JournalFile {
    /// The journal of the agent whose state lies in `state_dir`.
    pub fn in_dir(state_dir: &Path) -> Self {
        Self { path: state_dir.join("journal.json") }
    }

    /// What it holds; an absent file is an empty journal.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn load(&self) -> Result<Journal, JournalError> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Journal::from_json(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Journal::default()),
            Err(source) => Err(JournalError::Disk { path: self.path.clone(), source }),
        }
    }

    /// Replaces it; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub fn save(&self, journal: &Journal) -> Result<(), JournalError> {
        durable::write(&self.path, 0o600, &journal.to_json())
            .map_err(|source| JournalError::Disk { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubeadm::Cause;

    fn mk_journal() -> Journal {
        let key = |step: &str| Key { attempt: 2, step: step.to_owned() };
        let entry = |verb, state| Entry { verb, errand: false, state };
        Journal {
            attempt: 2,
            changed_by: Some(2),
            joined: false,
            config_path: Some("/etc/muster/join.yaml".to_owned()),
            litter: vec!["/etc/muster/join.yaml".to_owned()],
            entries: BTreeMap::from([
                (key("prepare"), entry(Verb::JoinPrepare, State::Started { phase: "certs".to_owned() })),
                (
                    key("etcd-join"),
                    entry(
                        Verb::JoinEtcd,
                        State::Failed {
                            failure: Failure::untouched(Cause::TooManyLearners, "full"),
                            elapsed_ms: 7,
                            reported: true,
                        },
                    ),
                ),
                (
                    key("ready"),
                    entry(Verb::WaitReady, State::Succeeded { seen: Seen::default(), elapsed_ms: 1, reported: false }),
                ),
            ]),
        }
    }

    #[test]
    fn a_journal_survives_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let file = JournalFile::in_dir(dir.path());
        assert_eq!(file.load().unwrap(), Journal::default());
        file.save(&mk_journal()).unwrap();
        assert_eq!(file.load().unwrap(), mk_journal());
    }

    #[test]
    fn a_damaged_or_newer_journal_is_refused_rather_than_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let file = JournalFile::in_dir(dir.path());
        std::fs::write(dir.path().join("journal.json"), b"{").unwrap();
        assert!(matches!(file.load(), Err(JournalError::Unreadable(_))));
        let newer = String::from_utf8(mk_journal().to_json()).unwrap().replace("\"format\": 1", "\"format\": 9");
        std::fs::write(dir.path().join("journal.json"), newer).unwrap();
        assert!(matches!(file.load(), Err(JournalError::Format { found: 9 })));
    }
}
