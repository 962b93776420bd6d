//! Certificate requests of kubelets that have joined: renewals, and what their own servers show.

use muster_state::{
    command::LockNode,
    csr::{CLIENT_SIGNER, CsrClaim, CsrContent, CsrDecision, SERVING_SIGNER},
};

use crate::{
    linking::{ask, attacks, is_denied, mk_joining, node_name, set},
    world::name,
};

/// The cluster's own approver of renewals is taken away with the one of first requests.
#[test]
fn a_kubelet_renews_its_certificate_for_its_own_name_and_nothing_else() {
    let (mut world, id, _) = mk_joining();
    let own = node_name(&world, &id);
    let claim = |user: &str, subject: &str| CsrClaim {
        signer: CLIENT_SIGNER.into(),
        user: format!("system:node:{user}"),
        groups: set(&["system:nodes", "system:authenticated"]),
        usages: set(&["digital signature", "client auth"]),
        content: Some(CsrContent {
            common_names: vec![format!("system:node:{subject}")],
            organizations: vec!["system:nodes".into()],
            ..CsrContent::default()
        }),
        node_is_ready: false,
    };
    assert_eq!(ask(&mut world, "r1", &claim(&own, &own)), CsrDecision::Approve);
    assert_eq!(
        ask(&mut world, "r2", &claim("by-a-line", "by-a-line")),
        CsrDecision::Approve,
        "it gets no more than it has"
    );
    for (user, subject) in [(own.as_str(), "cp1"), ("cp1", own.as_str()), (own.as_str(), "by-a-line")] {
        assert!(is_denied(&ask(&mut world, "r3", &claim(user, subject))), "{user} for {subject}");
    }
    for (what, more) in attacks(&claim(&own, &own)) {
        assert_ne!(ask(&mut world, "r4", &more), CsrDecision::Approve, "{what}");
    }
    world.done(LockNode { node: id, reason: String::new() });
    assert!(is_denied(&ask(&mut world, "r5", &claim(&own, &own))));
}

#[test]
fn a_kubelets_server_is_certified_for_its_own_name_and_a_declared_address_only() {
    let (mut world, _, _) = mk_joining();
    let node = world.pending(4);
    let seen = world.node(&node).clone();
    let approve = muster_state::command::ApproveNode {
        node,
        key: seen.identity.key,
        facts_revision: seen.facts_revision,
        cluster: None,
        pool: Some("workers".into()),
        name: Some(name("w-listed")),
        replace: false,
    };
    world.done(approve);
    let cluster = world.state.clusters.get_mut(&"c1".into()).unwrap();
    cluster.spec.endpoint = "192.0.2.1:6443".into();
    cluster.spec.pools[1].nodes[0].address = "192.0.2.7".into();
    let claim = |dns: &[&str], addresses: &[&str]| CsrClaim {
        signer: SERVING_SIGNER.into(),
        user: "system:node:w-listed".into(),
        groups: set(&["system:nodes", "system:authenticated"]),
        usages: set(&["digital signature", "server auth"]),
        content: Some(CsrContent {
            common_names: vec!["system:node:w-listed".into()],
            organizations: vec!["system:nodes".into()],
            dns_names: dns.iter().map(|text| (*text).to_owned()).collect(),
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
            others: Vec::new(),
        }),
        node_is_ready: false,
    };
    assert_eq!(ask(&mut world, "s1", &claim(&["w-listed"], &["192.0.2.7"])), CsrDecision::Approve);
    assert_eq!(ask(&mut world, "s2", &claim(&["w-listed"], &[])), CsrDecision::Approve);
    for bad in
        [claim(&["cp1"], &[]), claim(&["w-listed"], &["192.0.2.1"]), claim(&[], &[]), claim(&["kubernetes"], &[])]
    {
        assert!(is_denied(&ask(&mut world, "s3", &bad)), "{bad:?}");
    }
    assert!(matches!(ask(&mut world, "s4", &claim(&["w-listed"], &["198.51.100.9"])), CsrDecision::Wait(_)));
    let forged = CsrClaim { user: "system:node:cp1".into(), ..claim(&["w-listed"], &[]) };
    assert!(is_denied(&ask(&mut world, "s5", &forged)));
    for uid in 0..20 {
        ask(&mut world, &format!("again-{uid}"), &claim(&["w-listed"], &[]));
    }
    assert!(world.state.nodes.values().all(|node| node.requests.len() <= 4));
}
