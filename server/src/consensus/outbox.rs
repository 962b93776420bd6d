//! The commands that this server took and still owes a reply. Replies come with the log: whoever applies an entry settles what
//! it finds of this server's parcels in it. So a caller that has its reply also reads what it wrote, on any server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_state::planted::{Bug, is_planted};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::codec::{self, Rendered};
use super::error::ProposeError;
use super::machine::Machine;
use super::parcel::{Origin, Outcome, Parcel, WINDOW};
use super::settled::Settled;
use super::types::ServerId;

/// A command that was taken and is not on its way yet.
pub(super) struct Waiting<M: Machine> {
    pub(super) command: Rendered<M>,
    /// The only term it may be carried out in.
    pub(super) fence: Option<u64>,
    pub(super) caller: Caller<M>,
}

/// Who waits for a reply.
pub(super) struct Caller<M: Machine> {
    pub(super) reply: oneshot::Sender<Result<M::Reply, ProposeError>>,
    pub(super) slip: Arc<Slip>,
    /// Its place among those that may wait; given back when it is answered.
    pub(super) _room: OwnedSemaphorePermit,
}

impl<M: Machine> Caller<M> {
    /// Gives the answer, and the room back before it.
    pub(super) fn answer(self, answer: Result<M::Reply, ProposeError>) {
        let Self { reply, _room, .. } = self;
        drop(_room);
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    /// From now on the command may be carried out. False if its caller gave it up before: then it never may.
    fn claim(&self) -> bool {
        !self.reply.is_closed() && self.slip.leave()
    }
}

/// Says whether a command ever left, so that a caller that gives up knows whether it may yet be carried out.
#[derive(Debug, Default)]
pub(super) struct Slip(AtomicU8);

impl Slip {
    const HERE: u8 = 0;
    const SENT: u8 = 1;
    const GIVEN_UP: u8 = 2;

    /// The caller waits no longer. True if the command never left, and now never will.
    pub(super) fn give_up(&self) -> bool {
        self.swap(Self::HERE, Self::GIVEN_UP)
    }

    /// The command leaves, if nobody gave it up.
    fn leave(&self) -> bool {
        self.swap(Self::HERE, Self::SENT) || self.0.load(Ordering::Acquire) == Self::SENT
    }

    fn swap(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The parcels that this server still waits for.
pub(super) struct Outbox<M: Machine> {
    server: ServerId,
    generation: u64,
    parcels: Mutex<Parcels<M>>,
}

struct Parcels<M: Machine> {
    next: u64,
    owed: BTreeMap<u64, Owed<M>>,
}

/// A parcel and who waits for it.
struct Owed<M: Machine> {
    parcel: Parcel<M>,
    fence: Option<u64>,
    callers: Vec<Caller<M>>,
    whereabouts: Whereabouts,
}

/// How far a parcel has got. Its number stands for what is in it: once it may be anywhere else it is only sent again as it is,
/// or its replies could go to others than those who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whereabouts {
    /// On this server only.
    Here,
    /// On the wire, once. A wire may carry it twice, so that the leader's "no" to one copy says nothing of the other.
    Sent,
    /// Perhaps in a log.
    Anywhere,
}

impl<M: Machine> Owed<M> {
    /// Makes it fit to be sent: claims the commands, and leaves out those that were given up. False if none is left.
    fn claim(&mut self) -> bool {
        if self.whereabouts != Whereabouts::Here {
            return self.callers.iter().any(|caller| !caller.reply.is_closed());
        }
        let wanted: Vec<bool> = self.callers.iter().map(Caller::claim).collect();
        if wanted.iter().any(|wanted| !wanted) {
            let mut kept = wanted.iter();
            self.callers.retain(|_| kept.next() == Some(&true));
            let commands = self.parcel.commands.iter().zip(&wanted).filter(|(_, wanted)| **wanted);
            // Rendered once already, so it has a form.
            let commands = commands.filter_map(|(command, _)| Rendered::new(command.clone()).ok()).collect();
            self.parcel = codec::pack(self.parcel.origin, commands);
        }
        !self.callers.is_empty()
    }

    fn answer(self, outcome: &Outcome<M>) {
        match outcome.replies() {
            // Never: but nobody may get what another asked for.
            Ok(replies) if replies.len() != self.callers.len() => {
                tracing::error!(replies = replies.len(), callers = self.callers.len(), "a parcel's replies do not fit");
                self.refuse(&ProposeError::TimedOut);
            }
            Ok(replies) => {
                let mut replies: Vec<&M::Reply> = replies.iter().collect();
                if is_planted(Bug::AnswersMixedUp) {
                    replies.reverse();
                }
                for (caller, reply) in self.callers.into_iter().zip(replies) {
                    caller.answer(Ok(reply.clone()));
                }
            }
            Err(error) => self.refuse(&error),
        }
    }

