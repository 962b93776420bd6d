//! The servers of a run, and who watches over them: restarts what ended, changes the group as it should be, and looks for
//! what must never be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_server::consensus::{Peer, Role, ServerId, Status};
use tokio::sync::Notify;

use super::conductor::Deeds;
use super::disk;
use super::journal::Journal;
use super::network::Network;
use super::plan::{Plan, Victim};
use super::server::{Asked, Server};
use super::turnstile::Turnstile;

/// Between two looks at the group.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// How long one change of the group may take before another is tried.
const CHANGE_WITHIN: Duration = Duration::from_secs(3);

/// Entries that a learner may be behind to be given its vote, as in Muster itself: one that has nothing yet votes for nobody, and
/// a group that needs its vote would wait for it.
const LAG_MAX: u64 = 64;

/// The group.
#[derive(Debug)]
pub struct Group {
    /// What happens is written down here.
    pub journal: Arc<Journal>,
    /// What is between the servers.
    pub network: Arc<Network>,
    /// Through which all servers' tasks go.
    pub turnstile: Arc<Turnstile>,
    /// Told when something was found that must never be.
    pub broken: Notify,
    /// What leaders proposed.
    pub deeds: Deeds,
    seed: u64,
    snapshot_every: u64,
    inner: Mutex<Inner>,
    /// Held while the group is changed: one who is let go must not be brought back by who has not heard of it.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Inner {
    servers: BTreeMap<ServerId, Arc<Server>>,
    /// Who should vote. Whoever is a member beside them should be a learner.
    voters: BTreeSet<ServerId>,
    /// Numbers that were given out and have not come yet.
    skipped: BTreeSet<ServerId>,
    leaders: BTreeMap<u64, ServerId>,
    violations: Vec<String>,
    /// Roles and terms as last seen, for the journal.
    seen: BTreeMap<ServerId, (Role, u64)>,
}

impl Group {
    /// The group of a plan: nobody runs yet.
    #[must_use]
    pub fn new(plan: &Plan, journal: Arc<Journal>) -> Arc<Self> {
        let network = Network::new(plan.seed, journal.clone());
        let group = Self {
            journal,
            network,
            turnstile: Arc::default(),
            broken: Notify::new(),
            deeds: Deeds::default(),
            seed: plan.seed,
            snapshot_every: plan.snapshot_every,
            inner: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        };
        group.inner().voters = (1..=plan.voters).collect();
        for _ in 0..plan.voters + plan.learners {
            group.add_server(false);
        }
        Arc::new(group)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a server with a number that nobody ever had, the next one or, out of turn, the one after. Not started.
    pub fn add_server(&self, out_of_turn: bool) -> Arc<Server> {
        let mut inner = self.inner();
        let next = inner.servers.keys().next_back().map_or(1, |last| last + 1);
        let id = match inner.skipped.pop_first() {
            Some(skipped) => skipped,
            None if out_of_turn => {
                inner.skipped.insert(next);
                next + 1
            }
            None => next,
        };
        let of_run = (self.seed, self.snapshot_every);
        let (network, turnstile) = (self.network.clone(), self.turnstile.clone());
        let server = Server::new(id, of_run, network, turnstile, self.deeds.clone());
        inner.servers.insert(id, server.clone());
        server
    }

    /// Writes down something that must never be.
    pub fn violated(&self, what: String) {
        self.journal.note(format_args!("VIOLATION {what}"));
        self.inner().violations.push(what);
        self.broken.notify_one();
    }

    /// All that was found.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.inner().violations.clone()
    }

    /// Servers that belong to the group, by number.
    #[must_use]
    pub fn servers(&self) -> Vec<Arc<Server>> {
        self.inner().servers.values().filter(|server| !server.is_gone()).cloned().collect()
    }

    /// The server at a place in the list, counted round and round.
    #[must_use]
    pub fn at(&self, place: usize) -> Arc<Server> {
        let servers = self.servers();
        servers[place % servers.len()].clone()
    }

    /// Whom a fault hits.
    #[must_use]
    pub fn victim(&self, victim: Victim) -> Arc<Server> {
        match victim {
            Victim::Leader => self.leader().unwrap_or_else(|| self.at(0)),
            Victim::Any(place) => self.at(place),
        }
    }

    /// The victim and so many after it in the list.
    #[must_use]
    pub fn victims(&self, victim: Victim, more: usize) -> Vec<Arc<Server>> {
        let first = self.victim(victim);
        let servers = self.servers();
        let place = servers.iter().position(|server| server.id == first.id).unwrap_or(0);
        (0..=more.min(servers.len() - 1)).map(|after| servers[(place + after) % servers.len()].clone()).collect()
    }

    /// Who leads, by the highest term anybody knows of.
    #[must_use]
    pub fn leader(&self) -> Option<Arc<Server>> {
        let status = |server: &Arc<Server>| server.status().filter(|status| status.role == Role::Leader);
        let leading = self.servers().into_iter().filter_map(|server| Some((status(&server)?.term, server)));
        leading.max_by_key(|(term, _)| *term).map(|(_, server)| server)
    }

