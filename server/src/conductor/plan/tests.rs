//! The planner against the state, with machines that do what they are told: no clock, no I/O, every decision visible.

use std::collections::{BTreeMap, BTreeSet};

use muster_state::{
    Bytes, ClusterId, Digest, NodeId, Phase, Sealed, State, TokenId,
    command::{
        CompleteErrand, CreateCluster, CreateEnrolmentToken, Enrol, ErrandOutcome, MintBootstrapToken, RecordHello,
        Report, StepOutcome,
    },
    facts::{Facts, Preflight},
    record::{
        Admission, CaCertificate, ClusterSpec, ErrandKind, EtcdMember, NamedNode, Observation, Origin, PermitKind,
        Pool, Purpose, Role, SealedSecret, StepState, Verb,
    },
};

use super::{Planned, View, plan};

mod etcd;
mod imported;
mod requests;

fn sealed() -> SealedSecret {
    SealedSecret { revision: 1, sealed: Sealed { epoch: 1, format: 1, bytes: Bytes(vec![0; 40]) } }
}

fn mk_pool(name: &str, role: Role, nodes: &[String]) -> Pool {
    let named = |name: &String| NamedNode {
        name: name.clone().try_into().expect("a name"),
        address: String::new(),
        selector: Default::default(),
    };
    Pool {
        name: name.into(),
        role,
        count: 0,
        admission: Admission::Bound,
        selector: Default::default(),
        labels: BTreeMap::new(),
        nodes: nodes.iter().map(named).collect(),
        certificates_direct: false,
        discovery: "file".into(),
        taints: Vec::new(),
    }
}

/// A fleet whose machines obey.
struct World {
    state: State,
    cluster: ClusterId,
    now_ms: u64,
    minted: u32,
    attached: BTreeSet<NodeId>,
    /// Nodes whose next report of that step is a failure.
    fails: BTreeMap<(NodeId, &'static str), bool>,
    etcd: Vec<EtcdMember>,
    /// Of the cluster's API.
    requests: requests::Requests,
}

impl World {
    fn new(version: &str, control_planes: usize, workers: usize) -> Self {
        let cluster = ClusterId::from("c");
        let names = |prefix: &str, count| (0..count).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
        let (cps, ws) = (names("cp", control_planes), names("w", workers));
        let spec = ClusterSpec {
            name: "demo".into(),
            kubernetes_version: version.into(),
            endpoint: "192.0.2.10:6443".into(),
            pod_subnet: String::new(),
            service_subnet: String::new(),
            dns_domain: String::new(),
            key_algorithm: "ECDSA-P256".into(),
            pools: vec![mk_pool("cp", Role::ControlPlane, &cps), mk_pool("w", Role::Worker, &ws)],
            kubeadm: BTreeMap::new(),
            custodian_secrets: false,
            detached_approval: None,
            cluster_info_closed: false,
            link: None,
        };
        let mut world = Self {
            state: State::default(),
            cluster: cluster.clone(),
            now_ms: 1_000_000,
            minted: 0,
            attached: BTreeSet::new(),
            fails: BTreeMap::new(),
            etcd: Vec::new(),
            requests: requests::Requests::default(),
        };
        let ca = CaCertificate { name: "ca.crt".into(), pem: String::new(), pins: Vec::new(), not_after_ms: u64::MAX };
        let create = CreateCluster {
            id: cluster,
            spec,
            origin: Origin::Created,
            certificates: vec![ca],
            service_account_public: String::new(),
            keys: BTreeMap::new(),
            certificate_key: sealed(),
            first_token: Some((TokenId::from("first0"), sealed())),
            first_token_ttl_ms: 86_400_000,
            credentials: None,
            workers_only: String::new(),
        };
        world.state.apply_verb(world.now_ms, create).expect("a cluster");
        for name in cps.iter().chain(&ws) {
            world.enrol(name, version);
        }
        world
    }

