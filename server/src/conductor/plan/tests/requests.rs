//! Certificate requests of a detached cluster: kubelets ask, custodians look and answer.

use std::collections::BTreeMap;

use muster_state::{
    Digest, NodeName,
    csr::{CLIENT_SIGNER, CsrClaim, CsrContent},
    record::{CsrApproval, RequestsSeen, SeenRequest, Verb, Verdict},
};

use super::*;

/// Requests of the cluster by name, and what became of each.
#[derive(Default)]
pub(super) struct Requests {
    pending: BTreeMap<String, CsrClaim>,
    pub(super) concluded: Vec<Verdict>,
    pub(super) looks: u32,
    /// So many looks fail.
    fails: u32,
}

impl Requests {
    pub(super) fn seen(&mut self, passed_over: &[String], nodes: Vec<NodeName>) -> RequestsSeen {
        self.looks += 1;
        let (known, new): (Vec<_>, Vec<_>) = self.pending.iter().partition(|(name, _)| passed_over.contains(name));
        let request = |(name, claim): (&String, &CsrClaim)| SeenRequest {
            uid: name.clone(),
            name: name.clone(),
            version: "1".into(),
            digest: Digest([1; 32]),
            claim: claim.clone(),
        };
        RequestsSeen {
            requests: new.into_iter().map(request).collect(),
            passed_over: known.into_iter().map(|(name, _)| name.clone()).collect(),
            nodes: nodes.into_iter().map(|name| (name, false)).collect(),
            more: false,
        }
    }

    pub(super) fn conclude(&mut self, verdicts: Vec<Verdict>) {
        self.pending.retain(|name, _| verdicts.iter().all(|verdict| verdict.name != *name));
        self.concluded.extend(verdicts);
    }
}

impl World {
    /// What a custodian reports of an errand.
    pub(super) fn outcome(&mut self, kind: ErrandKind) -> ErrandOutcome {
        match kind {
            ErrandKind::ListEtcdMembers(_) => ErrandOutcome::Done(Some(self.etcd.clone())),
            ErrandKind::ObserveRequests { .. } if self.requests.fails > 0 => {
                self.requests.fails -= 1;
                ErrandOutcome::Failed("connection refused".into())
            }
            ErrandKind::ObserveRequests { passed_over, nodes } => {
                ErrandOutcome::Requests(self.requests.seen(&passed_over, nodes))
            }
            ErrandKind::ConcludeRequests(verdicts) => {
                self.requests.conclude(verdicts);
                ErrandOutcome::Done(None)
            }
            _ => ErrandOutcome::Done(None),
        }
    }
}

fn mk_world(workers: usize) -> World {
    mk_approving(CsrApproval::Muster, workers)
}

fn mk_approving(csr_approval: CsrApproval, workers: usize) -> World {
    let mut world = World::new("v1.36.2", 1, workers);
    world.state.clusters.get_mut(&world.cluster).unwrap().spec.detached_approval = Some(csr_approval);
    world
}

/// What the kubelet of a joining worker asks for.
fn ask(world: &mut World, name: &str) {
    let token = world.node(name).bootstrap_token.clone().expect("a token");
    ask_with(world, name, &token);
}

fn ask_with(world: &mut World, name: &str, token: &TokenId) {
    let group = "system:bootstrappers:muster:demo:worker";
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let content = CsrContent {
        common_names: vec![format!("system:node:{name}")],
        organizations: vec!["system:nodes".into()],
        ..CsrContent::default()
    };
    let claim = CsrClaim {
        signer: CLIENT_SIGNER.into(),
        user: format!("system:bootstrap:{token}"),
        groups: texts(&["system:bootstrappers", group, "system:authenticated"]),
        usages: texts(&["digital signature", "client auth"]),
        content: Some(content),
        node_is_ready: false,
    };
    world.requests.pending.insert(format!("csr-{name}"), claim);
}

/// Time goes on, and custodians do their errands; workers do nothing.
fn pass(world: &mut World, seconds: usize) {
    let workers: Vec<_> = world.attached.iter().filter(|id| id.as_str().starts_with("id-w")).cloned().collect();
    let busy: Vec<_> = workers
        .iter()
        .filter(|id| world.state.nodes[*id].current_step().is_some_and(|step| step.verb == Verb::JoinWorker))
        .cloned()
        .collect();
    for _ in 0..seconds {
        world.now_ms += 1_000;
        world.conduct();
        let attached = world.attached.clone();
        // They stay attached; only their steps wait.
        world.attached.retain(|id| !busy.contains(id));
        world.machines_act();
        world.attached = attached;
    }
}

