//! Parcels on their way: into an entry of this server's log, or to the leader; and what becomes of them there.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use muster_state::Stamp;
use muster_state::planted::{Bug, is_planted};
use openraft::error::ClientWriteError;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::{Arrived, REFUSED_PAUSE, Role, Running};
use crate::consensus::batcher::Load;
use crate::consensus::clock::next_stamp;
use crate::consensus::codec;
use crate::consensus::error::{ForwardError, ProposeError};
use crate::consensus::machine::Machine;
use crate::consensus::outbox::Waiting;
use crate::consensus::parcel::{Forwarded, Parcel};
use crate::consensus::transport::TransportError;
use crate::consensus::types::{Peer, ServerId, ServerMetrics, WriteAnswer};
use crate::process;

/// How long an entry may be under way before this server goes on without it. openraft's own wait has no end, and a minority
/// leader accepts entries for ever; those who wait have their own, shorter, deadlines.
const ENTRY_WITHIN: Duration = Duration::from_secs(10);

/// How long the leader may take over a parcel before it is sent again. A leader that is gone is noticed sooner.
const FORWARD_WITHIN: Duration = Duration::from_secs(5);

/// After a leader was not reached, or had no room.
const UNREACHED_PAUSE: Duration = Duration::from_millis(50);

/// An entry under way.
pub(super) struct Writing<M: Machine> {
    answer: oneshot::Receiver<WriteAnswer<M>>,
    appended: Arc<AtomicBool>,
    cargo: Vec<Cargo>,
    until: Instant,
}

/// Whose a parcel in an entry is.
enum Cargo {
    Own(u64),
    Foreign(oneshot::Sender<Result<Forwarded, ForwardError>>),
}

/// How the oldest entry under way ended.
pub(super) enum Ended {
    /// It is applied.
    At(u64),
    /// This server does not lead, and it never got into its log.
    Refused(Option<ServerId>),
    /// It may be in a log.
    Unclear,
}

/// What became of a parcel that was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is in the leader's state.
    Taken,
    /// The leader did not take it.
    NotTaken,
    /// Somebody may have taken it.
    Unclear,
    /// It never will be taken.
    Malformed,
}

/// Waits for the oldest entry under way; for ever if there is none.
pub(super) async fn front<M: Machine>(entries: &mut VecDeque<Writing<M>>) -> Ended {
    let Some(writing) = entries.front_mut() else { return pending().await };
    let until = writing.until;
    match tokio::time::timeout_at(until, &mut writing.answer).await {
        Ok(Ok(Ok(written))) => Ended::At(written.log_id.index),
        // Once appended it may still commit under another leader, even after openraft gave it up here.
        Ok(Ok(Err(ClientWriteError::ForwardToLeader(to)))) if !writing.appended.load(Ordering::Acquire) => {
            Ended::Refused(to.leader_id)
        }
        _ => Ended::Unclear,
    }
}

type Parcels<M> = Vec<(Option<u64>, Parcel<M>)>;

impl<M: Machine> Running<M> {
    /// Sends as much as there is and as may be under way.
    pub(super) async fn send_what_waits(&mut self) {
        while self.may_send() {
            let sent = match self.role.clone() {
                Role::Leads(term) => self.write_entry(term).await,
                Role::Follows(leader, peer) => self.forward_parcel(leader, peer),
                Role::Nobody => false,
            };
            if !sent {
                return;
            }
        }
    }

    /// Folds what waits into one entry and hands it to openraft. False if nothing waits.
    async fn write_entry(&mut self, term: u64) -> bool {
        let (mut parcels, mut cargo, mut load) = (Vec::new(), Vec::new(), Load::default());
        // In turns, so that neither starves the other when there is more than an entry takes.
        self.own_first = !self.own_first;
        if self.own_first {
            self.gather_own(term, &mut load, &mut parcels, &mut cargo);
        }
        self.gather_arrived(&mut load, &mut parcels, &mut cargo);
        if !self.own_first {
            self.gather_own(term, &mut load, &mut parcels, &mut cargo);
        }
        if parcels.is_empty() {
            return false;
        }
        let batch = codec::batch(self.next_stamp(), &parcels);
        let appended = batch.appended();
        let until = Instant::now() + ENTRY_WITHIN;
        match self.parts.raft.client_write_ff(batch).await {
            Ok(answer) => self.entries.push_back(Writing { answer, appended, cargo, until }),
            // The core is gone; this task ends with the next turn.
            Err(_) => self.return_cargo(cargo, &Ended::Unclear),
        }
        true
    }

