//! A fleet that goes on from a backup: nothing that admits somebody survives, everything that says no does, and a machine
//! that proves itself goes on where it was.

use std::collections::BTreeMap;

use muster_state::{
    Bytes, Digest, NodeId, Phase, RefoundError, Refounding, Refusal, Sealed, SecretName, State,
    command::{ApproveNode, ConfirmIdentity, DenyNode, IssueCertificate, LockNode, OpenErrand, ReleaseBackup},
    facts::Facts,
    limits,
    record::{Certificate, ErrandKind, ErrandState, SealedSecret, Standing, TokenStanding, Verb},
};

use crate::golden::samples;
use crate::world::{self, DAY_MS, START_MS, World, digest, enrol, invariants, name, shown};

/// Above the epoch of a rich state.
const NEW_EPOCH: u32 = 3;

fn mk_refounding() -> Refounding {
    Refounding {
        fleet: "fleet-2".into(),
        intermediates: BTreeMap::from([("node".into(), Bytes(vec![7]))]),
        keys: BTreeMap::from([("root".into(), resealed(&world::secret(3)))]),
        epoch: NEW_EPOCH,
        wrapped: BTreeMap::from([(1, Bytes(vec![8]))]),
        now_ms: START_MS + 30 * DAY_MS,
    }
}

fn resealed(secret: &SealedSecret) -> SealedSecret {
    let sealed = Sealed { epoch: NEW_EPOCH, ..secret.sealed.clone() };
    SealedSecret { sealed, ..secret.clone() }
}

fn refound(state: State) -> State {
    let restored = state.refound(mk_refounding(), |_, secret| Ok::<_, ()>(resealed(secret))).expect("it is restored");
    invariants::check(&restored);
    restored
}

/// The world goes on from a backup of itself.
fn restore(world: &mut World) {
    world.state = refound(world.state.clone());
    world.now_ms = world.state.now_ms;
}

/// How often a sealed secret stands in the state, whatever holds it.
fn count_sealed(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Object(fields) => {
            let own = usize::from(["epoch", "format", "bytes"].iter().all(|field| fields.contains_key(*field)));
            own + fields.values().map(count_sealed).sum::<usize>()
        }
        serde_json::Value::Array(items) => items.iter().map(count_sealed).sum(),
        _ => 0,
    }
}

#[test]
fn every_sealed_secret_has_a_name_and_is_sealed_anew() {
    let state = samples::rich();
    let mut world = World { now_ms: state.now_ms, state };
    world.done(world::brought("c9"));
    let state = world.state;
    let names: Vec<SecretName> = state.secrets().map(|(name, _)| name).collect();
    assert_eq!(names.len(), count_sealed(&serde_json::to_value(&state).unwrap()), "one of them is in no list");
    assert!(names.iter().any(|name| matches!(name, SecretName::BootstrapToken(..))));
    assert!(names.contains(&SecretName::Credentials("c9".into())));
    let restored = refound(state);
    assert!(restored.secrets().count() > 5);
    for (name, secret) in restored.secrets() {
        assert_eq!(secret.sealed.epoch, NEW_EPOCH, "{name} is still sealed for the old fleet");
    }
    let fleet = restored.fleet.as_ref().unwrap();
    assert_eq!((fleet.id.as_str(), fleet.epoch, fleet.epochs.len()), ("fleet-2", NEW_EPOCH, 1));
    assert_eq!(State::from_snapshot(&restored.to_snapshot().unwrap()).unwrap(), restored, "indices fit the records");
}

#[test]
fn no_server_of_the_old_fleet_is_a_member_of_the_new_one_and_numbers_are_not_used_again() {
    let state = samples::rich();
    let last = state.last_server;
    assert!(last > 1 && !state.server_tokens.is_empty());
    let mut world = World { now_ms: START_MS + 31 * DAY_MS, state: refound(state) };
    assert!(world.state.servers.is_empty() && world.state.server_tokens.is_empty());
    world.done(world::record_server(1));
    world.done(world::server_token("s9"));
    assert_eq!(world.done(world::request_server(9, Some("s9"))).server, last + 1);
}