    fn refuse(self, error: &ProposeError) {
        for caller in self.callers {
            caller.answer(Err(error.clone()));
        }
    }
}

impl<M: Machine> Outbox<M> {
    /// The outbox of this start of a server.
    pub(super) fn new(server: ServerId, generation: u64) -> Self {
        let parcels = Parcels { next: 1, owed: BTreeMap::new() };
        Self { server, generation, parcels: Mutex::new(parcels) }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    fn parcels(&self) -> MutexGuard<'_, Parcels<M>> {
        // Nothing is awaited and nothing can panic while it is held.
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another parcel fits the window.
    pub(super) fn has_room(&self) -> bool {
        let parcels = self.parcels();
        parcels.owed.keys().next().is_none_or(|floor| parcels.next < floor + WINDOW)
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.parcels().owed.is_empty()
    }

    /// Makes one parcel of commands with the same fence, and gives its number.
    pub(super) fn pack(&self, fence: Option<u64>, waiting: Vec<Waiting<M>>) -> u64 {
        let mut commands = Vec::with_capacity(waiting.len());
        let mut callers = Vec::with_capacity(waiting.len());
        for one in waiting {
            commands.push(one.command);
            callers.push(one.caller);
        }
        let mut parcels = self.parcels();
        let sequence = parcels.next;
        parcels.next += 1;
        let floor = parcels.owed.keys().next().copied().unwrap_or(sequence);
        let origin = Origin { server: self.server, generation: self.generation, sequence, floor };
        let parcel = codec::pack(origin, commands);
        parcels.owed.insert(sequence, Owed { parcel, fence, callers, whereabouts: Whereabouts::Here });
        sequence
    }

    /// What to put into an entry under this number; nothing if it is settled or nobody waits for it any more.
    pub(super) fn send(&self, sequence: u64) -> Option<(Option<u64>, Parcel<M>)> {
        let mut parcels = self.parcels();
        let owed = parcels.owed.get_mut(&sequence)?;
        if owed.claim() {
            return Some((owed.fence, owed.parcel.clone()));
        }
        parcels.owed.remove(&sequence);
        None
    }

    /// Notes that a parcel without a fence leaves for another server.
    pub(super) fn leaves(&self, sequence: u64) {
        if let Some(owed) = self.parcels().owed.get_mut(&sequence) {
            let is_first = owed.whereabouts == Whereabouts::Here;
            owed.whereabouts = if is_first { Whereabouts::Sent } else { Whereabouts::Anywhere };
        }
    }

    /// Notes that the parcel got into no entry of this server: if it was nowhere else either, its callers may give it up.
    pub(super) fn came_back(&self, sequence: u64) {
        let mut parcels = self.parcels();
        if let Some(owed) = parcels.owed.get_mut(&sequence).filter(|owed| owed.whereabouts == Whereabouts::Here) {
            for caller in &owed.callers {
                caller.slip.swap(Slip::SENT, Slip::HERE);
            }
        }
    }

    /// Notes that somebody may have taken the parcel.
    pub(super) fn perhaps_taken(&self, sequence: u64) {
        if let Some(owed) = self.parcels().owed.get_mut(&sequence) {
            owed.whereabouts = Whereabouts::Anywhere;
        }
    }

    /// Tells those who wait for a parcel why it will not be carried out, or that nobody knows what became of it.
    pub(super) fn refuse(&self, sequence: u64, error: &ProposeError) {
        let owed = self.parcels().owed.remove(&sequence);
        if let Some(owed) = owed {
            let unclear = owed.whereabouts == Whereabouts::Anywhere;
            owed.refuse(if unclear { &ProposeError::TimedOut } else { error });
        }
    }

    /// Tells all who wait that this server stops. What is under way may yet be carried out.
    pub(super) fn close(&self) {
        for (_, owed) in std::mem::take(&mut self.parcels().owed) {
            for caller in owed.callers {
                let never_left = caller.slip.give_up();
                caller.answer(Err(if never_left { ProposeError::Unavailable } else { ProposeError::TimedOut }));
            }
        }
    }

    /// Whether a parcel is one of this start of this server.
    pub(super) fn sent(&self, origin: &Origin) -> bool {
        origin.server == self.server && origin.generation == self.generation
    }

    /// Answers those who wait for a parcel. Call it once the state that it made can be read.
    pub(super) fn settle(&self, sequence: u64, outcome: &Outcome<M>) {
        let owed = self.parcels().owed.remove(&sequence);
        if let Some(owed) = owed {
            owed.answer(outcome);
        }
    }

    /// The same after the state came whole, without the entries that made it.
    pub(super) fn settle_from(&self, settled: &Settled<M>) {
        let Some(heard) = settled.origins.get(&self.server).filter(|heard| heard.generation == self.generation) else {
            return;
        };
        for (sequence, replies) in &heard.replies {
            self.settle(*sequence, &Outcome::Done(replies.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
