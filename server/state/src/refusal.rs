//! Why a command was not carried out. A refusal changes nothing and is the same on every replica.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{NodeName, Phase, TokenId};

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// A record that is named does not exist.
    #[error("there is no {kind} {name:?}")]
    NotFound {
        /// What was looked for: cluster, pool, node, token, …
        kind: String,
        /// The name or id given.
        name: String,
    },
    /// A record of that name exists already.
    #[error("{kind} {name:?} exists already")]
    Exists {
        /// cluster, token, …
        kind: String,
        /// Its name.
        name: String,
    },
    /// The record is at another revision than the caller saw.
    #[error("{kind} {name:?} has changed since you read it (revision {now}); look again and repeat")]
    Changed {
        /// cluster, node.
        kind: String,
        /// Its name.
        name: String,
        /// Its revision now.
        now: u64,
    },
    /// A field holds what it must not.
    #[error("{field}: {problem}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A bound of the state is reached.
    #[error("{what}: the limit of {limit} is reached")]
    Full {
        /// What there is too much of.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// The enrolment token is not known (or its secret part is wrong: the two are not told apart).
    #[error("the enrolment token is not known; make a new one with `muster token create`")]
    TokenUnknown,
    /// The enrolment token has been used up.
    #[error("enrolment token {0} has been used already; make a new one with `muster token create`")]
    TokenSpent(TokenId),
    /// The enrolment token has run out.
    #[error("enrolment token {0} has expired; make a new one with `muster token create`")]
    TokenExpired(TokenId),
    /// The enrolment token was revoked.
    #[error("enrolment token {0} was revoked; make a new one with `muster token create`")]
    TokenRevoked(TokenId),
    /// The token is for another cluster, pool, node or machine than asked for.
    #[error("enrolment token {token} does not fit: {problem}")]
    TokenMismatch {
        /// The token.
        token: TokenId,
        /// What does not fit.
        problem: String,
    },
    /// That identity key has been enrolled and its certificate is in use.
    #[error("this key is enrolled already and its certificate has been used; the enrolment answer is not given again")]
    AlreadyEnrolled,
    /// The machine was denied.
    #[error("an operator denied this machine: {0}")]
    Denied(String),
    /// A locked node gets nothing.
    #[error("the node is locked: {0}; an operator must look and `muster node unlock` it")]
    Locked(String),
    /// A record of the same hardware is enrolled under another key.
    #[error(
        "another machine with the same {what} is enrolled as {other}; if this is the same machine with new keys, approve it with --replace"
    )]
    DuplicateHardware {
        /// UUID, serial, …
        what: String,
        /// Name or id of the other one.
        other: String,
    },
    /// The node name belongs to another node.
    #[error("node name {name} belongs to node {holder}; give another name or remove that node first")]
    NameTaken {
        /// The name.
        name: NodeName,
        /// Who holds it.
        holder: String,
    },
    /// What was seen by the approver is not what is there.
    #[error("{what} changed since you looked; look again with `muster describe node` and repeat")]
    SeenDiffers {
        /// The key fingerprint, the facts.
        what: String,
    },
    /// The node is not in a phase in which that can be done.
    #[error("node is {phase}: {problem}")]
    WrongPhase {
        /// Where it is.
        phase: Phase,
        /// Why that does not go.
        problem: String,
    },
    /// Another node holds the permit.
    #[error("permit {kind} is held by node {holder}")]
    PermitHeld {
        /// init or etcd-join.
        kind: String,
        /// The holder.
        holder: String,
    },
    /// The permit can't be passed on: there is no evidence of what became of it.
    #[error("permit {kind} is not passed on: {problem}")]
    NoEvidence {
        /// init or etcd-join.
        kind: String,
        /// What is missing.
        problem: String,
    },
    /// The same request id with another body.
    #[error("request id {0:?} was used before with a different body; use a new one")]
    RequestReused(String),
    /// The fleet is founded already, or not yet.
    #[error("{0}")]
    Fleet(String),
    /// The generation of the identity is not the current one.
    #[error("generation {given} is not current ({current})")]
    WrongGeneration {
        /// As given.
        given: u64,
        /// As stored.
        current: u64,
    },
    /// The server token is not known (or its secret part is wrong: the two are not told apart), or none was shown.
    #[error("the server token is not known; make one with `muster server token create`")]
    ServerTokenUnknown,
    /// The server token has been used.
    #[error("server token {0} has been used already; make a new one with `muster server token create`")]
    ServerTokenSpent(TokenId),
    /// The server token has run out.
    #[error("server token {0} has expired; make a new one with `muster server token create`")]
    ServerTokenExpired(TokenId),
    /// The server was taken out of the fleet.
    #[error(
        "server {0} was removed from the fleet for good; to use this machine again wipe its data directory, then `muster server join`"
    )]
    ServerRemoved(u64),
    /// The server is not in a standing in which that can be done.
    #[error("server {server}: {problem}")]
    ServerStanding {
        /// Its number.
        server: u64,
        /// Why that does not go.
        problem: String,
    },
    /// The keys are not those that an operator approved or compared.
    #[error(
        "server {server} has other keys than these; compare the fingerprint on the machine with `muster describe server {server}`"
    )]
    FingerprintDiffers {
        /// Its number.
        server: u64,
    },
    /// The server's data directory was put back to an earlier time.
    #[error(
        "server {server} says that its data directory was opened {given} times, but {current} times have been seen: it was put back to an earlier time. On another server `muster server remove {server}`; then wipe the directory and `muster server join`"
    )]
    ServerWentBack {
        /// Its number.
        server: u64,
        /// As given.
        given: u64,
        /// As stored.
        current: u64,
    },
    /// The data keys or their epochs are not what the proposer saw.
    #[error("data keys: {0}")]
    Epoch(String),
    /// What is asked for can't be done to a cluster's etcd.
    #[error("etcd: {0}")]
    Etcd(String),
    /// The proposer's clock is implausible.
    #[error("the server's clock jumped far ahead; nothing is done until it agrees with the fleet's time")]
    ClockJumped,
}

