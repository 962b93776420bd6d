//! The replicated truth as the rest of the server uses it: typed verbs in, typed replies and refusals out.

mod bells;
mod group;
#[cfg(test)]
pub(crate) mod testing;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bells::Bells;
pub use bells::NodeWatch;
use muster_state::{Change, NodeId, Refusal, Request, State, VerbOf};
use tokio::sync::watch;

use crate::{
    consensus::{self, Changes, Consensus, Update},
    process,
    web::metrics::{self, Proposal},
};

pub use crate::consensus::{Checkpoint, Margin, Member, MembershipError, Peer, ReadError, Role, Status};

/// How long a command may wait for its reply. Longer than a fail-over, and shorter than a client waits before it goes to another
/// server, so that it hears that there is no leader and not nothing.
const PROPOSE_WITHIN: Duration = Duration::from_secs(5);

/// How long a read waits for a majority, for the same reasons.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// Handle to the replicated truth; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    consensus: Consensus<State>,
    bells: Bells,
    /// The only term in which its verbs may be carried out.
    fence: Option<u64>,
}

/// Why a verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// The state refused it; every replica agrees.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It did not get through the log.
    #[error(transparent)]
    Consensus(#[from] consensus::ProposeError),
}

impl ProposeError {
    /// It may have been carried out all the same.
    pub fn outcome_is_unknown(&self) -> bool {
        matches!(self, Self::Consensus(consensus::ProposeError::TimedOut))
    }

    /// Another server leads by now; nothing was carried out.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Consensus(consensus::ProposeError::Fenced))
    }

    /// The closed word for clients.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.word(),
            Self::Consensus(consensus::ProposeError::NoLeader) => "NoLeader",
            Self::Consensus(consensus::ProposeError::Fenced) => "Fenced",
            Self::Consensus(consensus::ProposeError::Overloaded) => "Overloaded",
            Self::Consensus(consensus::ProposeError::Unavailable) => "Stopping",
            Self::Consensus(consensus::ProposeError::TooLarge { .. }) => "TooLarge",
            Self::Consensus(consensus::ProposeError::Malformed) => "Malformed",
            Self::Consensus(consensus::ProposeError::TimedOut) => "OutcomeUnknown",
        }
    }
}

impl Ledger {
    /// A ledger over this server's consensus. Call it within a runtime: a task of it wakes those who watch a node.
    pub fn new(consensus: Consensus<State>) -> Self {
        let bells = Bells::default();
        process::spawn(bells.clone().run(consensus.watch()));
        Self { consensus, bells, fence: None }
    }

    /// The same for work that only the leader of the term does: what it proposes is carried out in that term or not at all.
    #[must_use]
    pub fn as_leader(&self, term: u64) -> Self {
        Self { fence: Some(term), ..self.clone() }
    }

    /// Whether this server leads, in which term, and may act on it; its state then holds everything committed before the term.
    /// It can be late by a moment: use [`Ledger::as_leader`] for what must not be done late.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Option<u64>> {
        self.consensus.leadership()
    }

    /// Carries out one of Muster's own verbs, which are safe to repeat.
    pub async fn propose<V: VerbOf>(&self, verb: V) -> Result<V::Reply, ProposeError> {
        self.carry_out(None, verb).await
    }

    /// Carries out a verb for a caller whose retries are answered once and done once.
    pub async fn propose_for<V: VerbOf>(&self, request: Request, verb: V) -> Result<V::Reply, ProposeError> {
        self.carry_out(Some(request), verb).await
    }

    /// Runs `work` in each term in which this server leads, with a ledger whose verbs are carried out in that term only, and ends
    /// it when the term does. Returns when the server stops.
    pub async fn while_leading<W: Future<Output = ()>>(&self, mut work: impl FnMut(Self) -> W) {
        let mut leadership = self.leadership();
        loop {
            let term = *leadership.borrow_and_update();
            let working = async {
                if let Some(term) = term {
                    work(self.as_leader(term)).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                changed = leadership.changed() => if changed.is_err() { return },
                () = working => {}
            }
        }
    }

    async fn carry_out<V: VerbOf>(&self, request: Option<Request>, verb: V) -> Result<V::Reply, ProposeError> {
        let began = Instant::now();
        let outcome = self.consensus.perform(self.fence, request, verb, PROPOSE_WITHIN).await;
        let result = match &outcome {
            Ok(Ok(_)) => Proposal::Done,
            Ok(Err(_)) => Proposal::Refused,
            Err(_) => Proposal::Failed,
        };
        metrics::proposal(result, began.elapsed());
        Ok(outcome??)
    }

    /// Looks at this server's state, which may lie behind the leader's. Keep `look` short: applying waits for it.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.consensus.read(look)
    }

    /// Looks at state that holds everything acknowledged by anyone before this call (a quorum round), on any server.
    pub async fn linearizable_read<T>(&self, look: impl FnOnce(&State) -> T) -> Result<T, ReadError> {
        self.consensus.linearizable_read(READ_WITHIN, look).await
    }

    /// Watches changes from now on. To miss nothing, watch first and read after.
    pub fn watch(&self) -> Watch {
        Watch { changes: self.consensus.watch() }
    }

    /// Watches one node from now on, at the cost of its own changes and those of the servers. To miss nothing, watch first and
    /// read after.
    pub fn watch_node(&self, id: &NodeId) -> NodeWatch {
        self.bells.hang(id.clone())
    }

    /// Whether this server votes, as far as it knows.
    pub fn votes(&self) -> bool {
        let status = self.status();
        status.members.get(&status.id).is_some_and(|member| member.voter)
    }

    /// What this server's state went through in the latest windows of the log, oldest first.
    #[must_use]
    pub fn checkpoints(&self) -> watch::Receiver<Arc<[Checkpoint]>> {
        self.consensus.checkpoints()
    }

    /// How consensus is doing.
    pub fn status(&self) -> consensus::Status {
        self.consensus.status()
    }
}

/// A watch on changes.
pub struct Watch {
    changes: Changes<State>,
}

/// What may look different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// These nodes, or none.
    Nodes(Vec<NodeId>),
    /// Changes were missed: anything may.
    Anything,
}

fn node_of(change: &Change) -> Option<NodeId> {
    match change {
        Change::Node(id) => Some(id.clone()),
        Change::Cluster(_) | Change::Server(_) | Change::Event(_) | Change::Other => None,
    }
}

/// The server is stopping: nothing more will change.
#[derive(Debug, thiserror::Error)]
#[error("the server is stopping")]
pub struct Stopped;

impl Watch {
    /// Waits until something changed for which `concerns` holds, or until changes were missed and anything may have.
    pub async fn until(&mut self, concerns: impl Fn(&Change) -> bool) -> Result<(), Stopped> {
        loop {
            match self.changes.next().await {
                None => return Err(Stopped),
                Some(Update::Resync) => return Ok(()),
                Some(Update::Changed { changes, .. }) if changes.iter().any(&concerns) => return Ok(()),
                Some(Update::Changed { .. }) => {}
            }
        }
    }

    /// Waits for the next change of anything and says which nodes may look different.
    pub async fn next(&mut self) -> Result<Moved, Stopped> {
        match self.changes.next().await {
            None => Err(Stopped),
            Some(Update::Resync) => Ok(Moved::Anything),
            Some(Update::Changed { changes, .. }) => Ok(Moved::Nodes(changes.iter().filter_map(node_of).collect())),
        }
    }

    /// Waits until anything may have changed.
    pub async fn any(&mut self) -> Result<(), Stopped> {
        self.until(|_| true).await
    }
}
