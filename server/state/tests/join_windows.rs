//! Join windows: when `kubeadm-certs` is wanted, when its key may change, and what else must be so before a node is told to join.

use std::collections::BTreeMap;

use muster_state::{
    Phase, State,
    command::{
        CertificatesStep, ExtendJoinWindow, Instruct, MoveCertificates, ObserveNodes, RecordLink,
        ReplaceCertificateKey, UpdateCluster,
    },
    record::{ApiNode, ClusterSpec, LinkCondition, Verb},
};

use crate::world::{self, HOUR_MS, World};

fn is_open(world: &World) -> bool {
    world.state.is_join_window_open(&"c1".into(), world.now_ms)
}

fn uploaded_ms(state: &State) -> u64 {
    state.clusters[&"c1".into()].certificates_uploaded_ms
}

fn moved(to: CertificatesStep) -> MoveCertificates {
    MoveCertificates { cluster: "c1".into(), to }
}

fn replace() -> ReplaceCertificateKey {
    ReplaceCertificateKey { cluster: "c1".into(), certificate_key: world::secret(9) }
}

/// A linked cluster whose first control plane has joined.
fn mk_linked() -> World {
    let mut world = World::linked();
    let first = world.control_plane(1, "cp1");
    world.advance_to(&first, Verb::WaitReady);
    world
}

#[test]
fn a_window_is_open_while_a_control_plane_joins_and_its_key_stays_until_then() {
    let mut world = mk_linked();
    assert!(!is_open(&world), "the first one reads nothing, and kubeadm has uploaded nothing");
    assert_eq!(uploaded_ms(&world.state), 0);
    let second = world.control_plane(2, "cp2");
    world.advance_to(&second, Verb::JoinEtcd);
    assert!(is_open(&world));
    world.done(moved(CertificatesStep::Uploaded));
    assert_eq!(uploaded_ms(&world.state), world.state.now_ms);
    assert!(world.apply(replace()).is_err(), "it would leave a control plane that joins with the wrong key");
    world.advance_to(&second, Verb::WaitReady);
    assert!(!is_open(&world));
    world.done(replace());
    let cluster = &world.state.clusters[&"c1".into()];
    assert!(
        cluster.certificates_ending
            && cluster.certificates_uploaded_ms == 0
            && cluster.certificate_key == world::secret(9)
    );
    world.done(moved(CertificatesStep::Removed));
    assert!(!world.state.clusters[&"c1".into()].certificates_ending);
}

#[test]
fn workers_and_control_planes_that_get_their_files_directly_open_no_window() {
    let mut world = mk_linked();
    let worker = world.worker(3);
    world.advance_to(&worker, Verb::JoinWorker);
    assert!(!is_open(&world));
    world.state.clusters.get_mut(&"c1".into()).unwrap().spec.pools[0].certificates_direct = true;
    let direct = world.control_plane(2, "cp2");
    world.advance_to(&direct, Verb::JoinEtcd);
    assert!(!is_open(&world));
}

#[test]
fn a_promise_keeps_the_window_open_and_is_never_shortened() {
    let mut world = mk_linked();
    world.done(ExtendJoinWindow { cluster: "c1".into(), ttl_ms: HOUR_MS });
    world.done(ExtendJoinWindow { cluster: "c1".into(), ttl_ms: 1 });
    assert!(is_open(&world) && world.apply(replace()).is_err());
    world.now_ms += HOUR_MS;
    assert!(!is_open(&world));
    world.done(replace());
    assert!(!world.state.clusters[&"c1".into()].certificates_ending, "nothing was uploaded");
}

#[test]
fn a_node_whose_name_a_ready_node_has_is_not_told_to_join_until_that_is_gone() {
    let mut world = mk_linked();
    let id = world.worker(3);
    let node = world.node(&id).placement().unwrap().name.clone();
    let see = |world: &mut World, ready: Option<bool>| {
        let seen = ready.map(|ready| ApiNode {
            uid: "u".into(),
            ready,
            message: String::new(),
            kubelet_version: String::new(),
        });
        world.done(ObserveNodes { cluster: "c1".into(), nodes: BTreeMap::from([(node.clone(), seen)]) });
    };
    // As if it had not been told yet: its token is in the cluster.
    world.advance_to(&id, Verb::JoinWorker);
    world.state.nodes.get_mut(&id).unwrap().steps.clear();
    see(&mut world, Some(true));
    let seen = world.node(&id);
    assert!(seen.phase == Phase::Preflight && seen.message.contains("name is taken"), "{}", seen.message);
    let token = seen.bootstrap_token.clone();
    let instruct = Instruct { node: id.clone(), steps: vec![Verb::JoinWorker, Verb::WaitReady], token };
    assert!(world.apply(instruct.clone()).unwrap_err().to_string().contains("Ready Node"));
    see(&mut world, Some(false));
    world.done(instruct);
}

#[test]
fn cluster_info_is_closed_on_request_and_what_needs_it_is_refused() {
    let mut world = World::linked();
    let link = world.state.clusters[&"c1".into()].spec.link;
    let revision = world.state.clusters[&"c1".into()].revision;
    let closed = ClusterSpec { link, cluster_info_closed: true, ..world::spec("c1") };
    let mut by_token = closed.clone();
    by_token.pools[1].discovery = "token".into();
    assert!(world.apply(UpdateCluster { id: "c1".into(), revision, spec: by_token }).is_err());
    world.done(UpdateCluster { id: "c1".into(), revision, spec: closed });
    let first = world.control_plane(1, "cp1");
    world.advance_to(&first, Verb::WaitReady);
    let token = &world.state.bootstrap_tokens[&"first-c1".into()];
    assert!(!token.is_live(world.now_ms), "nobody could discover the cluster with it");
    let open = ClusterSpec { link, ..world::spec("c1") };
    assert!(world.apply(UpdateCluster { id: "c1".into(), revision: revision + 1, spec: open }).is_err());
    let told = |world: &mut World, public| {
        let (condition, message) = (LinkCondition::Connected, String::new());
        world.done(RecordLink { cluster: "c1".into(), condition, message, cluster_info_public: public });
        world.state.clusters[&"c1".into()].link.as_ref().unwrap().cluster_info_public
    };
    assert_eq!([told(&mut world, Some(true)), told(&mut world, None)], [Some(true); 2]);
    assert_eq!(told(&mut world, Some(false)), Some(false));
}