impl Refusal {
    /// A named record does not exist.
    pub fn not_found(kind: &str, name: impl ToString) -> Self {
        Self::NotFound { kind: kind.into(), name: name.to_string() }
    }

    /// A field is wrong.
    pub fn invalid(field: &str, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    /// A server that only asked to join so far.
    pub fn not_approved(server: u64) -> Self {
        let problem = format!("an operator has not approved it yet (`muster server approve {server} --fingerprint …`)");
        Self::ServerStanding { server, problem }
    }

    /// The closed word for machines (gRPC metadata `muster-reason`, the agent's `Refused.reason`).
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "NotFound",
            Self::Exists { .. } => "Exists",
            Self::Changed { .. } => "Changed",
            Self::Invalid { .. } => "Invalid",
            Self::Full { .. } => "QueueFull",
            Self::TokenUnknown => "TokenUnknown",
            Self::TokenSpent(_) => "TokenSpent",
            Self::TokenExpired(_) => "TokenExpired",
            Self::TokenRevoked(_) => "TokenRevoked",
            Self::TokenMismatch { .. } => "NotYourToken",
            Self::AlreadyEnrolled => "AlreadyEnrolled",
            Self::Denied(_) => "Denied",
            Self::Locked(_) => "Locked",
            Self::DuplicateHardware { .. } => "DuplicateHardware",
            Self::NameTaken { .. } => "NameTaken",
            Self::SeenDiffers { .. } => "SeenDiffers",
            Self::WrongPhase { .. } => "WrongPhase",
            Self::PermitHeld { .. } => "PermitHeld",
            Self::NoEvidence { .. } => "NoEvidence",
            Self::RequestReused(_) => "RequestReused",
            Self::Fleet(_) => "Fleet",
            Self::WrongGeneration { .. } => "WrongGeneration",
            Self::ServerTokenUnknown => "ServerTokenUnknown",
            Self::ServerTokenSpent(_) => "ServerTokenSpent",
            Self::ServerTokenExpired(_) => "ServerTokenExpired",
            Self::ServerRemoved(_) => "ServerRemoved",
            Self::ServerStanding { .. } => "ServerStanding",
            Self::FingerprintDiffers { .. } => "FingerprintDiffers",
            Self::ServerWentBack { .. } => "ServerWentBack",
            Self::Epoch(_) => "Epoch",
            Self::Etcd(_) => "Etcd",
            Self::ClockJumped => "ClockJumped",
        }
    }
}
