//! A group that does what is planned, without a log or a wire: the real state, and a status as a leader would see it.

use std::collections::{BTreeMap, BTreeSet};

use muster_state::{
    Bytes, Digest, Sealed, State, VerbOf,
    command::{
        ApproveServer, CreateServerToken, EndEpoch, HandDataKeys, PromoteServer, RecordServer, RemoveServer,
        RequestServer, ResealSecrets, Resealed, StartEpoch,
    },
    record::{SealedSecret, ServerStanding, ServerUrls},
};
use sha2::{Digest as _, Sha256};

use super::super::{Step, View, plan};
use crate::{
    ledger::{
        Status,
        testing::{mk_member, mk_status},
    },
    operations::{found_fleet, remove_server::ANSWERS_WITHIN_MS},
    seal::SealKey,
};

const NOW_MS: u64 = 1_795_305_600_000;

pub(super) struct World {
    pub(super) state: State,
    pub(super) status: Status,
    pub(super) kept_up: BTreeSet<u64>,
    pub(super) has_keys: bool,
    silent: BTreeSet<u64>,
}

fn digest(server: u64) -> Digest {
    Digest([u8::try_from(server % 251).unwrap(); 32])
}

fn address(server: u64) -> String {
    format!("10.0.0.{server}:9446")
}

impl World {
    /// A fleet whose founder has not registered.
    pub(super) fn unregistered() -> Self {
        let mut state = State::default();
        let key = SealKey::from_bytes(&[7; 32]).unwrap();
        state.apply_verb(NOW_MS, found_fleet::make(&key, 1, NOW_MS).unwrap()).unwrap();
        let status = mk_status(1, [mk_member(1, true, None, Some(0))]);
        Self { state, status, kept_up: BTreeSet::new(), has_keys: true, silent: BTreeSet::new() }
    }

    /// Server 1 leads alone.
    pub(super) fn founded() -> Self {
        let mut world = Self::unregistered();
        world.register(1);
        world
    }

    /// The same with learners in the group.
    pub(super) fn of_learners<const N: usize>(ids: [u64; N]) -> Self {
        let mut world = Self::founded();
        ids.into_iter().for_each(|id| world.joined(id));
        world
    }

    /// Servers from 1 on, all voting and with keys; 1 leads.
    pub(super) fn of_voters<const N: usize>(ids: [u64; N]) -> Self {
        let mut world = Self::founded();
        for id in ids.into_iter().skip(1) {
            world.joined(id);
            world.done(PromoteServer { server: id });
            world.take(&Step::HandDataKeys(id));
        }
        world.take(&Step::ChangeVoters(ids.into_iter().collect()));
        world
    }

    pub(super) fn plan(&self) -> Vec<Step> {
        let Self { state, status, kept_up, has_keys, .. } = self;
        plan(View { state, status, kept_up, has_keys: *has_keys })
    }

    /// Plans and takes steps until nothing is left to do.
    #[track_caller]
    pub(super) fn run(&mut self) {
        for _ in 0..100 {
            let steps = self.plan();
            if steps.is_empty() {
                return;
            }
            steps.iter().for_each(|step| self.take(step));
        }
        panic!("the plan does not come to an end: {:?}", self.plan());
    }

    #[track_caller]
    pub(super) fn done<V: VerbOf>(&mut self, verb: V) -> V::Reply {
        self.state.apply_verb(NOW_MS, verb).unwrap()
    }

    pub(super) fn register(&mut self, server: u64) {
        let generation = self.state.servers.get(&server).map_or(1, |record| record.generation + 1);
        let address = address(server);
        self.record(server, address, generation);
    }

    pub(super) fn moved(&mut self, server: u64, address: &str) {
        let generation = self.state.servers[&server].generation;
        self.record(server, address.into(), generation);
    }

    fn record(&mut self, server: u64, address: String, generation: u64) {
        let sealing_key = Bytes(vec![1; 32]);
        let (urls, version) = (ServerUrls::default(), "0.2.0".into());
        self.done(RecordServer { server, key: digest(server), sealing_key, address, urls, version, generation });
    }

