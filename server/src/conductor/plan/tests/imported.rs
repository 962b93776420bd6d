//! Clusters that were brought in.

use muster_state::{
    TokenId,
    command::{MoveTokens, TokenStep},
    record::{Credentials, CsrApproval, Link, Origin},
};

use super::{World, sealed};

#[test]
fn a_cluster_that_was_brought_in_by_a_kubeconfig_is_joined_without_a_custodian() {
    for linked in [true, false] {
        let mut world = World::new("v1.36.2", 1, 1);
        let cluster = world.state.clusters.get_mut(&world.cluster).unwrap();
        // As one that was brought in: it is up, and nobody of Muster's is in it.
        (cluster.origin, cluster.initialised) = (Origin::Imported, true);
        cluster.spec.pools[0].certificates_direct = true;
        if linked {
            cluster.spec.link = Some(Link { csr_approval: CsrApproval::Muster });
            cluster.credentials =
                Some(Credentials { secret: sealed(), server: String::new(), user: String::new(), not_after_ms: None });
        }
        world.conduct();
        assert_eq!(world.minted, if linked { 2 } else { 0 });
        let ids: Vec<TokenId> = world.state.bootstrap_tokens.keys().cloned().collect();
        for to in [TokenStep::Offered, TokenStep::Present].into_iter().filter(|_| linked) {
            let verb = MoveTokens { cluster: world.cluster.clone(), tokens: ids.clone(), to };
            world.state.apply_verb(world.now_ms, verb).unwrap();
        }
        world.run(30);
        assert_eq!(world.all_ready(), linked, "{:?} {:?}", world.node("w0").phase, world.node("cp0").phase);
    }
}

#[test]
fn where_an_api_server_knows_no_policies_a_custodian_makes_the_secrets_of_a_linked_cluster() {
    for by_custodian in [false, true] {
        let mut world = World::new("v1.29.4", 1, 1);
        let spec = &mut world.state.clusters.get_mut(&world.cluster).unwrap().spec;
        (spec.link, spec.custodian_secrets) = (Some(Link { csr_approval: CsrApproval::Muster }), by_custodian);
        world.run(30);
        assert_eq!(world.all_ready(), by_custodian, "{:?}", world.node("w0").message);
    }
}
