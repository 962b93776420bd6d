//! Which parcels are carried out already, with their replies. It is part of the replicated state: every server comes to the same,
//! and a snapshot carries it on. Bounded by members times [`WINDOW`].

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_state::planted::{Bug, is_planted};

use super::machine::Machine;
use super::parcel::{Heading, Outcome, WINDOW};
use super::types::ServerId;

/// What is remembered of all servers' parcels.
pub(super) struct Settled<M: Machine> {
    pub(super) origins: BTreeMap<ServerId, Heard<M::Reply>>,
}

/// What is remembered of one server's.
#[derive(Clone)]
pub(super) struct Heard<R> {
    /// Its latest start that was heard of.
    pub(super) generation: u64,
    /// Parcels below are done with.
    pub(super) floor: u64,
    /// Replies of those from there on that were carried out.
    pub(super) replies: BTreeMap<u64, Arc<[R]>>,
}

impl<R> Heard<R> {
    fn new(generation: u64) -> Self {
        Self { generation, floor: 0, replies: BTreeMap::new() }
    }

    fn forget_below(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        self.replies = self.replies.split_off(&self.floor);
    }

    fn remember(&mut self, sequence: u64, replies: Arc<[R]>) {
        self.replies.insert(sequence, replies);
        // A server that keeps to its window never comes here.
        while self.replies.len() as u64 > WINDOW {
            let lowest = self.replies.keys().next().map_or(0, |lowest| lowest + 1);
            self.forget_below(lowest);
        }
    }
}

impl<M: Machine> Settled<M> {
    /// Has a parcel carried out unless it must not be: because it was before, because its term or its sender's time is over.
    ///
    /// `term` is that of the entry it came in.
    pub(super) fn settle(
        &mut self,
        heading: &Heading,
        term: u64,
        is_member: bool,
        carry_out: impl FnOnce() -> Vec<M::Reply>,
    ) -> Outcome<M> {
        let origin = &heading.origin;
        if !is_member {
            return Outcome::Dead;
        }
        let heard = self.origins.entry(origin.server).or_insert_with(|| Heard::new(origin.generation));
        if origin.generation < heard.generation {
            return Outcome::Dead;
        }
        if origin.generation > heard.generation {
            *heard = Heard::new(origin.generation);
        }
        let outcome = match heard.replies.get(&origin.sequence).filter(|_| !is_planted(Bug::ParcelRepeated)) {
            Some(replies) => Outcome::Done(replies.clone()),
            None if origin.sequence < heard.floor => Outcome::Dead,
            None if heading.fence.is_some_and(|fence| fence != term) && !is_planted(Bug::FenceIgnored) => {
                Outcome::Fenced
            }
            None => {
                let replies: Arc<[M::Reply]> = carry_out().into();
                heard.remember(origin.sequence, replies.clone());
                Outcome::Done(replies)
            }
        };
        // A floor above its own number would be a lie of the sender; it would cost only itself.
        heard.forget_below(origin.floor);
        outcome
    }

    /// Forgets servers that left. Their numbers are never used again, and what they sent is not carried out any more.
    pub(super) fn keep_members(&mut self, is_member: impl Fn(ServerId) -> bool) {
        self.origins.retain(|server, _| is_member(*server));
    }
}

impl<M: Machine> Default for Settled<M> {
    fn default() -> Self {
        Self { origins: BTreeMap::new() }
    }
}

impl<M: Machine> Clone for Settled<M> {
    fn clone(&self) -> Self {
        Self { origins: self.origins.clone() }
    }
}

#[cfg(test)]
mod tests;