    /// A server that asks; its number is the next, which must be this one.
    pub(super) fn applicant(&mut self, server: u64) {
        let token = format!("t{server}");
        self.done(CreateServerToken { id: token.as_str().into(), sha256: digest(server), ttl_ms: 1_000 });
        let asked = self.done(RequestServer {
            token: Some((token.as_str().into(), digest(server))),
            key: digest(server),
            csr: Bytes(vec![1]),
            sealing_key: Bytes(vec![1; 32]),
            address: address(server),
            urls: ServerUrls::default(),
            version: "0.2.0".into(),
            from: String::new(),
        });
        assert_eq!(asked.server, server);
    }

    pub(super) fn approve(&mut self, server: u64) {
        self.done(ApproveServer { server, fingerprint: digest(server) });
    }

    pub(super) fn approved(&mut self, server: u64) {
        self.applicant(server);
        self.approve(server);
    }

    /// A learner in the group that has started.
    pub(super) fn joined(&mut self, server: u64) {
        self.approved(server);
        self.take(&Step::AddLearner { server, address: address(server) });
        self.register(server);
    }

    pub(super) fn keep_up(&mut self, server: u64) {
        self.kept_up.insert(server);
    }

    pub(super) fn lag(&mut self, server: u64, entries: u64) {
        self.status.members.get_mut(&server).unwrap().lag_entries = Some(entries);
    }

    pub(super) fn fall_silent(&mut self, server: u64) {
        self.silent.insert(server);
        self.kept_up.remove(&server);
        self.see();
    }

    pub(super) fn answer(&mut self, server: u64) {
        self.silent.remove(&server);
        self.see();
    }

    pub(super) fn members(&self) -> Vec<u64> {
        self.status.members.keys().copied().collect()
    }

    /// What the leader sees of the others.
    fn see(&mut self) {
        let leader = self.status.id;
        for (id, member) in &mut self.status.members {
            let silent = self.silent.contains(id) && *id != leader;
            member.silence_ms = Some(if silent { 2 * ANSWERS_WITHIN_MS } else { 10 });
            member.lag_entries = if *id == leader { None } else { member.lag_entries.or(Some(0)) };
        }
        let members = &self.status.members;
        self.kept_up.retain(|id| members.contains_key(id));
    }

    fn voters(&self) -> BTreeSet<u64> {
        self.status.voters().collect()
    }

