//! Random histories: whatever is asked, in whatever order, equal history gives equal bytes and nothing that must hold
//! is broken (`world/invariants.rs` looks after every command).

use muster_state::{
    Bytes, ClusterId, Command, Digest, NodeId, Stamp, State, TokenId, Verb,
    command::{
        ApproveNode, ApproveServer, ChooseFirst, CompleteErrand, ConfirmIdentity, DenyNode, EndEpoch, ErrandOutcome,
        FreePermit, GrantPermit, Instruct, IssueCertificate, IssueServerCertificate, JudgePreflight, LockNode,
        MintBootstrapToken, OpenErrand, PromoteServer, RecordHello, RecordTokenMisuse, Release, RemoveNode,
        RemoveServer, RenewEnrolmentToken, RenewIdentity, ReplaceCertificateKey, ReplaceDataKeyCopies, Request,
        RetryNode, RevokeToken, StepOutcome, Sweep, UnlockNode, UpdateCluster,
    },
    record::{
        Admission, Certificate, ErrandKind, Node, PermitKind, Purpose, Role, ServerStanding, StepState,
        Verb as StepVerb,
    },
};
use proptest::{collection::vec, prelude::*, test_runner::Config};

use crate::world::{self, DAY_MS, HOUR_MS, World, friendly, invariants};

/// One random choice: what, and three numbers that pick from what there is.
#[derive(Clone, Copy, Debug)]
struct Choice {
    what: u8,
    picks: [u8; 3],
    skip_ms: i64,
    request: Option<u8>,
}

fn choice() -> impl Strategy<Value = Choice> {
    let skip_ms = prop_oneof![
        8 => 0..5_000_i64,
        2 => -DAY_MS.cast_signed()..0,
        1 => 0..HOUR_MS.cast_signed(),
        1 => 0..(40 * DAY_MS).cast_signed(),
    ];
    let request = prop_oneof![9 => Just(None), 1 => (0..4_u8).prop_map(Some)];
    (any::<u8>(), any::<[u8; 3]>(), skip_ms, request).prop_map(|(what, picks, skip_ms, request)| Choice {
        what,
        picks,
        skip_ms,
        request,
    })
}

fn choices(most: usize) -> impl Strategy<Value = Vec<Choice>> {
    vec(choice(), 1..most)
}

fn pick<T>(from: impl IntoIterator<Item = T>, by: u8) -> Option<T> {
    let mut all: Vec<T> = from.into_iter().collect();
    if all.is_empty() { None } else { Some(all.swap_remove(usize::from(by) % all.len())) }
}

fn node(state: &State, by: u8) -> NodeId {
    pick(state.nodes.keys().cloned(), by).unwrap_or_else(|| "nobody".into())
}

fn cluster(state: &State, by: u8) -> ClusterId {
    pick(state.clusters.keys().cloned(), by).unwrap_or_else(|| "nowhere".into())
}

/// The command that a choice means in a state.
fn command(state: &State, choice: Choice) -> Command {
    let verb = verb(state, choice.what % 58, choice.picks);
    let request = choice.request.map(|id| Request {
        caller: format!("spiffe://fleet/operator/{}", id % 2),
        id: format!("request-{id}"),
        digest: world::digest(choice.picks[2] % 2),
    });
    Command { request, verb }
}

fn verb(state: &State, what: u8, picks: [u8; 3]) -> Verb {
    match what {
        // Half of all choices take something forward, else no history would get far.
        0..24 | 54.. => pick(friendly::next(state), picks[0]).unwrap_or_else(|| Sweep {}.into()),
        24..32 => machines(state, what, picks),
        32..40 => operators(state, what, picks),
        40..48 => conductors(state, what, picks),
        48..54 => servers(state, what, picks),
    }
}

