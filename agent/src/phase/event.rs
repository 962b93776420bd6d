//! What can happen to the agent, and what it can decide to do.

use crate::instruction::{Instruction, Key, Verb};
use crate::phase::Evidence;
use crate::report::{Ended, Progress, Report};

/// How a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it stands.
    Fresh,
    /// After `kubeadm reset`.
    ResetFirst,
    /// Only what an interrupted one left to do.
    Remainder,
    /// Not at all: reset, and fail as interrupted.
    GiveUp,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The stream to a server is open.
    Attached,
    /// It is closed.
    Detached,
    /// The agent is to end: what runs may end, nothing begins.
    Stopping,
    /// The current instruction.
    Instruction(Instruction),
    /// A server has recorded the report with this sequence.
    Acknowledged(u64),
    /// The payload of the call that was to be opened is open.
    Opened {
        /// Its configuration.
        config_path: Option<String>,
        /// Files of it that hold a credential of this join.
        transient: Vec<String>,
    },
    /// The interrupted call was looked into.
    Probed(Evidence),
    /// A running call made progress.
    Progress(Key, Progress, u64),
    /// A call ended, after this many milliseconds.
    Ended(Key, Ended, u64),
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the journal, and do nothing further until it is on the disk.
    Save,
    /// Gather evidence about this call; `again` is set when the last look was unclear, so wait a little before.
    Probe {
        /// Which.
        key: Key,
        /// What it was.
        verb: Verb,
        /// Not the first look.
        again: bool,
    },
    /// Unseal the payload of this call, and say so.
    Open(Key),
    /// Make the call.
    Run {
        /// Which.
        key: Key,
        /// What.
        verb: Verb,
        /// How.
        mode: Mode,
    },
    /// Tell the server.
    Send(Report),
    /// End this watch; nobody wants it any more.
    Cancel(Key),
    /// Remove these files.
    Sweep(Vec<String>),
}