    /// As consensus and the ledger would do it; what they would refuse changes nothing.
    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::FinishJoint => self.status.joint = false,
            Step::HandOver { to } => self.hand_over(*to),
            Step::AddLearner { server, address } => {
                let (id, mut member) = mk_member(*server, false, Some(0), Some(10));
                member.peer.address.clone_from(address);
                self.status.members.entry(id).or_insert(member);
            }
            Step::SetAddress { server, address } => {
                let member = self.status.members.get_mut(server);
                member.into_iter().for_each(|member| member.peer.address.clone_from(address));
            }
            Step::ChangeVoters(voters) => self.change_voters(voters),
            Step::RemoveMember(server) => {
                if self.status.members.get(server).is_some_and(|member| !member.voter) {
                    self.status.members.remove(server);
                }
            }
            Step::HandDataKeys(server) => {
                let epochs = self.state.fleet.iter().flat_map(|fleet| fleet.epochs.keys());
                let keys: BTreeMap<u32, Bytes> = epochs.map(|epoch| (*epoch, Bytes(vec![2]))).collect();
                let _ = self.state.apply_verb(NOW_MS, HandDataKeys { server: *server, keys });
            }
            Step::ResealSecrets => {
                let epoch = self.state.fleet.as_ref().map_or(0, |fleet| fleet.epoch);
                let old = self.state.secrets().filter(|(_, secret)| secret.sealed.epoch < epoch);
                let resealed = old.map(|(name, secret)| Resealed {
                    name,
                    seen: Digest(Sha256::digest(&secret.sealed.bytes.0).into()),
                    secret: SealedSecret { sealed: Sealed { epoch, ..secret.sealed.clone() }, ..secret.clone() },
                });
                let secrets = resealed.collect();
                let _ = self.state.apply_verb(NOW_MS, ResealSecrets { secrets });
            }
            Step::EndEpoch(epoch) => drop(self.state.apply_verb(NOW_MS, EndEpoch { epoch: *epoch })),
            Step::StartEpoch => {
                let epoch = self.state.fleet.as_ref().unwrap().epoch + 1;
                let holders = self.state.epoch_holders();
                // As the operation does.
                if !holders.contains(&self.status.id) {
                    return;
                }
                let keys = holders.into_iter().map(|id| (id, Bytes(vec![2]))).collect();
                let _ = self.state.apply_verb(NOW_MS, StartEpoch { epoch, keys });
            }
        }
        self.see();
    }

    fn hand_over(&mut self, to: u64) {
        if self.voters().contains(&to) && !self.silent.contains(&to) {
            (self.status.id, self.status.leader) = (to, Some(to));
            self.kept_up.clear();
        }
    }

    /// openraft refuses a voter that is no learner of the group.
    fn change_voters(&mut self, voters: &BTreeSet<u64>) {
        if voters.iter().all(|id| self.status.members.contains_key(id)) {
            for (id, member) in &mut self.status.members {
                member.voter = voters.contains(id);
            }
        }
    }

    fn answering(&self, voters: &BTreeSet<u64>) -> usize {
        voters.iter().filter(|id| !self.silent.contains(id) || **id == self.status.id).count()
    }

    /// Takes a step that was planned, perhaps a moment ago, and checks what must hold of any.
    #[track_caller]
    pub(super) fn take_checked(&mut self, step: &Step) {
        let epoch = self.state.fleet.as_ref().unwrap().epoch;
        self.take(step);
        if self.state.fleet.as_ref().unwrap().epoch > epoch {
            assert!(!self.is_removed(self.status.id), "a leader that has to leave made a data key");
        }
    }

    fn is_removed(&self, id: u64) -> bool {
        self.state.servers.get(&id).is_some_and(|record| record.standing.is_removed())
    }

    /// What must hold at any time: every voter can open every secret, and someone votes.
    #[track_caller]
    pub(super) fn check(&self) {
        assert!(!self.voters().is_empty());
        for id in self.voters().into_iter().filter(|id| !self.is_removed(*id)) {
            let standing = self.state.servers[&id].standing;
            assert_eq!(standing, ServerStanding::Voter, "server {id} votes as a {standing}");
        }
    }

    /// Everybody answers and has kept up.
    pub(super) fn heal(&mut self) {
        self.silent.clear();
        self.status.joint = false;
        self.see();
        // As the looks of some seconds would find it.
        self.kept_up = self.status.members.keys().copied().collect();
    }

    #[track_caller]
    pub(super) fn check_settled(&mut self) {
        // New members have kept up too, after a while.
        self.heal();
        self.run();
        let wanted = |standing| self.state.servers_that_are(standing).map(|record| record.id).collect::<BTreeSet<_>>();
        let (voters, learners) = (wanted(ServerStanding::Voter), wanted(ServerStanding::Learner));
        assert_eq!(self.voters(), voters);
        assert_eq!(self.members().into_iter().collect::<BTreeSet<_>>(), voters.union(&learners).copied().collect());
        assert!(voters.iter().all(|id| self.state.holds_data_keys(*id)), "a voter can open nothing");
        assert!(!self.state.is_epoch_due());
        assert!(!self.status.joint);
    }

    /// Something that happens: operators, machines, the network.
    #[track_caller]
    pub(super) fn deed(&mut self, what: u8, which: u8) {
        let pick = |ids: Vec<u64>| ids.get(usize::from(which) % ids.len().max(1)).copied();
        let server = pick(self.state.servers.keys().copied().collect()).unwrap_or(1);
        let before = (self.voters(), self.answering(&self.voters()));
        match what {
            0 if self.state.servers.len() < 9 => self.approved(self.state.last_server + 1),
            1 | 2 => drop(self.state.apply_verb(NOW_MS, PromoteServer { server })),
            3 => drop(self.state.apply_verb(NOW_MS, RemoveServer { server, force: false, reason: String::new() })),
            4 | 5 => self.kept_up.extend(self.status.members.keys()),
            // A minority at most: with more, nothing could be planned anyway.
            6 if 2 * (before.0.len() - before.1 + 1) < before.0.len() => self.fall_silent(server),
            7 => self.answer(server),
            8 => self.hand_over(server),
            9 => self.status.joint = true,
            10 => self.kept_up.clear(),
            _ => {}
        }
        self.see();
    }
}