/// Until that worker runs its join.
fn until_joining(world: &mut World, name: &str) {
    for _ in 0..60 {
        world.now_ms += 1_000;
        world.conduct();
        let (node, attempt) = (world.node(name).id.clone(), world.node(name).attempt);
        if world.node(name).current_step().is_some_and(|step| step.verb == Verb::JoinWorker) {
            let step = Verb::JoinWorker.step_id().to_owned();
            let outcome = StepOutcome::Running { phase: "kubelet-start".into(), observation: None };
            world.state.apply_verb(world.now_ms, Report { node, attempt, step, outcome, elapsed_ms: 5 }).unwrap();
            return;
        }
        world.machines_act();
    }
    panic!("{name} does not begin to join");
}

#[test]
fn a_custodian_answers_within_seconds_while_nodes_join_and_looks_seldom_when_none_does() {
    let mut world = mk_world(2);
    until_joining(&mut world, "w0");
    until_joining(&mut world, "w1");
    ask(&mut world, "w0");
    pass(&mut world, 5);
    let concluded: Vec<_> = world.requests.concluded.iter().map(|it| (it.name.as_str(), it.approve)).collect();
    assert_eq!(concluded, [("csr-w0", true)]);
    world.run(180);
    assert!(world.all_ready());
    let before = world.requests.looks;
    world.run(600);
    assert!((5..=6).contains(&(world.requests.looks - before)), "{}", world.requests.looks - before);
}

#[test]
fn a_request_that_is_none_of_ours_does_not_make_the_plan_turn_in_circles() {
    let mut world = mk_world(0);
    world.run(180);
    let foreign = CsrClaim {
        signer: CLIENT_SIGNER.into(),
        user: "system:bootstrap:foreig".into(),
        groups: Default::default(),
        usages: Default::default(),
        content: None,
        node_is_ready: false,
    };
    world.requests.pending.insert("csr-foreign".into(), foreign);
    let before = world.requests.looks;
    world.run(600);
    assert!(world.requests.looks - before <= 6 && world.requests.concluded.is_empty());
}

#[test]
fn a_cluster_that_approves_by_itself_is_never_looked_at() {
    let mut world = World::new("v1.36.2", 1, 1);
    world.run(300);
    assert!(world.all_ready());
    assert_eq!(world.requests.looks, 0);
}

fn concluded(world: &World) -> Vec<(&str, bool)> {
    world.requests.concluded.iter().map(|it| (it.name.as_str(), it.approve)).collect()
}

#[test]
fn what_a_strict_cluster_holds_is_approved_when_its_token_is_forgotten_and_not_before() {
    let mut world = mk_approving(CsrApproval::Strict, 1);
    until_joining(&mut world, "w0");
    let (node, attempt) = (world.node("w0").id.clone(), world.node("w0").attempt);
    let outcome = StepOutcome::Running { phase: "kubelet-start".into(), observation: None };
    let report = Report { node, attempt, step: "join".into(), outcome, elapsed_ms: 1 };
    world.state.apply_verb(world.now_ms, report).unwrap();
    ask(&mut world, "w0");
    pass(&mut world, 15);
    assert_eq!(concluded(&world), []);
    pass(&mut world, 12);
    assert_eq!(concluded(&world), [("csr-w0", true)]);
}

#[test]
fn a_held_request_of_a_printed_line_is_looked_at_as_often_although_its_token_is_gone() {
    let mut world = mk_approving(CsrApproval::Strict, 0);
    world.run(30);
    let purpose = Purpose::NamedJoinCommand(Role::Worker, "w9".to_owned().try_into().unwrap());
    let (id, cluster) = (TokenId::from("line00"), world.cluster.clone());
    let mint = MintBootstrapToken { id: id.clone(), cluster, purpose, secret: sealed(), ttl_ms: 3_600_000 };
    world.state.apply_verb(world.now_ms, mint).unwrap();
    world.run(5);
    ask_with(&mut world, "w9", &id);
    let before = world.requests.looks;
    pass(&mut world, 35);
    assert_eq!(concluded(&world), [("csr-w9", true)]);
    assert!((5..=15).contains(&(world.requests.looks - before)), "{}", world.requests.looks - before);
}

/// Time passes without commands: nothing else happens that could say how late it is.
#[test]
fn a_look_that_failed_is_taken_again_where_nothing_else_happens() {
    let mut world = mk_world(0);
    world.run(300);
    world.requests.fails = 1;
    let before = world.requests.looks;
    world.run(600);
    assert!(world.requests.fails == 0 && world.requests.looks - before >= 3, "{}", world.requests.looks - before);
}