    fn enrol(&mut self, name: &str, version: &str) {
        let token = TokenId(format!("t-{name}"));
        let byte = u8::try_from(self.state.nodes.len()).expect("few nodes") + 1;
        let create = CreateEnrolmentToken {
            id: token.clone(),
            sha256: Digest([byte; 32]),
            cluster: self.cluster.clone(),
            pool: String::new(),
            node_name: Some(name.to_owned().try_into().expect("a name")),
            selector: Default::default(),
            ttl_ms: 60_000,
            uses: 1,
        };
        self.state.apply_verb(self.now_ms, create).expect("a token");
        let facts = Facts { uuid: format!("u-{name}"), ..Facts::default() };
        let enrol = Enrol {
            candidate: NodeId(format!("id-{name}")),
            token: Some((token, Digest([byte; 32]))),
            key: Digest([byte; 32]),
            csr: Bytes(vec![1]),
            sealing_key: Bytes(vec![2]),
            facts: facts.clone(),
            from: "192.0.2.1".into(),
        };
        let node = self.state.apply_verb(self.now_ms, enrol).expect("enrolled").node;
        let preflight =
            Preflight { kubeadm_version: version.into(), kubelet_version: version.into(), ..Preflight::default() };
        let hello = RecordHello {
            node: node.clone(),
            boot_id: "b".into(),
            agent_version: "0".into(),
            facts,
            preflight,
            rehearsed: true,
            stream: None,
            key: None,
        };
        self.state.apply_verb(self.now_ms, hello).expect("hello");
        self.attached.insert(node);
    }

    fn node(&self, name: &str) -> &muster_state::record::Node {
        &self.state.nodes[&NodeId(format!("id-{name}"))]
    }

    /// Plans and proposes until nothing is planned any more.
    fn conduct(&mut self) {
        for _ in 0..100 {
            let planned = plan(View { state: &self.state, now_ms: self.now_ms, attached: &self.attached });
            if planned.is_empty() {
                return;
            }
            planned.into_iter().for_each(|planned| self.carry_out(planned));
        }
        panic!("the plan never ends");
    }

    fn carry_out(&mut self, planned: Planned) {
        let (state, now_ms) = (&mut self.state, self.now_ms);
        // Refusals are part of the game: the state moves on while a plan is carried out.
        let _ = match planned {
            Planned::Judge(verb) => state.apply_verb(now_ms, verb).map(|_| ()),
            Planned::Grant(verb) => state.apply_verb(now_ms, verb).map(|_| ()),
            Planned::DropLearner(verb) => state.apply_verb(now_ms, verb).map(|_| ()),
            Planned::Instruct(verb) => state.apply_verb(now_ms, verb).map(|_| ()),
            Planned::Retry(verb) => state.apply_verb(now_ms, verb).map(|_| ()),
            Planned::Errand(verb) => state.apply_verb(now_ms, verb).map(|_| ()),
            Planned::Sweep(verb) => state.apply_verb(now_ms, verb).map(|_| ()),
            Planned::Mint { cluster, node } => {
                self.minted += 1;
                let id = TokenId(format!("{:06}", self.minted));
                let verb = MintBootstrapToken {
                    id,
                    cluster,
                    purpose: Purpose::Node(node),
                    secret: sealed(),
                    ttl_ms: 3_600_000,
                };
                state.apply_verb(now_ms, verb).map(|_| ())
            }
        };
    }

    /// Every machine does its errands and its next open step.
    fn machines_act(&mut self) {
        let attached = self.attached.clone();
        for id in &attached {
            let errands: Vec<_> =
                self.state.open_errands(id).map(|errand| (errand.number, errand.kind.clone())).collect();
            for (number, kind) in errands {
                let outcome = self.outcome(kind);
                let verb = CompleteErrand { number, node: id.clone(), outcome };
                self.state.apply_verb(self.now_ms, verb).expect("an errand");
            }
            self.step(id);
        }
    }

