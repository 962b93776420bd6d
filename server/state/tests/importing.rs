//! Clusters that exist already: what links them, what may be added to them, and how their credentials change.

use std::collections::BTreeMap;

use muster_state::{
    ClusterId,
    command::{CreateCluster, SetCredentials, UpdateCluster},
    limits,
    record::{ClusterSpec, Credentials, CsrApproval, Link, Origin},
};

use crate::world::{self, World};

fn id() -> ClusterId {
    "c7".into()
}

#[track_caller]
fn refused(world: &mut World, create: CreateCluster) -> String {
    world.apply(create).unwrap_err().to_string()
}

#[test]
fn a_cluster_that_is_brought_in_is_linked_by_a_kubeconfig_and_no_other_is() {
    let mut world = World::new();
    let without = CreateCluster { credentials: None, ..world::brought("c7") };
    assert!(refused(&mut world, without).contains("by a kubeconfig"));
    let detached = ClusterSpec { link: None, ..world::brought("c7").spec };
    let detached = CreateCluster { spec: detached, ..world::brought("c7") };
    assert!(refused(&mut world, detached).contains("only a cluster that is brought in"));
    let made = CreateCluster { origin: Origin::Created, ..world::brought("c7") };
    assert!(refused(&mut world, made).contains("only a cluster that is brought in"));
    world.done(world::brought("c7"));
    let cluster = &world.state.clusters[&id()];
    assert!(cluster.initialised && cluster.is_linked_from_outside());
    assert!(!world.state.clusters[&"c1".into()].is_linked_from_outside());
}

#[test]
fn where_only_workers_can_be_added_no_pool_of_control_planes_is_taken_then_or_later() {
    let mut world = World::new();
    let workers_only = "its keys are not here";
    let with = CreateCluster {
        workers_only: workers_only.into(),
        spec: ClusterSpec { pools: world::spec("c7").pools, ..world::brought("c7").spec },
        ..world::brought("c7")
    };
    let said = refused(&mut world, with);
    assert!(said.contains("only workers can be added: its keys are not here"), "{said}");
    let brought = CreateCluster { workers_only: workers_only.into(), ..world::brought("c7") };
    let spec = ClusterSpec { pools: world::spec("c7").pools, ..brought.spec.clone() };
    world.done(brought);
    let update = UpdateCluster { id: id(), revision: 1, spec };
    assert!(world.apply(update).unwrap_err().to_string().contains("only workers can be added"));
}

#[test]
fn credentials_are_replaced_one_after_the_other() {
    let mut world = World::new();
    world.done(world::brought("c7"));
    let set = |revision| SetCredentials { cluster: id(), credentials: world::credentials(revision) };
    assert_eq!(world.apply(set(1)).unwrap_err().word(), "Changed");
    assert_eq!(world.apply(set(3)).unwrap_err().word(), "Changed");
    world.done(set(2));
    assert_eq!(world.apply(set(2)).unwrap_err().word(), "Changed", "the same again, by somebody else");
    assert_eq!(world.state.clusters[&id()].credentials, Some(world::credentials(2)));
    let cluster = "c1".into();
    let refused = world.apply(SetCredentials { cluster, credentials: world::credentials(1) }).unwrap_err();
    assert!(refused.to_string().contains("Muster made this cluster"), "{refused}");
    let mut long = world::credentials(3);
    long.secret.sealed.bytes.0 = vec![0; limits::CREDENTIALS_MAX + 1];
    assert!(world.apply(SetCredentials { cluster: id(), credentials: long }).is_err());
    let mut gone = world::credentials(3);
    gone.secret.sealed.epoch = 9;
    assert_eq!(world.apply(SetCredentials { cluster: id(), credentials: gone }).unwrap_err().word(), "Epoch");
    let server = "x".repeat(limits::CLAIM_MAX + 1);
    let named = Credentials { server, ..world::credentials(3) };
    assert!(world.apply(SetCredentials { cluster: id(), credentials: named }).is_err());
}

#[test]
fn a_detached_cluster_that_was_brought_in_is_linked_by_its_first_credentials() {
    let mut world = World::new();
    let spec = ClusterSpec { link: None, ..world::brought("c7").spec };
    world.done(CreateCluster { spec, credentials: None, keys: BTreeMap::new(), ..world::brought("c7") });
    assert!(!world.state.clusters[&id()].is_linked_from_outside());
    world.done(SetCredentials { cluster: id(), credentials: world::credentials(1) });
    let cluster = &world.state.clusters[&id()];
    assert_eq!((cluster.spec.link, cluster.revision), (Some(Link { csr_approval: CsrApproval::Muster }), 2));
}