/// What is asked of Muster's own servers: by themselves, by operators, by the leader.
fn servers(state: &State, what: u8, [a, b, c]: [u8; 3]) -> Verb {
    let server = pick(state.servers.keys().copied(), a).unwrap_or(1);
    let known = state.servers.get(&server);
    let key = known.map_or(world::digest(b), |server| server.key);
    match what {
        48 | 49 if c % 4 == 0 => world::server_token(&format!("s{}", state.last_event)).into(),
        48 | 49 => {
            let token = pick(state.server_tokens.keys().map(ToString::to_string), b);
            let mut request = world::request_server(2 + a % 12, token.as_deref());
            request.sealing_key.0[0] ^= u8::from(c % 16 == 1);
            request.address = format!("10.0.1.{}:9446", c % 4);
            request.into()
        }
        50 => match c % 3 {
            0 => ApproveServer { server, fingerprint: if b % 8 == 0 { world::digest(b) } else { key } }.into(),
            1 => PromoteServer { server }.into(),
            _ => {
                let not_after_ms = state.now_ms + u64::from(b) * HOUR_MS;
                let certificate = Certificate { chain: vec![Bytes(vec![c])], not_after_ms };
                IssueServerCertificate { server, key, certificate }.into()
            }
        },
        51 => {
            let mut record = world::record_server(u8::try_from(server % 200).unwrap_or(1));
            record.generation = known.map_or(1, |server| server.generation) + u64::from(c % 3);
            record.generation = record.generation.saturating_sub(u64::from(c % 8 == 7));
            record.sealing_key.0[0] ^= u8::from(c % 16 == 5);
            record.key = if c % 16 == 6 { world::digest(b) } else { record.key };
            record.into()
        }
        52 if c % 2 == 0 => RemoveServer { server, force: b % 2 == 0, reason: String::new() }.into(),
        52 => {
            let mut epoch = world::servers::next_epoch(state);
            if b % 4 == 0 {
                epoch.keys.insert(server, Bytes(vec![2]));
            }
            epoch.into()
        }
        _ => match c % 6 {
            0 | 1 => world::servers::compare(server, u64::from(b % 16), c % 4).into(),
            2 => world::servers::reseal(state, b).into(),
            3 => EndEpoch {
                epoch: state.fleet.as_ref().map_or(1, |fleet| fleet.epoch).saturating_sub(1 + u32::from(b % 2)),
            }
            .into(),
            4 => {
                let keys = world::servers::hand_over(state, server).keys;
                ReplaceDataKeyCopies { server, keys }.into()
            }
            _ => world::servers::hand_over(state, server).into(),
        },
    }
}

fn machines(state: &State, what: u8, [a, b, c]: [u8; 3]) -> Verb {
    let id = node(state, a);
    let known = state.nodes.get(&id);
    let key = known.map_or(world::digest(b), |node| node.identity.key);
    match what {
        24..27 => {
            let token =
                pick(state.enrolment_tokens.keys(), b).map(|token| (token.clone(), world::shown(token.as_str()).1));
            let mut enrol = world::enrol(a % 12, token.filter(|_| c % 4 != 0));
            // Ids are minted anew for each request, and now and then one is not.
            if c % 16 != 2 {
                enrol.candidate = format!("{}-{}", enrol.candidate, state.last_event).as_str().into();
            }
            // Now and then the same hardware or id under another key.
            enrol.key = world::digest(a % 12 + 12 * u8::from(c % 8 == 1));
            enrol.facts.hostname = format!("host-{}", c % 2);
            enrol.into()
        }
        27 => {
            let shown = (c % 3 != 0).then(|| pick(keys(state), b).unwrap_or(key));
            RecordHello { key: shown, ..world::hello(&id, world::facts(c % 12)) }.into()
        }
        28 => ConfirmIdentity { node: id, key: pick(keys(state), b).unwrap_or(key) }.into(),
        29 => {
            let generation = known.map_or(1, |node| node.identity.generation) + u64::from(c % 8 == 0);
            let new_key = if c % 4 == 1 { pick(keys(state), b).unwrap_or(key) } else { world::digest(100 + b % 20) };
            RenewIdentity { node: id, key, generation, new_key, csr: Bytes(vec![b]) }.into()
        }
        30 => RecordTokenMisuse {
            token: pick(state.enrolment_tokens.keys().chain(state.server_tokens.keys()).cloned(), b)
                .unwrap_or_else(|| "none".into()),
            sha256: pick(state.enrolment_tokens.values().map(|token| token.sha256), b).unwrap_or(key),
            key,
            from: "192.0.2.9".into(),
        }
        .into(),
        _ => reported(known, b, c).unwrap_or_else(|| Sweep {}.into()),
    }
}

/// Some report of a node: on any of its steps, of this attempt or the one before, good or bad.
fn reported(node: Option<&Node>, b: u8, c: u8) -> Option<Verb> {
    let node = node?;
    let step = pick(&node.steps, b).map(|step| step.verb).or(Some(StepVerb::JoinEtcd))?;
    let outcome = match c % 6 {
        0 => StepOutcome::Running { phase: "etcd-join".into(), observation: None },
        1 | 2 => friendly::failure("ApiServerUnreachable", c % 6 == 1),
        3 => StepOutcome::Succeeded { members: None, observation: None },
        4 => StepOutcome::Succeeded { members: Some(vec![friendly::member("other", true)]), observation: None },
        _ => friendly::failure("PinMismatch", true),
    };
    let mut report = friendly::report(node, step, outcome);
    report.attempt = report.attempt.saturating_sub(u32::from(c % 16 == 7));
    Some(report.into())
}