    /// The next entry's time: not before that of any entry before it, applied or not.
    fn next_stamp(&mut self) -> Stamp {
        let applied_ms = self.parts.shared.read().machine.latest().now_ms;
        let latest = Stamp { now_ms: applied_ms.max(self.last_stamp_ms) };
        let stamp = next_stamp(latest, self.parts.clock.as_ref());
        self.last_stamp_ms = stamp.now_ms;
        stamp
    }

    fn gather_own(&mut self, term: u64, load: &mut Load, parcels: &mut Parcels<M>, cargo: &mut Vec<Cargo>) {
        while let Some(sequence) = self.again.pop_first() {
            let Some((fence, parcel)) = self.parts.outbox.send(sequence) else { continue };
            if fence.is_some_and(|fence| fence != term) {
                self.parts.outbox.refuse(sequence, &ProposeError::Fenced);
            } else if load.take(1, parcel.commands().len(), parcel.bytes()) {
                parcels.push((fence, parcel));
                cargo.push(Cargo::Own(sequence));
            } else {
                self.again.insert(sequence);
                return;
            }
        }
        while self.parts.outbox.has_room() {
            let Some((fence, waiting)) = self.fold(Some(term), load) else { return };
            let sequence = self.parts.outbox.pack(fence, waiting);
            let Some(sent) = self.parts.outbox.send(sequence) else { continue };
            parcels.push(sent);
            cargo.push(Cargo::Own(sequence));
        }
    }

    fn gather_arrived(&mut self, load: &mut Load, parcels: &mut Parcels<M>, cargo: &mut Vec<Cargo>) {
        while let Some(arrived) = self.held.take().or_else(|| self.parts.arrived.try_recv().ok()) {
            let Arrived { parcel, done } = arrived;
            if done.is_closed() {
                // Its sender waits no longer, and sends it again if it must.
                continue;
            }
            if !load.take(1, parcel.commands().len(), parcel.bytes()) {
                self.held = Some(Arrived { parcel, done });
                return;
            }
            parcels.push((None, parcel));
            cargo.push(Cargo::Foreign(done));
        }
    }

    /// Takes waiting commands with the same fence, as many as the load takes. A fence of another term than `term` is refused.
    fn fold(&mut self, term: Option<u64>, load: &mut Load) -> Option<(Option<u64>, Vec<Waiting<M>>)> {
        let mut folded: Option<(Option<u64>, Vec<Waiting<M>>)> = None;
        while let Some(waiting) = self.next_waiting() {
            if waiting.fence.is_some() && waiting.fence != term && !is_planted(Bug::FenceIgnored) {
                waiting.caller.answer(Err(ProposeError::Fenced));
                continue;
            }
            let alike = folded.as_ref().is_none_or(|(fence, _)| *fence == waiting.fence);
            let parcels = usize::from(folded.is_none());
            if !alike || !load.take(parcels, 1, waiting.command.bytes()) {
                self.stash.push_front(waiting);
                break;
            }
            folded.get_or_insert_with(|| (waiting.fence, Vec::new())).1.push(waiting);
        }
        folded
    }

    /// Sends one parcel to the leader. False if nothing waits.
    fn forward_parcel(&mut self, leader: ServerId, peer: Peer) -> bool {
        let Some(sequence) = self.again.pop_first().or_else(|| self.pack_for_leader()) else { return false };
        let Some((fence, parcel)) = self.parts.outbox.send(sequence) else { return true };
        if fence.is_some() {
            self.parts.outbox.refuse(sequence, &ProposeError::Fenced);
            return true;
        }
        self.parts.outbox.leaves(sequence);
        self.forwarding += 1;
        let (courier, group, judges) = (self.parts.courier.clone(), self.group.clone(), self.judges.clone());
        process::spawn(async move {
            let (mut here, mut there) = (group.clone(), group);
            let answer = tokio::select! {
                biased;
                answer = courier.forward(leader, peer, parcel, FORWARD_WITHIN) => Some(answer),
                () = moved(&mut there, leader) => None,
            };
            let (verdict, pause) = judge(answer.as_ref());
            // A new leader is worth an attempt at once.
            let _ = tokio::time::timeout(pause, moved(&mut here, leader)).await;
            // There is room for each, and a task that has ended needs none.
            let _ = judges.send((sequence, verdict)).await;
        });
        true
    }