#[test]
fn the_root_stays_and_the_intermediates_do_not() {
    let state = samples::rich();
    let root = state.fleet.as_ref().unwrap().root.clone();
    let fleet = refound(state).fleet.unwrap();
    assert_eq!(fleet.root, root);
    assert_eq!(fleet.intermediates, mk_refounding().intermediates);
}

#[test]
fn a_state_without_a_fleet_or_with_a_used_epoch_is_refused() {
    let reseal = |_: &SecretName, secret: &SealedSecret| Ok::<_, ()>(secret.clone());
    assert!(matches!(State::default().refound(mk_refounding(), reseal), Err(RefoundError::NotFounded)));
    let same = Refounding { epoch: 1, ..mk_refounding() };
    assert!(matches!(samples::rich().refound(same, reseal), Err(RefoundError::EpochTaken(1))));
    let failing = |name: &SecretName, _: &SealedSecret| match name {
        SecretName::CertificateKey(_) => Err("no"),
        _ => Ok(world::secret(1)),
    };
    let refused = samples::rich().refound(mk_refounding(), failing).unwrap_err();
    assert_eq!(refused.to_string(), "certificate key of cluster c1: no");
}

#[test]
fn spent_tokens_stay_spent_and_live_ones_are_void() {
    let mut world = World::new();
    let spent = world.token("t-spent", "workers", None, 1);
    world.enrol(1, Some(spent.clone())).expect("admitted");
    let live = world.token("t-live", "workers", None, 5);
    restore(&mut world);
    assert_eq!(world.enrol(2, Some(spent)).unwrap_err(), Refusal::TokenSpent("t-spent".into()));
    assert_eq!(world.enrol(3, Some(live)).unwrap_err(), Refusal::TokenRevoked("t-live".into()));
    let standing = |id: &str| world.state.enrolment_tokens[&id.into()].standing(world.now_ms);
    assert_eq!((standing("t-spent"), standing("t-live")), (TokenStanding::Spent, TokenStanding::Revoked));
}

#[test]
fn no_key_of_the_backup_is_accepted() {
    let mut world = World::busy();
    world.settle();
    let node = NodeId::from("04node");
    restore(&mut world);
    let certificate = Certificate { chain: Vec::new(), not_after_ms: world.now_ms + DAY_MS };
    for key in [digest(4), Digest([0; 32])] {
        assert!(world.apply(ConfirmIdentity { node: node.clone(), key }).is_err());
    }
    let issue = IssueCertificate { node: node.clone(), key: digest(4), certificate };
    assert_eq!(world.apply(issue).unwrap_err().word(), "SeenDiffers");
    let enrolled = world.enrol_as(4, "04again", 4, None);
    assert!(!enrolled.admitted && enrolled.certificate.is_none(), "an old key alone admits nobody");
    assert_ne!(enrolled.node, node);
    assert!(
        enrolled.message.contains("this very key") && enrolled.message.contains("--replace"),
        "{}",
        enrolled.message
    );
}

#[test]
fn a_machine_with_a_key_that_the_backup_does_not_know_is_shown_as_such() {
    let mut world = World::busy();
    restore(&mut world);
    let enrolled = world.enrol_as(4, "04again", 44, None);
    assert!(enrolled.message.contains("another key"), "{}", enrolled.message);
}

impl World {
    /// The hardware of `machine` enrols under another id and with the key of that number.
    fn enrol_as(&mut self, machine: u8, id: &str, key: u8, token: Option<&str>) -> muster_state::command::Enrolled {
        let verb = muster_state::command::Enrol {
            candidate: id.into(),
            key: digest(key),
            csr: Bytes(vec![key]),
            sealing_key: Bytes(vec![key, 1]),
            ..enrol(machine, token.map(shown))
        };
        self.done(verb)
    }

    fn approve(&mut self, id: &NodeId, change: impl FnOnce(&mut ApproveNode)) -> Result<(), Refusal> {
        let seen = self.node(id);
        let mut approval = ApproveNode {
            node: id.clone(),
            key: seen.identity.key,
            facts_revision: seen.facts_revision,
            cluster: None,
            pool: None,
            name: None,
            replace: true,
        };
        change(&mut approval);
        self.apply(approval)
    }
}

