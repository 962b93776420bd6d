use muster_proto::admin::v1::{ClusterSpec as WireSpec, NamedNode, Pool as WirePool, Selector};
use muster_state::record::{Admission, Permit, PermitKind};

use super::*;
use crate::api::fixture::{CLUSTER, NOW_MS, control_plane, mk_spec, mk_state, worker};

fn mk_pool(name: &str, role: &str) -> WirePool {
    WirePool { name: name.into(), role: role.into(), ..WirePool::default() }
}

fn mk_wire(pools: Vec<WirePool>) -> WireSpec {
    WireSpec {
        name: "prod".into(),
        kubernetes_version: "v1.36.2".into(),
        endpoint: "k8s.prod:6443".into(),
        pools,
        ..WireSpec::default()
    }
}

fn refusal(wire: WireSpec) -> String {
    spec::parse(Some(wire)).unwrap_err().to_string()
}

fn refused_pool(change: impl FnOnce(&mut WirePool)) -> String {
    let mut pool = mk_pool("w", "worker");
    change(&mut pool);
    refusal(mk_wire(vec![pool]))
}

#[test]
fn credentials_are_shown_with_their_end_and_warned_of_in_good_time() {
    let (mut state, day_ms) = (mk_state(), 86_400_000);
    let mut shown = |left_ms: Option<u64>| {
        let cluster = state.clusters.get_mut(&CLUSTER.into()).unwrap();
        let not_after_ms = left_ms.map(|left_ms| NOW_MS + left_ms);
        let (secret, server) = (cluster.certificate_key.clone(), "192.0.2.11:6443".to_owned());
        cluster.credentials = Some(Credentials { secret, server, user: "ann".into(), not_after_ms });
        render(&state, &state.clusters[&CLUSTER.into()], NOW_MS)
    };
    let warned = |wire: Wire| wire.warnings.into_iter().find(|line| line.contains("muster cluster credentials prod"));
    let wire = shown(Some(31 * day_ms));
    let given = wire.credentials.clone().unwrap();
    assert_eq!((given.user.as_str(), given.server.as_str()), ("ann", "192.0.2.11:6443"));
    assert!(given.not_after.is_some());
    assert_eq!(warned(wire), None);
    assert!(warned(shown(Some(day_ms + 3_600_000))).unwrap().contains("expires in 1 d 1 h"));
    assert!(warned(shown(Some(0))).unwrap().contains("has expired"));
    let wire = shown(None);
    assert_eq!(wire.credentials.clone().unwrap().not_after, None);
    assert_eq!(warned(wire), None, "of a token nobody knows the end");
}