    fn pack_for_leader(&mut self) -> Option<u64> {
        if !self.parts.outbox.has_room() {
            return None;
        }
        let (fence, waiting) = self.fold(None, &mut Load::default())?;
        Some(self.parts.outbox.pack(fence, waiting))
    }

    pub(super) fn take_verdict(&mut self, sequence: u64, verdict: Verdict) {
        self.forwarding -= 1;
        let outbox = &self.parts.outbox;
        match verdict {
            // It is answered, or will be with the entries that are on their way here.
            Verdict::Taken => return,
            Verdict::NotTaken => {}
            Verdict::Unclear => outbox.perhaps_taken(sequence),
            Verdict::Malformed => return outbox.refuse(sequence, &ProposeError::Malformed),
        }
        self.again.insert(sequence);
    }

    pub(super) fn entry_ended(&mut self, ended: Ended) {
        let Some(writing) = self.entries.pop_front() else { return };
        if !matches!(ended, Ended::At(_)) {
            self.pause();
        }
        self.return_cargo(writing.cargo, &ended);
    }

    pub(super) fn abandon_entries(&mut self) {
        for writing in std::mem::take(&mut self.entries) {
            self.return_cargo(writing.cargo, &Ended::Unclear);
        }
    }

    fn return_cargo(&mut self, cargo: Vec<Cargo>, ended: &Ended) {
        for one in cargo {
            match (one, ended) {
                // Applying it has settled it.
                (Cargo::Own(_), Ended::At(_)) => {}
                (Cargo::Own(sequence), Ended::Refused(_)) => {
                    self.parts.outbox.came_back(sequence);
                    self.again.insert(sequence);
                }
                (Cargo::Own(sequence), Ended::Unclear) => {
                    self.parts.outbox.perhaps_taken(sequence);
                    self.again.insert(sequence);
                }
                (Cargo::Foreign(done), ended) => {
                    let answer = match ended {
                        Ended::At(index) => Ok(Forwarded { index: *index }),
                        Ended::Refused(leader) => Err(ForwardError::NotLeader { leader: *leader }),
                        Ended::Unclear => Err(ForwardError::Unknown),
                    };
                    // Its sender may have given up; it sends the parcel again.
                    let _ = done.send(answer);
                }
            }
        }
    }
}

/// Waits until somebody else leads than `leader`, or nobody.
async fn moved(group: &mut watch::Receiver<ServerMetrics>, leader: ServerId) {
    // A core that is gone leads nobody either.
    let _ = group.wait_for(|group| group.current_leader != Some(leader)).await;
}

/// What the answer to a forwarded parcel means, and how long to wait before it is sent again. No answer: the leader changed.
fn judge(answer: Option<&Result<Result<Forwarded, ForwardError>, TransportError>>) -> (Verdict, Duration) {
    match answer {
        Some(Ok(Ok(_))) => (Verdict::Taken, Duration::ZERO),
        Some(Ok(Err(ForwardError::NotLeader { .. } | ForwardError::Unavailable))) => (Verdict::NotTaken, REFUSED_PAUSE),
        Some(Ok(Err(ForwardError::Overloaded)) | Err(TransportError::Refused(_) | TransportError::TooLarge { .. })) => {
            (Verdict::NotTaken, UNREACHED_PAUSE)
        }
        Some(Ok(Err(ForwardError::Malformed))) => (Verdict::Malformed, Duration::ZERO),
        Some(Ok(Err(ForwardError::Unknown))) => (Verdict::Unclear, REFUSED_PAUSE),
        Some(Err(TransportError::Unreachable(_) | TransportError::TimedOut)) => (Verdict::Unclear, UNREACHED_PAUSE),
        None => (Verdict::Unclear, Duration::ZERO),
    }
}