fn keys(state: &State) -> impl Iterator<Item = Digest> {
    state.nodes.values().flat_map(|node| {
        let identity = &node.identity;
        let next = identity.next.as_ref().map(|next| next.key);
        [identity.key].into_iter().chain(next).chain(identity.previous.iter().copied())
    })
}

fn operators(state: &State, what: u8, [a, b, c]: [u8; 3]) -> Verb {
    let id = node(state, a);
    let pools = ["control", "workers", "queue"];
    match what {
        32 => {
            let names = ["cp1", "cp2", "cp3", "w-listed", "w2"];
            let name = (c % 3 != 0).then(|| names[usize::from(b) % names.len()]);
            let uses = if name.is_some() { 1 } else { u32::from(c % 3) };
            let cluster = cluster(state, a);
            world::token(&format!("t{}", state.last_event), cluster.as_str(), pools[usize::from(b) % 3], name, uses)
                .into()
        }
        33 | 34 => {
            let seen = state.nodes.get(&id);
            ApproveNode {
                node: id,
                key: seen.map_or(world::digest(a), |node| node.identity.key),
                facts_revision: seen.map_or(1, |node| node.facts_revision) + u64::from(c % 8 == 0),
                cluster: (b % 2 == 0).then(|| cluster(state, b)),
                pool: Some(pools[usize::from(c) % 3].into()),
                name: (b % 5 == 0).then(|| world::name("cp1")),
                replace: c % 2 == 0,
            }
            .into()
        }
        35 => match c % 4 {
            0 => DenyNode { node: id, reason: String::new() }.into(),
            1 => LockNode { node: id, reason: "looked at".into() }.into(),
            2 => UnlockNode { node: id }.into(),
            _ => RetryNode { node: id, automatic: b % 2 == 0 }.into(),
        },
        36 if c % 3 == 0 => RemoveNode { node: id, reason: String::new() }.into(),
        36 => ChooseFirst { cluster: cluster(state, b), name: Some(world::name("cp2")) }.into(),
        37 => {
            let all = state.enrolment_tokens.keys().chain(state.bootstrap_tokens.keys());
            let all = all.chain(state.server_tokens.keys());
            let token: TokenId = pick(all.cloned(), b).unwrap_or_else(|| "none".into());
            if c % 2 == 0 {
                RevokeToken { id: token }.into()
            } else {
                RenewEnrolmentToken { id: token, ttl_ms: DAY_MS }.into()
            }
        }
        38 if state.clusters.len() < 3 => world::create(&format!("c{}", state.clusters.len() + 1)).into(),
        _ => {
            let id = cluster(state, a);
            let mut spec = state.clusters.get(&id).map_or_else(|| world::spec("x"), |cluster| cluster.spec.clone());
            spec.kubernetes_version = format!("v1.36.{}", b % 3);
            if let Some(pool) = spec.pools.get_mut(2) {
                pool.admission = if c % 2 == 0 { Admission::Approve } else { Admission::Token };
                pool.role = if c % 16 == 15 { Role::ControlPlane } else { Role::Worker };
            }
            let revision = state.clusters.get(&id).map_or(1, |cluster| cluster.revision) - u64::from(c % 8 == 7);
            UpdateCluster { id, revision, spec }.into()
        }
    }
}

