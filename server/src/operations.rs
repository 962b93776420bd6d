//! Verbs that touch two components, one per file. Each takes the handles it uses and knows nothing of wires.

use std::sync::Arc;

use keyring::{Keyring, Keys};
use muster_state::FleetId;
use tokio_util::sync::CancellationToken;
use urls::{Places, Urls};

use crate::{
    ledger::{Ledger, MembershipError, ProposeError},
    pki::FleetAnchors,
    sessions::Sessions,
};

pub mod admit_server;
pub mod apply_cluster;
pub mod certificates_object;
pub mod cluster_diff;
pub mod cluster_pki;
pub mod cluster_spec;
pub mod create_cluster;
pub mod discovery_file;
pub mod enrol_machine;
pub mod found_fleet;
#[cfg(test)]
pub(crate) mod founded;
pub mod hand_data_keys;
pub mod import_cluster;
pub mod instruction;
pub mod issue_certificate;
pub mod join_command;
pub mod judge_preflight;
pub mod keyring;
pub mod kubelet_request;
pub mod link_identity;
pub mod mint_token;
pub mod payload;
pub mod remove_server;
pub mod renew_identity;
pub mod renew_operator;
pub mod replace_copies;
pub mod reseal_secrets;
pub mod restore_fleet;
pub mod set_credentials;
pub mod shown_token;
pub mod start_epoch;
pub mod take_backup;
pub mod take_snapshot;
pub mod token_object;
pub mod transfer_leader;
pub mod urls;
pub mod vault;

/// What a server holds once its seal key was found: the ledger, and if it is a voter the data keys and the fleet's CAs.
#[derive(Clone)]
pub struct Unsealed {
    /// The fleet.
    pub fleet: FleetId,
    /// This server's number.
    pub id: u64,
    /// SPIFFE id of this server, named in audit records.
    pub spiffe: String,
    /// The replicated truth.
    pub ledger: Ledger,
    /// The public half of the fleet's authorities.
    pub anchors: Arc<FleetAnchors>,
    /// The fleet's keys; only a voter has them.
    pub keyring: Keyring,
    /// Which start of this server it is, as its data directory counts them.
    pub start: u64,
    /// Agents attached here.
    pub sessions: Sessions,
    /// Where others reach this fleet, as far as the settings say.
    pub places: Arc<Places>,
    /// Cancelled when this server stops: whoever holds a stream ends it then.
    pub stopping: CancellationToken,
}

impl Unsealed {
    /// Where others reach this fleet now.
    pub fn urls(&self) -> Urls {
        self.ledger.read(|state| self.places.urls(state))
    }

    /// The fleet's keys.
    ///
    /// # Errors
    /// [`NotAVoter`] on a server that has none.
    pub fn keys(&self) -> Result<Arc<Keys>, NotAVoter> {
        self.keyring.keys().ok_or(NotAVoter)
    }
}

/// This server has no data keys, because it is not a voter, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this server holds no keys of the fleet, because it is not a voter (yet); call a voter: `muster server list` names them"
)]
pub struct NotAVoter;

/// Only the leader knows who answers and may step down, and it was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only the leader knows this, and {}", leader.map_or_else(|| "there is none now".to_owned(), |id| format!("server {id} was not reached")))]
pub struct NotHere {
    /// Who leads, as far as this server knows.
    pub leader: Option<u64>,
}

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The ledger did not take the command.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The caller's input is wrong.
    #[error("{field}: {problem}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// What was named does not exist, or names several.
    #[error("{0}")]
    NotFound(String),
    /// It can't be done in the present state; the sentence says what is missing.
    #[error("{0}")]
    NotNow(String),
    /// It needs keys that this server does not have; another server does it.
    #[error(transparent)]
    NotAVoter(#[from] NotAVoter),
    /// Only the leader can do it.
    #[error(transparent)]
    NotHere(#[from] NotHere),
    /// The group of servers did not change.
    #[error(transparent)]
    Group(#[from] MembershipError),
    /// It was begun and did not end in time.
    #[error("{0}")]
    Timeout(String),
    /// A fault of ours.
    #[error("internal error")]
    Internal(#[from] anyhow::Error),
}

impl OperationError {
    /// A field is wrong.
    pub fn invalid(field: impl Into<String>, problem: impl ToString) -> Self {
        Self::Invalid { field: field.into(), problem: problem.to_string() }
    }
}
