//! Good and bad cluster files.

use muster_proto::admin::v1::{ClusterSpec, NamedNode, Pool, Selector};

use super::*;

const FILE: &str = r#"apiVersion: muster/v1
kind: Cluster
metadata: { name: prod }
spec:
  kubernetes: { version: v1.36.2, endpoint: "k8s.prod:6443", podSubnet: 10.244.0.0/16, access: linked, csrApproval: auto }
  keyAlgorithm: ECDSA-P256          # or RSA-2048
  admission: approve
  pools:
    - { name: cp,     role: control-plane, count: 3, match: { labels: { rack-role: cp } } }
    - name: worker
      role: worker
      admission: bound
      certificates: direct
      discovery: token-unsafe
      unsafeSkipCAVerification: true
      match: {}
      labels: { topology.kubernetes.io/zone: "{{rack}}" }
      nodes:
        - { name: n1, address: 192.0.2.7, match: { mac: 52-54-00-12-34-AB, board-serial: "007" } }
        - { name: n2, match: { mac: ["52:54:00:12:34:AC", "52:54:00:12:34:AD"] } }
  kubeadm: { init: {}, cluster: { apiServer: { certSANs: [a, b], timeout: 4 } }, join: {}, kubelet: { maxPods: 200 } }
"#;

fn check_refused(text: &str, expected: &str) {
    let failure = read(text, "cluster.yaml").unwrap_err();
    assert_eq!(failure.exit, Exit::Invalid);
    assert!(failure.message.starts_with(expected), "expected:\n{expected}\nsaid:\n{failure}");
}

fn mk_worker_pool() -> Pool {
    let mac =
        |macs: &[&str]| Selector { macs: macs.iter().map(|mac| (*mac).to_owned()).collect(), ..Selector::default() };
    Pool {
        name: "worker".into(),
        role: "worker".into(),
        admission: "bound".into(),
        certificates: "direct".into(),
        discovery: "token-unsafe".into(),
        unsafe_skip_ca_verification: true,
        r#match: Some(Selector::default()),
        labels: [("topology.kubernetes.io/zone".to_owned(), "{{rack}}".to_owned())].into(),
        nodes: vec![
            NamedNode {
                name: "n1".into(),
                address: "192.0.2.7".into(),
                r#match: Some(Selector { board_serial: "007".into(), ..mac(&["52:54:00:12:34:ab"]) }),
            },
            NamedNode {
                name: "n2".into(),
                address: String::new(),
                r#match: Some(mac(&["52:54:00:12:34:ac", "52:54:00:12:34:ad"])),
            },
        ],
        ..Pool::default()
    }
}

