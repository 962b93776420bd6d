//! Group commit above Raft: folds the commands that wait into one entry, each with its own reply.
//!
//! openraft appends one entry per fsync inside its core loop, so one entry per command would mean one fsync per command. While
//! one entry is on its way the next commands gather; an idle batcher never lingers, so a lone command goes at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::clock::{Clock, next_stamp};
use super::codec::{self, Rendered};
use super::error::ProposeError;
use super::machine::Machine;
use super::state_machine::Shared;
use super::types::{Raft, Replies};
use crate::storage::record::PAYLOAD_BYTES_MAX;

/// Commands in one entry at most. Applying them holds the state's lock once; at 128 that stays well under a millisecond.
pub const ENTRY_COMMANDS_MAX: usize = 128;

/// Bytes of one entry beyond which no further command is added. An entry is one fsync and one message to each peer; at
/// 256 KiB neither delays a heartbeat.
pub const ENTRY_BYTES_TARGET: usize = 256 * 1024;

/// The largest command in bytes: alone in its entry it still fits one record.
pub const COMMAND_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - codec::BATCH_OVERHEAD_BYTES;

/// Bytes of commands that may wait, counted in units of [`ROOM_UNIT_BYTES`] so that small ones are bounded by number too: 16
/// MiB or 4,096 commands, about two seconds of work on a small machine. Who would wait longer is better told so at once.
pub const ROOM_BYTES: usize = 16 * 1024 * 1024;

/// The least that a waiting command counts for, in bytes.
pub const ROOM_UNIT_BYTES: usize = 4 * 1024;

/// How long an entry may be under way before the batcher goes on without it. openraft's own wait has no end, and a minority
/// leader accepts entries for ever; those who wait have their own, shorter, deadlines.
const ENTRY_WAIT_MAX: Duration = Duration::from_secs(10);

/// A command on its way.
pub(super) struct Waiting<M: Machine> {
    pub(super) command: Rendered<M>,
    pub(super) reply: oneshot::Sender<Result<M::Reply, ProposeError>>,
    /// Its place among those that may wait; given back when it is answered.
    pub(super) _room: OwnedSemaphorePermit,
}

/// Units of room that a command of this size takes.
pub(super) fn room_units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(ROOM_UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// The task that owns the queue of commands.
pub(super) struct Batcher<M: Machine> {
    pub(super) raft: Raft<M>,
    pub(super) shared: Arc<Shared<M>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queue: mpsc::Receiver<Waiting<M>>,
}

impl<M: Machine> Batcher<M> {
    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        let mut next = self.queue.recv().await;
        while let Some(first) = next {
            let (batch, left_over) = self.fold(first);
            self.propose(batch).await;
            next = match left_over {
                Some(waiting) => Some(waiting),
                None => self.queue.recv().await,
            };
        }
    }

    /// Takes what waits, up to the bounds; gives back the one command that no longer fitted.
    fn fold(&mut self, first: Waiting<M>) -> (Vec<Waiting<M>>, Option<Waiting<M>>) {
        let mut bytes = first.command.bytes();
        let mut batch = vec![first];
        while batch.len() < ENTRY_COMMANDS_MAX {
            let Ok(waiting) = self.queue.try_recv() else { break };
            if waiting.reply.is_closed() {
                // Its proposer gave up before it was proposed: it never will be.
                continue;
            }
            if bytes + waiting.command.bytes() > ENTRY_BYTES_TARGET {
                return (batch, Some(waiting));
            }
            bytes += waiting.command.bytes();
            batch.push(waiting);
        }
        (batch, None)
    }

    async fn propose(&self, waiting: Vec<Waiting<M>>) {
        let stamp = next_stamp(self.shared.read().machine.latest(), self.clock.as_ref());
        let mut commands = Vec::with_capacity(waiting.len());
        let mut replies = Vec::with_capacity(waiting.len());
        let mut rooms = Vec::with_capacity(waiting.len());
        for Waiting { command, reply, _room } in waiting {
            commands.push(command);
            replies.push(reply);
            rooms.push(_room);
        }
        let batch = codec::batch(stamp, commands);
        let appended = batch.appended();
        let outcome = match tokio::time::timeout(ENTRY_WAIT_MAX, self.raft.client_write(batch)).await {
            Ok(Ok(written)) => Ok(written.data),
            // Once appended it may still commit under another leader, even after openraft gave it up here.
            _ if appended.load(Ordering::Acquire) => Err(ProposeError::TimedOut),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
                Err(ProposeError::NotLeader { leader: to.leader_id.zip(to.leader_node) })
            }
            Ok(Err(_)) => Err(ProposeError::Unavailable),
            Err(_) => Err(ProposeError::TimedOut),
        };
        drop(rooms);
        answer(replies, outcome);
    }
}

fn answer<M: Machine>(
    waiting: Vec<oneshot::Sender<Result<M::Reply, ProposeError>>>,
    outcome: Result<Replies<M>, ProposeError>,
) {
    match outcome {
        Ok(Replies(replies)) => {
            for (reply, sender) in replies.into_iter().zip(waiting) {
                // Whoever asked may have gone.
                let _ = sender.send(Ok(reply));
            }
        }
        Err(error) => {
            for sender in waiting {
                let _ = sender.send(Err(error.clone()));
            }
        }
    }
}