    fn step(&mut self, id: &NodeId) {
        let Some(node) = self.state.nodes.get(id) else { return };
        let Some(step) = node.current_step().filter(|step| self.state.may_run(node, step.verb)) else { return };
        let (verb, attempt, name) = (step.verb, node.attempt, node.label());
        let (report, fails) = match self.fails.remove(&(id.clone(), verb.step_id())) {
            Some(clean) => {
                let (cause, message) = ("ApiServerUnreachable".into(), "no answer".into());
                (StepOutcome::Failed { cause, message, clean }, true)
            }
            None => (StepOutcome::Succeeded { members: None, observation: None }, false),
        };
        let joins_etcd = matches!(verb, Verb::Init | Verb::JoinEtcd | Verb::JoinWhole) && !fails;
        if joins_etcd {
            self.etcd.push(EtcdMember { id: name.clone(), name, peer_urls: Vec::new(), learner: false });
        }
        let report = match report {
            StepOutcome::Succeeded { .. } => StepOutcome::Succeeded {
                members: joins_etcd.then(|| self.etcd.clone()),
                observation: (verb == Verb::WaitReady).then(|| Observation {
                    found: true,
                    ready: true,
                    ..Observation::default()
                }),
            },
            other => other,
        };
        let (node, step) = (id.clone(), verb.step_id().to_owned());
        let verb = Report { node, attempt, step, outcome: report, elapsed_ms: 5 };
        self.state.apply_verb(self.now_ms, verb).expect("a report");
    }

    fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.now_ms += 1_000;
            self.conduct();
            self.check();
            self.machines_act();
            self.check();
        }
    }

    fn check(&self) {
        let joining = self.state.nodes.values().filter(|node| node.phase == Phase::JoiningEtcd).count();
        assert!(joining <= 1, "{joining} nodes join etcd at once");
        let inits =
            self.state.nodes.values().flat_map(|node| &node.steps).filter(|step| step.verb == Verb::Init).count();
        assert!(inits <= 1, "{inits} nodes were told to init");
    }

    fn all_ready(&self) -> bool {
        self.state.nodes.values().all(|node| node.phase == Phase::Ready)
    }
}

#[test]
fn a_fleet_becomes_ready_with_one_init_and_one_etcd_join_at_a_time() {
    let mut world = World::new("v1.36.2", 3, 8);
    world.run(30);
    assert!(world.all_ready(), "{:?}", world.state.nodes.values().map(|n| (n.label(), n.phase)).collect::<Vec<_>>());
    let permit = world.state.clusters[&world.cluster].permit(PermitKind::EtcdJoin);
    assert_eq!((permit.holder, permit.grants), (None, 2));
    // Every token that was made for a node is gone from the cluster.
    assert!(world.state.bootstrap_tokens.values().all(|token| {
        token.id.as_str() == "first0" || token.state == muster_state::record::BootstrapTokenState::Deleted
    }));
}

#[test]
fn an_old_minor_joins_whole_under_the_permit() {
    let mut world = World::new("v1.31.0", 3, 1);
    world.run(30);
    assert!(world.all_ready());
    assert_eq!(world.node("cp1").steps[0].verb, Verb::JoinWhole);
}

#[test]
fn init_moves_to_another_node_only_after_a_clean_failure() {
    let mut world = World::new("v1.36.2", 2, 0);
    world.fails.insert((NodeId::from("id-cp0"), "init"), true);
    world.run(30);
    assert!(world.all_ready());
    let cluster = &world.state.clusters[&world.cluster];
    assert_eq!(cluster.permit(PermitKind::Init).grants, 2);
}

#[test]
fn an_unclean_init_stays_where_it_is_until_an_operator_says_so() {
    let mut world = World::new("v1.36.2", 2, 1);
    world.fails.insert((NodeId::from("id-cp0"), "init"), false);
    world.run(30);
    assert_eq!(world.node("cp0").phase, Phase::Failed);
    assert_eq!(world.node("cp1").phase, Phase::WaitingForInit);
    let retry = muster_state::command::RetryNode { node: NodeId::from("id-cp0"), automatic: false };
    world.state.apply_verb(world.now_ms, retry).expect("a retry");
    world.run(30);
    assert!(world.all_ready());
    assert!(world.node("cp0").step("init").is_some(), "init stays with its first holder");
}