fn conductors(state: &State, what: u8, [a, b, c]: [u8; 3]) -> Verb {
    let id = node(state, a);
    let cluster = cluster(state, b);
    let known = state.nodes.get(&id);
    let kind = if c % 2 == 0 { PermitKind::Init } else { PermitKind::EtcdJoin };
    match what {
        40 => GrantPermit { cluster, kind, node: id }.into(),
        41 => {
            let steps = match c % 3 {
                0 => vec![StepVerb::Init, StepVerb::Custodian, StepVerb::WaitReady],
                1 => vec![StepVerb::JoinWhole, StepVerb::WaitReady],
                _ => vec![StepVerb::JoinWorker, StepVerb::WaitReady],
            };
            Instruct { node: id, steps, token: pick(state.bootstrap_tokens.keys().cloned(), b) }.into()
        }
        42 => {
            let purpose = if c % 4 == 0 { Purpose::JoinCommand(Role::Worker) } else { Purpose::Node(id) };
            let token = TokenId(format!("m{}", state.last_event));
            MintBootstrapToken { id: token, cluster, purpose, secret: world::secret(b), ttl_ms: HOUR_MS }.into()
        }
        43 => {
            let token = pick(state.bootstrap_tokens.keys().cloned(), b).into_iter().collect();
            let kind = match c % 4 {
                0 => ErrandKind::ApplyTokens(token),
                1 => ErrandKind::DeleteTokens(token),
                2 => ErrandKind::UploadCertificates,
                _ => ErrandKind::ListEtcdMembers(node(state, b)),
            };
            OpenErrand { cluster, kind, custodian: id }.into()
        }
        44 => {
            let errand = pick(state.errands.values(), b);
            let outcome = match c % 4 {
                0 => ErrandOutcome::Failed("kubectl: connection refused".into()),
                1 => ErrandOutcome::Done(None),
                2 => ErrandOutcome::Done(Some(vec![friendly::member("x", true)])),
                _ => ErrandOutcome::Done(Some(Vec::new())),
            };
            let custodian = errand.map_or(id, |errand| errand.custodian.clone());
            CompleteErrand { number: errand.map_or(0, |errand| errand.number), node: custodian, outcome }.into()
        }
        45 => {
            let step = known.and_then(|node| pick(&node.steps, b)).map_or("errand-1", |step| step.verb.step_id());
            let (attempt, key) = known.map_or((0, world::digest(a)), |node| (node.attempt, node.identity.key));
            Release { node: id, attempt, step: step.into(), key, caller: "spiffe://fleet/server/1".into() }.into()
        }
        46 => match c % 4 {
            3 => world::bring(state, cluster, b),
            0 => ReplaceCertificateKey { cluster, certificate_key: world::secret(c) }.into(),
            1 => {
                JudgePreflight { node: id, revision: known.map_or(1, |n| n.preflight_revision), problem: "skew".into() }
                    .into()
            }
            _ => {
                let holder = state.clusters.get(&cluster).and_then(|record| record.permit(kind).holder);
                FreePermit { cluster, kind, holder: holder.unwrap_or(id), reason: String::new() }.into()
            }
        },
        _ => {
            let certificate =
                Certificate { chain: vec![Bytes(vec![c])], not_after_ms: state.now_ms + u64::from(c) * HOUR_MS };
            IssueCertificate { node: id, key: pick(keys(state), b).unwrap_or(world::digest(a)), certificate }.into()
        }
    }
}

/// Plays choices on a world, watched, and gives the history that came of it.
fn play(world: &mut World, choices: &[Choice]) -> Vec<(Stamp, Command)> {
    let mut history = Vec::new();
    for choice in choices {
        world.now_ms = world.state.now_ms.saturating_add_signed(choice.skip_ms);
        let (stamp, command) = (Stamp { now_ms: world.now_ms }, command(&world.state, *choice));
        history.push((stamp, command.clone()));
        world.command(command);
    }
    history
}

fn bytes(state: &State) -> Vec<u8> {
    state.to_snapshot().expect("a state has a snapshot")
}

#[expect(clippy::disallowed_methods, reason = "longer runs at night")]
fn config(cases: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    Config { cases, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn equal_history_gives_equal_bytes_and_a_snapshot_at_any_point_changes_nothing(
        choices in choices(160),
        at in any::<prop::sample::Index>(),
    ) {
        let mut world = World::busy();
        let mut again = world.state.clone();
        let history = play(&mut world, &choices);
        let at = at.index(history.len());
        for (number, (stamp, command)) in history.into_iter().enumerate() {
            if number == at {
                let kept = bytes(&again);
                let restored = State::from_snapshot(&kept).expect("a snapshot is read");
                // What is not stored but follows from what is must come out alike.
                prop_assert_eq!(&restored, &again);
                again = restored;
                prop_assert_eq!(&bytes(&again), &kept);
            }
            again.apply(stamp, command);
        }
        prop_assert_eq!(bytes(&world.state), bytes(&again));
    }

    #[test]
    fn whatever_happened_the_fleet_goes_on_when_everybody_does_what_is_next(choices in choices(120)) {
        let mut world = World::busy();
        play(&mut world, &choices);
        world.now_ms = world.state.now_ms + HOUR_MS;
        world.settle();
        for cluster in world.state.clusters.values() {
            let helped = world.state.custodian(&cluster.id).is_some();
            for node in world.state.nodes_of(&cluster.id) {
                let control_plane = node.placement().is_some_and(|place| place.role == Role::ControlPlane);
                let begun = !node.steps.is_empty();
                let can_go_on = if cluster.initialised { helped || begun } else { control_plane };
                prop_assert!(!can_go_on || node.has_joined(), "{} rests at {}: {}", node.id, node.phase, node.message);
                prop_assert!(node.steps.iter().all(|step| !can_go_on || step.state == StepState::Done));
            }
        }
        // The leader's work on the servers came to its end too.
        prop_assert!(!world.state.is_epoch_due());
        for server in world.state.servers_that_are(ServerStanding::Voter) {
            prop_assert!(world.state.holds_data_keys(server.id), "server {} votes and can open nothing", server.id);
        }
        invariants::check(&world.state);
    }
}