    /// Who should vote from now on; a minimum of two stays.
    pub fn change_wanted(&self, leaves: Option<ServerId>, comes: Option<ServerId>) {
        let mut inner = self.inner();
        inner.voters.extend(comes);
        if let Some(leaves) = leaves.filter(|_| inner.voters.len() > 2) {
            inner.voters.remove(&leaves);
        }
        self.journal.note(format_args!("wanted voters {:?}", inner.voters));
    }

    /// Who should vote.
    #[must_use]
    pub fn wanted(&self) -> BTreeSet<ServerId> {
        self.inner().voters.clone()
    }

    /// Starts a server; what it says on refusal is a violation.
    pub async fn start(&self, server: &Server) {
        if let Err(refusal) = server.start().await {
            self.violated(refusal);
        }
    }

    /// Watches until it is aborted.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            for server in self.servers() {
                self.look_after(&server).await;
            }
        }
    }

    /// Restarts a server that ended itself for a reason, as its supervisor would, and notes what it is.
    async fn look_after(&self, server: &Arc<Server>) {
        if let Some(why) = server.suicide() {
            self.journal.note(format_args!("server {} ended itself: {why}", server.id));
            if !why.contains(disk::FULL) {
                return self.violated(format!("server {} ended itself: {why}", server.id));
            }
            server.bury(usize::MAX);
        } else if server.process().is_none() {
            self.start(server).await;
        }
        if let Some(status) = server.status() {
            self.note_role(&status);
        }
    }

    /// Two leaders of one term must never be.
    fn note_role(&self, status: &Status) {
        let mut inner = self.inner();
        if inner.seen.insert(status.id, (status.role, status.term)) != Some((status.role, status.term)) {
            self.journal.note(format_args!("server {} is {:?} in term {}", status.id, status.role, status.term));
        }
        if status.role == Role::Leader {
            let first = *inner.leaders.entry(status.term).or_insert(status.id);
            drop(inner);
            if first != status.id {
                self.violated(format!("servers {first} and {} both led in term {}", status.id, status.term));
            }
        }
    }

    /// Changes the group step by step into what it should be, until it is aborted.
    pub async fn change_members(self: Arc<Self>) {
        loop {
            tokio::time::sleep(WATCH_EVERY * 3).await;
            if let Some(leader) = self.leader() {
                self.change_once(&leader).await;
            }
        }
    }

    /// One step, the first that is open.
    async fn change_once(&self, leader: &Arc<Server>) {
        let _changing = self.changing.lock().await;
        let Some(status) = leader.status() else { return };
        let wanted = self.wanted();
        let present: BTreeSet<ServerId> = self.servers().iter().map(|server| server.id).collect();
        let missing = present.iter().copied().find(|id| !status.members.contains_key(id));
        let step = if status.joint {
            leader.ask(CHANGE_WITHIN, |consensus| async move { consensus.finish_joint().await }).await
        } else if let Some(missing) = missing {
            let peer = Peer { address: format!("server-{missing}.example:9446") };
            leader.ask(CHANGE_WITHIN, |consensus| async move { consensus.add_learner(missing, peer).await }).await
        } else if status.voters().collect::<BTreeSet<_>>() != wanted && wanted.iter().all(|id| may_vote(&status, *id)) {
            leader.ask(CHANGE_WITHIN, |consensus| async move { consensus.change_voters(wanted).await }).await
        } else {
            return;
        };
        let said = match step {
            Asked::Answered(Ok(())) => "done".to_owned(),
            Asked::Answered(Err(error)) => error.to_string(),
            Asked::Silent => "no answer".to_owned(),
            Asked::Down => "down".to_owned(),
        };
        self.journal.note(format_args!("members changed by server {}: {said}", leader.id));
    }

    /// Takes a server out of the group and ends it, if it does not vote any more. Gives whether it is out.
    pub async fn remove(&self, leaving: &Arc<Server>) -> bool {
        let _changing = self.changing.lock().await;
        let Some((leader, status)) = self.leader().and_then(|leader| Some((leader.clone(), leader.status()?))) else {
            return false;
        };
        if status.joint || status.voters().any(|voter| voter == leaving.id) {
            return false;
        }
        let id = leaving.id;
        let removed = leader.ask(CHANGE_WITHIN, move |consensus| async move { consensus.remove(id).await }).await;
        if !matches!(removed, Asked::Answered(Ok(()))) {
            return false;
        }
        leaving.retire();
        self.inner().voters.remove(&id);
        self.journal.note(format_args!("server {id} is out"));
        true
    }

    /// Everybody runs, knows the same leader, has applied the same, and the group is as it should be.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let servers = self.servers();
        let states: Vec<Status> = servers.iter().filter_map(|server| server.status()).collect();
        let Some(leader) = states.iter().find(|status| status.role == Role::Leader) else { return false };
        let members: BTreeSet<ServerId> = servers.iter().map(|server| server.id).collect();
        states.len() == servers.len()
            && !leader.joint
            && leader.voters().collect::<BTreeSet<_>>() == self.wanted()
            && leader.members.keys().copied().collect::<BTreeSet<_>>() == members
            && states
                .iter()
                .all(|status| status.leader == Some(leader.id) && status.applied_index == leader.last_log_index)
    }
}

fn may_vote(status: &Status, id: ServerId) -> bool {
    let kept_up = |lag: Option<u64>| lag.is_some_and(|lag| lag <= LAG_MAX);
    status.members.get(&id).is_some_and(|member| member.voter || kept_up(member.lag_entries))
}