#[test]
fn a_failed_etcd_join_keeps_the_permit_until_etcd_shows_no_learner() {
    let mut world = World::new("v1.36.2", 3, 0);
    world.run(3);
    world.fails.insert((NodeId::from("id-cp1"), "etcd-join"), false);
    world.etcd.push(EtcdMember { id: "x".into(), name: String::new(), peer_urls: Vec::new(), learner: true });
    world.run(30);
    assert_eq!(world.node("cp1").phase, Phase::Failed);
    assert_eq!(world.node("cp2").phase, Phase::WaitingForEtcdPermit);
    world.etcd.retain(|member| !member.learner);
    world.run(30);
    assert_eq!(world.node("cp2").phase, Phase::Ready);
}

#[test]
fn a_worker_that_fails_cleanly_comes_back_with_a_fresh_token() {
    let mut world = World::new("v1.36.2", 1, 1);
    world.fails.insert((NodeId::from("id-w0"), "join"), true);
    world.run(30);
    assert!(world.all_ready());
    assert_eq!((world.node("w0").attempt, world.minted), (2, 2));
}

#[test]
fn without_an_attached_custodian_joins_wait() {
    let mut world = World::new("v1.36.2", 1, 1);
    world.run(4);
    world.attached.remove(&NodeId::from("id-cp0"));
    world.run(10);
    let waits = matches!(world.node("w0").phase, Phase::WaitingForCustodian | Phase::WaitingForInit);
    let joined_before = world.node("w0").steps.iter().any(|step| step.state == StepState::Done);
    assert!(waits || joined_before, "{:?}", world.node("w0").phase);
    world.attached.insert(NodeId::from("id-cp0"));
    world.run(20);
    assert!(world.all_ready());
}

#[test]
fn a_kubelet_newer_than_its_control_plane_is_held_back() {
    let mut world = World::new("v1.35.0", 1, 0);
    world.enrol_versioned("late", "v1.36.2");
    world.run(5);
    let late = world.node("late");
    assert_eq!(late.phase, Phase::Preflight);
    assert!(late.message.contains("1.36"), "{}", late.message);
}

impl World {
    fn enrol_versioned(&mut self, name: &str, version: &str) {
        let cluster = &self.state.clusters[&self.cluster];
        let mut spec = cluster.spec.clone();
        spec.pools.push(mk_pool("late", Role::Worker, &[name.to_owned()]));
        let update =
            muster_state::command::UpdateCluster { id: self.cluster.clone(), revision: cluster.revision, spec };
        self.state.apply_verb(self.now_ms, update).expect("an update");
        self.enrol(name, version);
    }
}

#[test]
fn a_failure_after_init_is_retried_in_place_and_nothing_is_initialised_again() {
    let mut world = World::new("v1.36.2", 1, 1);
    world.fails.insert((NodeId::from("id-cp0"), "custodian"), true);
    world.run(60);
    assert!(world.all_ready());
    assert_eq!(world.node("cp0").attempt, 2);
    assert_eq!(world.state.clusters[&world.cluster].permit(PermitKind::Init).grants, 1);
}

#[test]
fn nothing_is_planned_for_machines_that_have_not_proved_themselves_since_a_restore() {
    for rounds in 0..12 {
        let mut world = World::new("v1.36.2", 3, 2);
        world.fails.insert((NodeId::from("id-w0"), "join"), true);
        world.run(rounds);
        world.state.nodes.values_mut().for_each(|node| node.identity.generation = 0);
        world.now_ms += 3_600_000;
        let view = View { state: &world.state, now_ms: world.now_ms, attached: &world.attached };
        let planned = plan(view);
        let idle = |one: &Planned| matches!(one, Planned::Sweep(_) | Planned::Judge(_));
        assert!(planned.iter().all(idle), "after {rounds} rounds: {planned:?}");
    }
}
