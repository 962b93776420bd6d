//! Reads that hold everything acknowledged before them, on any server. All that wait share one round.
//!
//! A round asks the leader (which asks a majority whether it still leads) up to where everything acknowledged reaches, and waits
//! until the state here is there. Who comes while a round runs takes the next one: an earlier answer might be too old for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::courier::Courier;
use super::error::ReadError;
use super::legacy::Legacy;
use super::machine::Machine;
use super::peer;
use super::types::{LogId, Peer, Raft, ServerId};

/// Reads that may wait for a round; more wait in line for a place here.
pub(super) const READS_MAX: usize = 4096;

/// How long the leader may take to confirm before it is asked again.
const ROUND_WITHIN: Duration = Duration::from_secs(1);

/// After a round that failed: one missed heartbeat, or an election. Twice as long after each further one.
const ROUND_PAUSE: Duration = Duration::from_millis(20);

/// The longest of these pauses: while there is no majority, nobody is helped by more attempts.
const ROUND_PAUSE_MAX: Duration = Duration::from_millis(160);

/// The task that runs the rounds.
pub(super) struct Reads<M: Machine> {
    pub(super) raft: Raft<M>,
    pub(super) courier: Arc<dyn Courier<M>>,
    pub(super) applied: watch::Receiver<Option<LogId>>,
    pub(super) queue: mpsc::Receiver<oneshot::Sender<()>>,
    pub(super) legacy: Legacy,
}

impl<M: Machine> Reads<M> {
    /// Runs until the queue is closed, or openraft stops; who waits then hears nothing more.
    pub(super) async fn run(mut self) {
        let mut waiting = Vec::new();
        while self.queue.recv_many(&mut waiting, READS_MAX).await > 0 {
            let mut pause = ROUND_PAUSE;
            while !waiting.is_empty() {
                // Who came while an earlier attempt failed came before this one begins.
                while waiting.len() < READS_MAX
                    && let Ok(reader) = self.queue.try_recv()
                {
                    waiting.push(reader);
                }
                match self.round().await {
                    Ok(()) => waiting.drain(..).for_each(|reader: oneshot::Sender<()>| {
                        // It may have given up.
                        let _ = reader.send(());
                    }),
                    Err(ReadError::Unavailable) => return,
                    Err(ReadError::NotLeader { .. } | ReadError::TimedOut) => {
                        tokio::time::sleep(pause).await;
                        pause = (2 * pause).min(ROUND_PAUSE_MAX);
                    }
                }
                waiting.retain(|reader| !reader.is_closed());
            }
        }
    }

    async fn round(&mut self) -> Result<(), ReadError> {
        let index = self.confirmed().await?;
        let there = self.applied.wait_for(|applied| applied.is_some_and(|id| id.index >= index)).await;
        there.map(|_| ()).map_err(|_| ReadError::Unavailable)
    }

    /// Up to where everything acknowledged reaches, by the word of a leader that a majority has just confirmed.
    async fn confirmed(&self) -> Result<u64, ReadError> {
        let Some((leader, peer)) = self.other_leader()? else {
            let round = tokio::time::timeout(ROUND_WITHIN, peer::read_index(&self.raft, self.legacy)).await;
            return round.unwrap_or(Err(ReadError::TimedOut));
        };
        match self.courier.read_index(leader, peer, ROUND_WITHIN).await {
            // It stops, this server does not.
            Ok(Err(ReadError::Unavailable)) | Err(_) => Err(ReadError::TimedOut),
            Ok(answer) => answer,
        }
    }

    /// Who leads, if it is not this server.
    fn other_leader(&self) -> Result<Option<(ServerId, Peer)>, ReadError> {
        let group = self.raft.server_metrics();
        let group = group.borrow();
        let leader = group.current_leader.ok_or(ReadError::NotLeader { leader: None })?;
        if leader == group.id {
            return Ok(None);
        }
        let peer = group.membership_config.membership().get_node(&leader).cloned();
        peer.map(|peer| Some((leader, peer))).ok_or(ReadError::NotLeader { leader: None })
    }
}
