//! The task through which all commands of this server go: as leader it writes entries, else it forwards parcels to the leader.
//!
//! ```text
//! local queue ──┐                      ┌── leads:   parcels ──> one entry ──> openraft
//!               ├── what waits, by role┤
//! other servers ┘ (only if it leads)   ├── follows: one parcel ──> the leader, a few at a time
//!                                      └── nobody leads: everything waits here, and can be given up
//! ```
//!
//! A parcel is sent until it is settled (see [`super::outbox`]) or nobody waits for it. The log carries it out once.

mod sending;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::courier::Courier;
use super::error::ForwardError;
use super::machine::Machine;
use super::outbox::{Outbox, Waiting};
use super::parcel::{Forwarded, Parcel};
use super::state_machine::Shared;
use super::types::{LogId, Peer, Raft, ServerId, ServerMetrics};
use sending::{Verdict, Writing};

/// Entries under way at once. While one is replicated the next is made durable here.
const ENTRIES_IN_FLIGHT: usize = 1;

/// Parcels under way to the leader at once: enough that one is always there when the leader begins an entry.
const PARCELS_IN_FLIGHT: usize = 4;

/// Parcels of other servers that may wait here. They are few: each server has a handful under way.
pub(super) const ARRIVED_MAX: usize = 64;

/// After something was refused: a leader that is just being elected knows it a moment later.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// How often commands that were given up are let go of while nobody leads.
const TIDY_PAUSE: Duration = Duration::from_secs(1);

/// A parcel that came from another server.
pub(super) struct Arrived<M: Machine> {
    pub(super) parcel: Parcel<M>,
    pub(super) done: oneshot::Sender<Result<Forwarded, ForwardError>>,
}

/// Who leads, as this server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    /// This server, in this term, and its state holds all that was committed before.
    Leads(u64),
    /// Another.
    Follows(ServerId, Peer),
    /// Nobody.
    Nobody,
}

/// What the task needs.
pub(super) struct Proposer<M: Machine> {
    pub(super) raft: Raft<M>,
    pub(super) shared: Arc<Shared<M>>,
    pub(super) outbox: Arc<Outbox<M>>,
    pub(super) courier: Arc<dyn Courier<M>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) leadership: watch::Receiver<Option<u64>>,
    /// Set while leadership is being handed over: nothing new is begun then. What the leader does by itself goes on, for it may be
    /// the one that hands over.
    pub(super) resting: watch::Receiver<bool>,
    pub(super) local: mpsc::Receiver<Waiting<M>>,
    pub(super) arrived: mpsc::Receiver<Arrived<M>>,
    /// This server stops: what waits is still answered if anybody can.
    pub(super) closing: CancellationToken,
}

/// The task's own state.
struct Running<M: Machine> {
    parts: Proposer<M>,
    group: watch::Receiver<ServerMetrics>,
    applied: watch::Receiver<Option<LogId>>,
    role: Role,
    /// Taken from the queue and not in a parcel yet.
    stash: VecDeque<Waiting<M>>,
    /// Taken from the other queue and not in an entry yet.
    held: Option<Arrived<M>>,
    /// Own parcels to send again.
    again: BTreeSet<u64>,
    entries: VecDeque<Writing<M>>,
    forwarding: usize,
    verdicts: mpsc::Receiver<(u64, Verdict)>,
    judges: mpsc::Sender<(u64, Verdict)>,
    paused_until: Option<Instant>,
    last_stamp_ms: u64,
    own_first: bool,
}

/// What the task woke up for.
enum Event<M: Machine> {
    Verdict(u64, Verdict),
    EntryEnded(sending::Ended),
    Local(Waiting<M>),
    Arrived(Arrived<M>),
    Look,
    CoreGone,
}

impl<M: Machine> Proposer<M> {
    /// Runs until the queue is closed and everything in it is answered, or openraft is gone.
    pub(super) async fn run(self) {
        let outbox = self.outbox.clone();
        let (judges, verdicts) = mpsc::channel(PARCELS_IN_FLIGHT);
        let mut running = Running {
            group: self.raft.server_metrics(),
            applied: self.shared.applied(),
            parts: self,
            role: Role::Nobody,
            stash: VecDeque::new(),
            held: None,
            again: BTreeSet::new(),
            entries: VecDeque::new(),
            forwarding: 0,
            verdicts,
            judges,
            paused_until: None,
            last_stamp_ms: 0,
            own_first: false,
        };
        running.run().await;
        outbox.close();
    }
}

impl<M: Machine> Running<M> {
    async fn run(&mut self) {
        loop {
            self.look_around();
            self.send_what_waits().await;
            if self.parts.closing.is_cancelled() && self.is_idle() {
                return;
            }
            match self.wait().await {
                Event::Verdict(sequence, verdict) => self.take_verdict(sequence, verdict),
                Event::EntryEnded(ended) => self.entry_ended(ended),
                Event::Local(waiting) => self.stash.push_back(waiting),
                Event::Arrived(arrived) => self.held = Some(arrived),
                Event::Look => {}
                Event::CoreGone => return,
            }
        }
    }