#[test]
fn every_field_of_the_file_reaches_the_message() {
    let labels = [("rack-role".to_owned(), "cp".to_owned())].into();
    let expected = ClusterSpec {
        name: "prod".into(),
        kubernetes_version: "v1.36.2".into(),
        endpoint: "k8s.prod:6443".into(),
        pod_subnet: "10.244.0.0/16".into(),
        key_algorithm: "ECDSA-P256".into(),
        admission: "approve".into(),
        pools: vec![
            Pool {
                name: "cp".into(),
                role: "control-plane".into(),
                count: 3,
                r#match: Some(Selector { labels, ..Selector::default() }),
                ..Pool::default()
            },
            mk_worker_pool(),
        ],
        access: "linked".into(),
        csr_approval: "auto".into(),
        kubeadm_cluster_json: r#"{"apiServer":{"certSANs":["a","b"],"timeout":4}}"#.into(),
        kubeadm_kubelet_json: r#"{"maxPods":200}"#.into(),
        ..ClusterSpec::default()
    };
    assert_eq!(read(FILE, "cluster.yaml").unwrap(), expected);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_what_was_meant() {
    check_refused(
        &FILE.replace("podSubnet", "podSubnets"),
        "cluster.yaml:5:62: unknown key \"podSubnets\"; did you mean \"podSubnet\"? (known here: version, endpoint, \
         podSubnet, serviceSubnet, dnsDomain, access, csrApproval, clusterInfo)\n  5 |   kubernetes: { version",
    );
    check_refused(
        &FILE.replace("count: 3", "flavour: 3"),
        "cluster.yaml:9:44: unknown key \"flavour\" (known here: name, role",
    );
    check_refused(
        &FILE.replace("board-serial", "boardSerial"),
        "cluster.yaml:19:76: unknown key \"boardSerial\"; did you mean",
    );
}

#[test]
fn the_mark_stands_below_the_fault() {
    let failure = read(&FILE.replace("name: prod", "name: Prod"), "cluster.yaml").unwrap_err();
    assert_eq!(
        failure.message,
        "cluster.yaml:3:19: \"Prod\" is no DNS-1123 label: it has upper-case letters (lower-case letters, digits and '-', \
         at most 63)\n\
         \u{20} 3 | metadata: { name: Prod }\n\
         \u{20}   |                   ^"
    );
}

#[test]
fn a_word_outside_its_list_is_refused_with_the_list() {
    check_refused(
        &FILE.replace("admission: bound", "admission: anyone"),
        "cluster.yaml:12:18: \"anyone\" is not possible here; it is one of approve, token, bound",
    );
    check_refused(&FILE.replace("role: worker", "role: master"), "cluster.yaml:11:13: \"master\" is not possible here");
    check_refused(&FILE.replace("ECDSA-P256 ", "ED25519 "), "cluster.yaml:6:17: \"ED25519\" is not possible here");
}

#[test]
fn what_is_missing_or_of_another_kind_is_said() {
    check_refused(&FILE.replace("version: v1.36.2, ", ""), "cluster.yaml:5:");
    check_refused("", "cluster.yaml");
    check_refused(
        &FILE.replace("muster/v1", "muster/v2"),
        "cluster.yaml:1:13: apiVersion is \"muster/v2\", only muster/v1",
    );
    check_refused(&FILE.replace("kind: Cluster", "kind: Pool"), "cluster.yaml:2:7: kind is \"Pool\", only Cluster");
    check_refused(&FILE.replace("init: {}", "init: [1]"), "cluster.yaml:21:");
    check_refused(&FILE.replace("count: 3", "count: three"), "cluster.yaml:9:");
    check_refused(&format!("{FILE}kind: Cluster\n"), "cluster.yaml:22:1: \"kind\" is written twice");
    check_refused(&format!("{FILE}---\n{FILE}"), "cluster.yaml:");
}

#[test]
fn values_that_kubernetes_would_refuse_late_are_refused_now() {
    check_refused(&FILE.replace("v1.36.2", "v1.36"), "cluster.yaml:5:26: \"v1.36\" is no Kubernetes version");
    check_refused(&FILE.replace(":6443", ""), "cluster.yaml:5:45: endpoint \"k8s.prod\" has no port");
    check_refused(&FILE.replace("/16", "/33"), "cluster.yaml:5:");
    check_refused(&FILE.replace("192.0.2.7", "n1.rack"), "cluster.yaml:19:32: \"n1.rack\" is no IP address");
    check_refused(&FILE.replace("name: n2", "name: n_2"), "cluster.yaml:20:19: \"n_2\" is no DNS-1123 subdomain");
}

#[test]
fn names_are_used_once() {
    check_refused(&FILE.replace("name: n2", "name: n1"), "cluster.yaml:20:19: there is already a node \"n1\"");
    check_refused(&FILE.replace("name: worker", "name: cp"), "cluster.yaml:10:13: there is already a pool \"cp\"");
}

#[test]
fn control_planes_are_never_admitted_by_a_pools_token() {
    check_refused(&FILE.replace("count: 3,", "admission: token,"), "cluster.yaml:9:15: pool \"cp\" has control planes");
    check_refused(
        &FILE.replace("admission: approve", "admission: token"),
        "cluster.yaml:9:15: pool \"cp\" has control planes",
    );
}

#[test]
fn unsafe_discovery_is_written_out_twice_or_not_at_all() {
    check_refused(
        &FILE.replace("      unsafeSkipCAVerification: true\n", ""),
        "cluster.yaml:10:13: discovery: token-unsafe",
    );
    check_refused(
        &FILE.replace("token-unsafe", "file"),
        "cluster.yaml:10:13: unsafeSkipCAVerification has a meaning only",
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let text = FILE.replace("name: prod", "name: Prod").replace("name: n2", "name: n_2");
    let failure = read(&text, "cluster.yaml").unwrap_err();
    assert!(
        failure.message.contains("cluster.yaml:3:19") && failure.message.contains("cluster.yaml:20:19"),
        "{failure}"
    );
}