#[test]
fn an_approved_machine_goes_on_where_it_was_and_joins_nothing_again() {
    let mut world = World::busy();
    world.settle();
    let before = world.node(&"01node".into()).clone();
    assert_eq!(before.phase, Phase::Ready);
    restore(&mut world);
    let waiting = world.node(&"01node".into());
    assert_eq!(waiting.phase, Phase::PendingApproval);
    assert!(world.state.custodian(&"c1".into()).is_none(), "nobody who has not proved himself acts for a cluster");
    let back = world.enrol_as(1, "01again", 101, None).node;
    world.approve(&back, |_| ()).expect("approved");
    let node = world.node(&back);
    assert_eq!(node.placement(), before.placement());
    assert_eq!((node.attempt, &node.steps, node.phase), (before.attempt, &before.steps, Phase::Ready));
    assert_eq!((node.identity.key, node.identity.generation), (digest(101), 1));
    assert!(node.identity.previous.contains(&digest(1)), "the key of before is not to be shown again");
    assert!(!world.state.nodes.contains_key(&"01node".into()));
    assert_eq!(world.state.custodian(&"c1".into()).map(|node| &node.id), Some(&back));
    world.settle();
}

#[test]
fn the_very_key_of_the_backup_may_come_back_too() {
    let mut world = World::busy();
    world.settle();
    restore(&mut world);
    let back = world.enrol_as(4, "04again", 4, None).node;
    world.approve(&back, |_| ()).expect("approved");
    assert_eq!(world.node(&back).phase, Phase::Ready);
    assert!(!world.node(&back).identity.previous.contains(&digest(4)));
}

#[test]
fn what_named_the_record_names_the_machine_that_came_back() {
    let mut world = World::busy();
    let holder = NodeId::from("02node");
    for node in ["01node", "02node"] {
        world.advance_to(&node.into(), if node == "01node" { Verb::WaitReady } else { Verb::JoinEtcd });
    }
    restore(&mut world);
    let holds = |world: &World, id: &NodeId| {
        let cluster = &world.state.clusters[&"c1".into()];
        cluster.permits.values().any(|permit| permit.holder.as_ref() == Some(id))
    };
    assert!(holds(&world, &holder));
    let back = world.enrol_as(2, "02again", 102, None).node;
    world.approve(&back, |_| ()).expect("approved");
    assert!(holds(&world, &back) && !holds(&world, &holder));
    let token = world.node(&back).bootstrap_token.clone().expect("its token");
    assert_eq!(world.state.bootstrap_tokens[&token].purpose, muster_state::record::Purpose::Node(back));
}

#[test]
fn a_control_plane_from_the_backup_is_not_given_away_under_another_name() {
    let mut world = World::busy();
    world.settle();
    restore(&mut world);
    let back = world.enrol_as(1, "01again", 101, None).node;
    let refused = world.approve(&back, |approval| approval.name = Some(name("cp9"))).unwrap_err();
    assert!(refused.to_string().contains("may hold an etcd member"), "{refused}");
    let refused = world.approve(&back, |approval| approval.replace = false).unwrap_err();
    assert_eq!(refused.word(), "DuplicateHardware");
}

#[test]
fn locks_and_denials_outlive_the_restore_and_the_queue_does_not() {
    let mut world = World::busy();
    world.settle();
    world.done(LockNode { node: "04node".into(), reason: "copied".into() });
    let denied = world.pending(9);
    world.done(DenyNode { node: denied, reason: "not ours".into() });
    assert!(world.state.nodes.contains_key(&"06node".into()));
    restore(&mut world);
    assert!(!world.state.nodes.contains_key(&"06node".into()), "a machine that waited comes again by itself");
    assert_eq!(world.enrol(9, None).unwrap_err(), Refusal::Denied("not ours".into()));
    let back = world.enrol_as(4, "04again", 104, None).node;
    assert_eq!(world.approve(&back, |_| ()).unwrap_err(), Refusal::Locked("copied".into()));
}