    /// Nobody is owed anything, or nobody can give it.
    fn is_idle(&self) -> bool {
        let nothing_waits = self.stash.is_empty() && self.parts.local.is_empty() && self.parts.outbox.is_empty();
        self.role == Role::Nobody || nothing_waits && self.entries.is_empty()
    }

    /// Lets go of commands that were given up while nobody leads: they would take the room of those that are not.
    fn tidy(&mut self) {
        while let Ok(waiting) = self.parts.local.try_recv() {
            self.stash.push_back(waiting);
        }
        self.stash.retain(|waiting| !waiting.caller.reply.is_closed());
    }

    /// Takes nothing more from other servers: they would keep this one from ever having answered everything. They try again.
    fn close_to_others(&mut self) {
        self.parts.arrived.close();
        while let Some(arrived) = self.held.take().or_else(|| self.parts.arrived.try_recv().ok()) {
            // Its sender may have given up.
            let _ = arrived.done.send(Err(ForwardError::Unavailable));
        }
    }

    /// Sees who leads now. What this server wrote as a leader that it is no more may or may not be in the log.
    fn look_around(&mut self) {
        let role = self.role_now();
        if role != self.role {
            self.role = role;
            self.paused_until = None;
            self.abandon_entries();
        }
        if self.role == Role::Nobody {
            self.tidy();
        }
        if self.parts.closing.is_cancelled() {
            self.close_to_others();
        }
        if self.paused_until.is_some_and(|until| until <= Instant::now()) {
            self.paused_until = None;
        }
        if !matches!(self.role, Role::Leads(_))
            && let Some(arrived) = self.held.take()
        {
            let leader = self.group.borrow().current_leader;
            let _ = arrived.done.send(Err(ForwardError::NotLeader { leader }));
        }
    }

    fn role_now(&mut self) -> Role {
        let leads = *self.parts.leadership.borrow_and_update();
        let rests = *self.parts.resting.borrow_and_update();
        let group = self.group.borrow_and_update();
        match (leads, group.current_leader) {
            (Some(_), _) if rests => Role::Nobody,
            (Some(term), _) => Role::Leads(term),
            (None, Some(leader)) if leader != group.id => {
                let peer = group.membership_config.membership().get_node(&leader);
                peer.map_or(Role::Nobody, |peer| Role::Follows(leader, peer.clone()))
            }
            _ => Role::Nobody,
        }
    }

    /// Whether there is a place for one more entry or parcel of this server's own.
    fn may_send(&self) -> bool {
        let place = match self.role {
            Role::Leads(_) => self.entries.len() < ENTRIES_IN_FLIGHT,
            Role::Follows(..) => self.forwarding < PARCELS_IN_FLIGHT,
            Role::Nobody => false,
        };
        place && self.paused_until.is_none()
    }

    async fn wait(&mut self) -> Event<M> {
        let may_send = self.may_send();
        let may_pack = may_send && self.parts.outbox.has_room();
        let leads = matches!(self.role, Role::Leads(_));
        let may_take = self.held.is_none() && (may_send || !leads);
        let (pause, paused) = (self.paused_until.unwrap_or_else(Instant::now), self.paused_until.is_some());
        let full = !self.parts.outbox.has_room();
        let closes = self.parts.closing.is_cancelled();
        let leaderless = self.role == Role::Nobody;
        let Self { parts, group, applied, entries, verdicts, .. } = self;
        tokio::select! {
            biased;
            verdict = verdicts.recv() => {
                verdict.map_or(Event::CoreGone, |(sequence, verdict)| Event::Verdict(sequence, verdict))
            }
            ended = sending::front(entries) => Event::EntryEnded(ended),
            changed = parts.leadership.changed() => if changed.is_ok() { Event::Look } else { Event::CoreGone },
            changed = parts.resting.changed() => if changed.is_ok() { Event::Look } else { Event::CoreGone },
            changed = group.changed() => if changed.is_ok() { Event::Look } else { Event::CoreGone },
            // What was applied may have settled something that others wait for.
            changed = applied.changed(), if closes || full => {
                if changed.is_ok() { Event::Look } else { Event::CoreGone }
            }
            () = tokio::time::sleep_until(pause), if paused => Event::Look,
            Some(arrived) = parts.arrived.recv(), if may_take => Event::Arrived(arrived),
            Some(waiting) = parts.local.recv(), if may_pack => Event::Local(waiting),
            () = parts.closing.cancelled(), if !closes => Event::Look,
            () = tokio::time::sleep(TIDY_PAUSE), if leaderless => Event::Look,
        }
    }

    /// Takes the next command that anybody still waits for.
    fn next_waiting(&mut self) -> Option<Waiting<M>> {
        loop {
            let waiting = self.stash.pop_front().or_else(|| self.parts.local.try_recv().ok())?;
            if !waiting.caller.reply.is_closed() {
                return Some(waiting);
            }
        }
    }

    fn pause(&mut self) {
        self.paused_until = Some(Instant::now() + REFUSED_PAUSE);
    }
}

#[cfg(test)]
mod tests;