#[test]
fn a_spec_comes_back_as_it_was_stored() {
    let mut stored = mk_spec();
    stored.kubeadm.insert("init".into(), r#"{"skipPhases":["addon/kube-proxy"]}"#.into());
    stored.pools[0].certificates_direct = true;
    stored.pools[0].labels.insert("topology.kubernetes.io/zone".into(), "a".into());
    stored.pools[1].discovery = "token-unsafe".into();
    assert_eq!(spec::parse(Some(spec::render(&stored))).unwrap(), stored);
}

#[test]
fn a_pool_without_an_admission_takes_its_clusters_and_that_defaults_to_approve() {
    let admission = |of_cluster: &str, of_pool: &str| {
        let pool = WirePool { admission: of_pool.into(), ..mk_pool("w", "worker") };
        let wire = WireSpec { admission: of_cluster.into(), ..mk_wire(vec![pool]) };
        spec::parse(Some(wire)).unwrap().pools[0].admission
    };
    assert_eq!(admission("", ""), Admission::Approve);
    assert_eq!(admission("token", ""), Admission::Token);
    assert_eq!(admission("token", "bound"), Admission::Bound);
}

#[test]
fn who_approves_is_one_of_three_words_linked_or_detached() {
    let with = |access: &str, approval: &str| WireSpec {
        access: access.into(),
        csr_approval: approval.into(),
        ..mk_wire(vec![mk_pool("w", "worker")])
    };
    for (written, shown) in [("", "muster"), ("muster", "muster"), ("strict", "strict"), ("auto", "auto")] {
        for access in ["linked", "detached"] {
            let stored = spec::parse(Some(with(access, written))).unwrap();
            assert_eq!(spec::render(&stored).csr_approval, shown, "{access}");
        }
    }
    assert!(refusal(with("linked", "lax")).contains("none of muster, strict and auto"));
}

#[test]
fn an_unknown_word_is_refused_with_its_field_and_the_words_there_are() {
    let cases = [
        (refused_pool(|pool| pool.role = "master".into()), "spec.pools[w].role: ", "control-plane, worker"),
        (refused_pool(|pool| pool.role.clear()), "spec.pools[w].role: ", "control-plane, worker"),
        (refused_pool(|pool| pool.admission = "auto".into()), "spec.pools[w].admission: ", "approve, token, bound"),
        (refused_pool(|pool| pool.certificates = "files".into()), "spec.pools[w].certificates: ", "secret, direct"),
        (
            refused_pool(|pool| pool.discovery = "https".into()),
            "spec.pools[w].discovery: ",
            "file, token, token-unsafe",
        ),
        (refusal(WireSpec { admission: "Token".into(), ..mk_wire(Vec::new()) }), "spec.admission: ", "approve"),
    ];
    for (said, field, words) in cases {
        assert!(said.starts_with(field) && said.contains(words), "{said}");
    }
}

#[test]
fn skipping_the_verification_of_the_ca_must_be_written_out_where_it_means_something() {
    let discovery = |word: &str, skip: bool| {
        let pool = WirePool { discovery: word.into(), unsafe_skip_ca_verification: skip, ..mk_pool("w", "worker") };
        spec::parse(Some(mk_wire(vec![pool])))
            .map(|spec| spec.pools[0].discovery.clone())
            .map_err(|err| err.to_string())
    };
    assert_eq!(discovery("", false), Ok("file".into()));
    assert_eq!(discovery("token", false), Ok("token".into()));
    assert_eq!(discovery("token", true), Ok("token-unsafe".into()));
    assert_eq!(discovery("token-unsafe", true), Ok("token-unsafe".into()));
    for (word, skip) in [("token-unsafe", false), ("", true), ("file", true)] {
        let said = discovery(word, skip).unwrap_err();
        assert!(said.starts_with("spec.pools[w].discovery: ") && said.contains("unsafeSkipCAVerification"), "{said}");
    }
}

#[test]
fn names_addresses_and_trees_that_cannot_be_are_refused_with_their_field() {
    let node = |name: &str| NamedNode { name: name.into(), ..NamedNode::default() };
    let cases = [
        (refused_pool(|pool| pool.name = "W".into()), "spec.pools[0].name: "),
        (refused_pool(|pool| pool.nodes = vec![node("w1"), node("W2")]), "spec.pools[w].nodes[1].name: "),
        (
            refused_pool(|pool| pool.r#match = Some(Selector { macs: vec!["52".into()], ..Selector::default() })),
            "spec.pools[w].match.macs: ",
        ),
        (refused_pool(|pool| _ = pool.labels.insert("a".into(), "b,c=d".into())), "spec.pools[w].labels: "),
        (refused_pool(|pool| _ = pool.labels.insert("a=b".into(), "c".into())), "spec.pools[w].labels: "),
        (refusal(WireSpec { pod_subnet: "10.0.0.0".into(), ..mk_wire(Vec::new()) }), "spec.kubernetes.podSubnet: "),
        (refusal(WireSpec { dns_domain: "a..b".into(), ..mk_wire(Vec::new()) }), "spec.kubernetes.dnsDomain: "),
        (refusal(WireSpec { kubeadm_init_json: "{".into(), ..mk_wire(Vec::new()) }), "spec.kubeadm.init: "),
        (refusal(WireSpec { kubeadm_kubelet_json: "[]".into(), ..mk_wire(Vec::new()) }), "spec.kubeadm.kubelet: "),
    ];
    for (said, field) in cases {
        assert!(said.starts_with(field), "{said}");
    }
    assert!(spec::parse(None).unwrap_err().to_string().starts_with("spec: is needed"));
}

#[test]
fn trees_are_kept_only_if_they_say_something_and_in_one_form() {
    let wire = WireSpec {
        kubeadm_init_json: " {} ".into(),
        kubeadm_join_json: "{ \"b\" : 1,\n \"a\": 2 }".into(),
        ..mk_wire(Vec::new())
    };
    let kubeadm = spec::parse(Some(wire)).unwrap().kubeadm;
    assert_eq!(kubeadm.keys().collect::<Vec<_>>(), ["join"]);
    let again = WireSpec { kubeadm_join_json: "{\"a\":2,\"b\":1}".into(), ..mk_wire(Vec::new()) };
    assert_eq!(spec::parse(Some(again)).unwrap().kubeadm, kubeadm);
}

#[test]
fn a_cluster_shows_its_pins_its_custodian_and_how_far_it_is() {
    let mut state = mk_state();
    let first = control_plane(&mut state, "6e0f3a51-0000-4000-8000-000000000001", "cp-1");
    worker(&mut state, "6e0f3a51-0000-4000-8000-000000000002");
    let node = state.nodes.get_mut(&first).unwrap();
    node.phase = Phase::Ready;
    node.steps = vec![done(muster_state::record::Verb::Init)];
    let view = render(&state, &state.clusters[&CLUSTER.into()], NOW_MS);
    assert_eq!(view.ca_pins, [muster_state::Digest([6; 32]).to_string()], "the pins are of ca.crt alone");
    assert!(view.ca_certificate_pem.contains("ca.crt") && !view.ca_certificate_pem.contains("proxy"));
    let expiring: Vec<&str> = view.certificates.iter().map(|certificate| certificate.name.as_str()).collect();
    assert_eq!(expiring, ["ca.crt", "front-proxy-ca.crt", "etcd/ca.crt"]);
    assert_eq!(
        (view.mode.as_str(), view.origin.as_str(), view.custodian.as_str()),
        ("Detached", "created", first.as_str())
    );
    assert_eq!((view.control_planes_ready, view.control_planes_wanted), (1, 3));
    assert_eq!((view.workers_ready, view.workers_wanted), (0, 2));
}

#[test]
fn nodes_known_by_name_are_wanted_even_if_the_count_says_fewer() {
    let mut spec = mk_spec();
    let named = |n: u32| muster_state::record::NamedNode {
        name: muster_state::NodeName::parse(&format!("w{n}")).unwrap(),
        address: String::new(),
        selector: muster_state::facts::Selector::default(),
    };
    spec.pools[1].nodes = (0..5).map(named).collect();
    assert_eq!((wanted(&spec, Role::ControlPlane), wanted(&spec, Role::Worker)), (3, 5));
}

#[test]
fn a_cluster_warns_of_what_an_operator_should_read() {
    let mut state = mk_state();
    let cluster = state.clusters.get_mut(&CLUSTER.into()).unwrap();
    cluster.certificates[0].not_after_ms = NOW_MS + 3 * 86_400_000;
    cluster.spec.pools[1].discovery = "token-unsafe".into();
    cluster.permits.insert(PermitKind::Init, Permit::default());
    let warnings = render(&state, &state.clusters[&CLUSTER.into()], NOW_MS).warnings;
    assert!(warnings.iter().any(|line| line.contains("ca.crt expires in 3 days")), "{warnings:?}");
    assert!(warnings.iter().any(|line| line.contains("without verifying the CA")), "{warnings:?}");
}

fn done(verb: muster_state::record::Verb) -> muster_state::record::Step {
    let waiting = muster_state::record::Step::waiting(verb);
    muster_state::record::Step { state: muster_state::record::StepState::Done, ..waiting }
}