#[test]
fn a_machine_without_marks_is_recognised_by_the_name_of_its_token() {
    let mut world = World::new();
    world.token("t-cp1", "control", Some("cp1"), 1);
    let bare = |id: &str, key: u8, token: &str| muster_state::command::Enrol {
        candidate: id.into(),
        facts: Facts::default(),
        key: digest(key),
        ..enrol(1, Some(shown(token)))
    };
    assert!(world.done(bare("first", 1, "t-cp1")).admitted);
    restore(&mut world);
    world.token("t-new", "control", Some("cp1"), 1);
    let enrolled = world.done(bare("again", 51, "t-new"));
    assert!(!enrolled.admitted && enrolled.message.contains("same name"), "{}", enrolled.message);
    world.approve(&"again".into(), |_| ()).expect("approved");
    assert!(world.node(&"again".into()).placement().is_some_and(|place| place.name == name("cp1")));
}

#[test]
fn a_token_of_its_pool_suggests_the_name_that_the_machine_had() {
    let mut world = World::busy();
    let before = world.node(&"04node".into()).placement().cloned().expect("admitted");
    restore(&mut world);
    world.token("t-new", "workers", None, 1);
    let back = world.enrol_as(4, "04again", 104, Some("t-new")).node;
    let Standing::Pending { suggested: Some(to), .. } = &world.node(&back).standing else { panic!("it was let in") };
    assert_eq!(to.name.as_ref(), Some(&before.name));
}

#[test]
fn open_errands_and_stored_replies_are_of_the_old_fleet() {
    let state = samples::rich();
    assert!(state.errands.values().any(|errand| errand.state == ErrandState::Open));
    assert!(serde_json::to_value(&state).unwrap()["replies"].as_object().is_some_and(|replies| !replies.is_empty()));
    let restored = refound(state);
    assert!(restored.errands.values().all(|errand| errand.state != ErrandState::Open));
    assert_eq!(serde_json::to_value(&restored).unwrap()["replies"], serde_json::json!({}));
    let last = restored.events.iter().find(|event| event.reason == "FleetRestored").expect("it is told");
    assert!(last.warning && last.message.contains("fleet-2"));
    let mut world = World { now_ms: restored.now_ms, state: restored };
    let errand = OpenErrand { cluster: "c1".into(), kind: ErrandKind::UploadCertificates, custodian: "02node".into() };
    assert_eq!(world.apply(errand).unwrap_err().word(), "WrongPhase");
}

#[test]
fn servers_and_their_tokens_are_of_the_old_fleet_and_its_first_server_registers_itself() {
    let state = samples::rich();
    let last = state.last_server;
    assert!(!state.servers.is_empty() && !state.server_tokens.is_empty());
    let mut state = refound(state);
    assert!(state.servers.is_empty() && state.last_server == last);
    assert!(state.server_tokens.values().all(|token| !token.is_live(state.now_ms)));
    let stranger = world::record_server(2);
    assert!(state.apply_verb(state.now_ms, stranger).is_err());
    state.apply_verb(state.now_ms, world::record_server(1)).expect("it registers itself");
    assert_eq!(state.servers.keys().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn time_goes_on_from_the_later_of_backup_and_clock() {
    let late = Refounding { now_ms: START_MS + 3 * limits::STAMP_JUMP_MAX_MS, ..mk_refounding() };
    let reseal = |_: &SecretName, secret: &SealedSecret| Ok::<_, ()>(resealed(secret));
    let state = samples::rich().refound(late, reseal).unwrap();
    let now_ms = state.now_ms;
    let mut world = World { state, now_ms };
    world.done(muster_state::command::Sweep {});
    let early = Refounding { now_ms: 0, ..mk_refounding() };
    assert_eq!(samples::rich().refound(early, reseal).unwrap().now_ms, samples::rich().now_ms);
}

#[test]
fn a_backup_is_decided_in_the_log_and_told() {
    let mut world = World::new();
    let release = || ReleaseBackup { key: digest(4), caller: "spiffe://f/operator/a".into(), server: "s".into() };
    world.done(release());
    let event = world.state.events.back().expect("an event");
    assert!(event.reason == "BackupReleased" && event.warning && event.message.contains("operator/a"));
    assert_eq!(State::default().apply_verb(1, release()).unwrap_err().word(), "Fleet");
}
