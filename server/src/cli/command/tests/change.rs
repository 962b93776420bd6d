//! Changing: clusters, nodes, tokens, join lines, snippets.

use muster_proto::admin::v1::{ApplyClusterResponse, Token};
use sha2::Digest as _;

use super::*;

const FILE: &str = "
apiVersion: muster/v1
kind: Cluster
metadata: { name: prod }
spec:
  kubernetes: { version: v1.36.2, endpoint: 'k8s.prod:6443' }
  pools:
    - { name: cp, role: control-plane, admission: bound, nodes: [{ name: cp1 }] }
    - { name: w, role: worker, admission: bound, nodes: [{ name: n1 }, { name: n9 }] }
";

fn mk_file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.yaml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

fn applied(outcome: &str, changes: &[&str]) -> ApplyClusterResponse {
    ApplyClusterResponse {
        outcome: outcome.into(),
        changes: changes.iter().map(|change| (*change).to_owned()).collect(),
        cluster: None,
    }
}

/// The tokens in the pasted lines of an output.
fn tokens_in(out: &str) -> Vec<&str> {
    out.lines().filter_map(|line| line.strip_prefix("echo ")?.split(' ').next()).collect()
}

#[tokio::test]
async fn creating_a_cluster_prints_pin_and_endpoint_and_gives_it_pools() {
    let ran = run("cluster create prod --endpoint k8s.prod:6443 --kubernetes v1.36.2", mk_world()).await;
    assert_eq!(ran.out, "cluster/prod created\nEndpoint:         k8s.prod:6443\nCA pin:           sha256:aa\n");
    assert!(ran.err.starts_with("Next: muster snippet kernel-args"), "{}", ran.err);
    let spec = ran.fake.world().new_clusters[0].clone();
    let roles: Vec<&str> = spec.pools.iter().map(|pool| pool.role.as_str()).collect();
    assert_eq!((spec.kubernetes_version.as_str(), roles), ("v1.36.2", vec!["control-plane", "worker"]));
}

#[tokio::test]
async fn what_is_invalid_is_refused_before_any_server_is_called() {
    let cases = [
        ("cluster create Prod --endpoint a:1 --kubernetes v1.36.2", Exit::Invalid),
        ("cluster create prod --endpoint a --kubernetes v1.36.2", Exit::Invalid),
        ("cluster create prod --endpoint a:1 --kubernetes 1.36", Exit::Invalid),
        ("cluster create prod --endpoint a:1 --kubernetes v1.36.2 --key-algorithm DSA", Exit::Invalid),
        ("cluster create prod --endpoint a:1 --kubernetes v1.36.2 --pod-subnet x", Exit::Invalid),
        ("cluster import prod --endpoint a:1 --kubernetes v1.36.2", Exit::Usage),
        ("cluster import prod --endpoint a:1 --pki p", Exit::Usage),
        ("cluster import prod --endpoint a --kubeconfig k", Exit::Invalid),
        ("token create --node N1", Exit::Invalid),
        ("token create --print-join-command", Exit::Usage),
        ("snippet kernel-args --token mst-x", Exit::Usage),
    ];
    for (line, exit) in cases {
        let failure = refuse_early(&parse(line).command).unwrap_err();
        assert_eq!(failure.exit, exit, "{line}");
    }
    let refused = refuse_early(&parse("token create --print-join-command").command).unwrap_err();
    assert!(refused.next.unwrap().contains("muster join-command"));
    refuse_early(&parse("cluster import p --kubeconfig k").command).unwrap();
}

#[tokio::test]
async fn importing_sends_the_pki_that_was_checked() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = mk_ca();
    std::fs::write(folder.path().join("ca.crt"), format!("# a comment\n{certificate}")).unwrap();
    let line = format!("cluster import old --endpoint a:1 --kubernetes v1.31.0 --pki {}", folder.path().display());
    let ran = run(&line, mk_world()).await;
    assert!(ran.out.starts_with("cluster/old imported\n"), "{} {:?}", ran.out, ran.outcome);
    assert!(ran.err.contains("not in the PKI: "), "{}", ran.err);
    let sent = ran.fake.world().pki.remove(0);
    assert_eq!((sent.name.as_str(), sent.content.starts_with(b"-----BEGIN CERTIFICATE-----")), ("ca.crt", true));
}

/// A kubeconfig with a token, and another user's secret beside it.
fn mk_kubeconfig() -> (tempfile::TempDir, String) {
    use base64::Engine as _;
    let authority = base64::engine::general_purpose::STANDARD.encode(mk_ca());
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters:\n- name: k\n  cluster:\n    server: https://192.0.2.11:6443\n    certificate-authority-data: {authority}\n\
         contexts:\n- name: c\n  context: {{cluster: k, user: muster}}\n\
         users:\n- name: muster\n  user: {{token: abc}}\n- name: other\n  user: {{token: canary}}\n"
    );
    mk_file(&text)
}

#[tokio::test]
async fn importing_by_a_kubeconfig_asks_for_nothing_else_and_sends_one_user_only() {
    let (_folder, path) = mk_kubeconfig();
    let ran = run(&format!("cluster import old --kubeconfig {path}"), mk_world()).await;
    assert!(ran.out.starts_with("cluster/old imported\n"), "{} {:?}", ran.out, ran.outcome);
    let world = ran.fake.world();
    let sent = world.kubeconfigs[0].clone();
    assert!(sent.contains("abc") && !sent.contains("canary"), "{sent}");
    assert!(world.pki.is_empty());
}

#[tokio::test]
async fn a_kubeconfig_that_runs_a_program_never_leaves_the_machine() {
    let (_folder, path) = mk_kubeconfig();
    let text = std::fs::read_to_string(&path).unwrap().replace("{token: abc}", "{exec: {command: aws}}");
    let (_folder, path) = mk_file(&text);
    for line in ["cluster import old", "cluster credentials old"] {
        let ran = run(&format!("{line} --kubeconfig {path}"), mk_world()).await;
        let failure = ran.outcome.unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        assert!(failure.message.contains("exec is refused"), "{failure}");
        assert!(ran.fake.world().kubeconfigs.is_empty());
    }
}

#[tokio::test]
async fn credentials_are_replaced() {
    let (_folder, path) = mk_kubeconfig();
    let ran = run(&format!("cluster credentials old --kubeconfig {path}"), mk_world()).await;
    assert_eq!(ran.out, "cluster/old has new credentials\n", "{:?}", ran.outcome);
    assert!(ran.fake.world().kubeconfigs[0].contains("abc"));
}

fn mk_ca() -> String {
    use crate::pki::{ClusterPki, KeyAlgorithm};
    let now_ms = noon().as_millisecond().try_into().unwrap();
    let pki = ClusterPki::generate(KeyAlgorithm::EcdsaP256, now_ms).unwrap();
    pki.files["ca.crt"].expose().to_owned()
}

#[tokio::test]
async fn applying_prints_a_line_for_each_named_node_that_is_not_here() {
    let (_folder, path) = mk_file(FILE);
    let mut world = mk_world();
    world.nodes[0].cluster = "prod".into();
    world.applied = applied("configured", &["pool w: count 1 -> 2"]);
    let ran = run(&format!("cluster apply -f {path}"), world).await;
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[..3], ["cluster/prod configured", "  pool w: count 1 -> 2", "# cp1 (control-plane)"]);
    assert_eq!(lines[4], "# n9 (worker)");
    assert_eq!(lines.len(), 6, "{}", ran.out);
    let tokens = tokens_in(&ran.out);
    for (line, token) in [lines[3], lines[5]].into_iter().zip(&tokens) {
        assert_eq!(
            line,
            format!("echo {token} | muster-agent run --server https://192.0.2.1:9443 --ca-hash {PIN} --token-file -")
        );
    }
    let world = ran.fake.world();
    for (request, token) in world.new_tokens.iter().zip(&tokens) {
        assert_eq!(request.sha256, sha2::Sha256::digest(token.as_bytes()).to_vec());
        assert_eq!((request.id.as_str(), request.uses, request.ttl_seconds), (&token[4..12], 1, 86_400));
        assert!(!request.request_id.contains(token));
    }
    let bound: Vec<(&str, &str)> =
        world.new_tokens.iter().map(|request| (request.node_name.as_str(), request.pool.as_str())).collect();
    assert_eq!(bound, [("cp1", "cp"), ("n9", "w")]);
}

#[tokio::test]
async fn a_live_token_is_not_made_again_unless_asked_and_then_replaced() {
    let (_folder, path) = mk_file(FILE);
    let token = |id: &str, node: &str, state: &str| Token {
        id: id.into(),
        node_name: node.into(),
        state: state.into(),
        kind: "enrolment".into(),
        ..Token::default()
    };
    let world = || World {
        status: mk_status(),
        tokens: vec![token("old11111", "n1", "Live"), token("old99999", "n9", "Spent")],
        applied: applied("unchanged", &[]),
        ..World::default()
    };
    let ran = run(&format!("cluster apply -f {path}"), world()).await;
    assert!(ran.err.contains("n1: token old11111 was made earlier and is still live"), "{}", ran.err);
    let changes = ran.fake.world().changes.clone();
    assert_eq!(changes, ["apply dry_run=false", "create-token cp1", "create-token n9"]);

    let ran = run(&format!("cluster apply -f {path} --new-tokens"), world()).await;
    let changes = ran.fake.world().changes.clone();
    assert_eq!(
        changes,
        ["apply dry_run=false", "create-token cp1", "revoke-token old11111", "create-token n1", "create-token n9"]
    );
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_makes_no_token() {
    let (_folder, path) = mk_file(FILE);
    let world = World { applied: applied("created", &["cluster prod: new"]), ..mk_world() };
    let ran = run(&format!("cluster apply --dry-run -f {path}"), world).await;
    assert_eq!(ran.out, "cluster/prod created (dry run)\n  cluster prod: new\n");
    assert_eq!(ran.err, format!("Next: muster cluster apply -f {path}\n"));
    assert_eq!(ran.fake.world().changes, ["apply dry_run=true"]);
}

#[tokio::test]
async fn applying_as_json_is_one_document_with_the_lines_in_it() {
    let (_folder, path) = mk_file(FILE);
    let world = World { applied: applied("created", &[]), status: mk_status(), ..World::default() };
    let ran = run(&format!("cluster apply -o json -f {path}"), world).await;
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&value["kind"], &value["outcome"]), (&"ApplyClusterResponse".into(), &"created".into()));
    assert_eq!(value["enrolments"].as_array().unwrap().len(), 3);
    assert!(value["enrolments"][0]["command"].as_str().unwrap().starts_with("echo mst-"));
}

#[tokio::test]
async fn a_bad_cluster_file_changes_nothing() {
    let (_folder, path) = mk_file(&FILE.replace("endpoint", "endpiont"));
    let ran = run(&format!("cluster apply -f {path}"), mk_world()).await;
    assert_eq!(ran.failure().exit, Exit::Invalid);
    assert!(ran.failure().message.contains("did you mean \"endpoint\""), "{}", ran.failure());
    assert!(ran.fake.world().changes.is_empty());
    let ran = run("cluster apply -f /nonexistent", mk_world()).await;
    assert_eq!(ran.failure().exit, Exit::Invalid);
}

#[tokio::test]
async fn a_token_is_printed_once_and_only_its_hash_is_sent() {
    let ran = run("token create --pool w --uses 3 --selector serial=S1", mk_world()).await;
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(tokens_in(&ran.out), [lines[0]]);
    let world = ran.fake.world();
    let request = &world.new_tokens[0];
    assert_eq!((request.cluster.as_str(), request.pool.as_str(), request.uses), ("prod", "w", 3));
    assert_eq!(request.selector.as_ref().unwrap().serial, "S1");
    assert_eq!(request.sha256, sha2::Sha256::digest(lines[0].as_bytes()).to_vec());
    assert!(!ran.err.contains(lines[0]), "{}", ran.err);
}

#[tokio::test]
async fn a_bound_token_is_only_its_line() {
    let ran = run("token create --node n5 --ttl 1h", mk_world()).await;
    assert_eq!(ran.out.lines().count(), 1);
    assert_eq!(tokens_in(&ran.out).len(), 1);
    let request = ran.fake.world().new_tokens.remove(0);
    assert_eq!((request.node_name.as_str(), request.uses, request.ttl_seconds), ("n5", 1, 3600));
}

#[tokio::test]
async fn a_token_as_json_holds_text_line_and_record() {
    let ran = run("token create -o json", mk_world()).await;
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let token = value["token"].as_str().unwrap();
    assert_eq!(value["kind"], "EnrolmentToken");
    assert_eq!(value["stored"]["id"], token[4..12]);
    assert!(value["command"].as_str().unwrap().contains(token));
    assert_eq!(run("token create -o name", mk_world()).await.failure().exit, Exit::Usage);
}

#[tokio::test]
async fn a_cluster_must_be_named_only_where_there_are_several() {
    let several = || World { clusters: vec![mk_cluster("prod"), mk_cluster("lab")], ..mk_world() };
    let ran = run("token create", several()).await;
    assert_eq!(ran.failure().exit, Exit::Usage);
    assert!(ran.failure().message.contains("prod, lab"), "{}", ran.failure());
    let ran = run("token create --cluster lab", several()).await;
    assert_eq!(ran.fake.world().new_tokens[0].cluster, "lab");
    let none = World { clusters: Vec::new(), ..mk_world() };
    assert_eq!(run("token create", none).await.failure().exit, Exit::Conflict);
}

#[tokio::test]
async fn a_token_is_revoked_by_a_prefix_after_a_yes() {
    let token = Token { id: "abcd1234".into(), ..Token::default() };
    let world = || World { tokens: vec![token.clone()], ..mk_world() };
    assert_eq!(run("token revoke abcd", world()).await.failure().exit, Exit::Usage);
    let ran = run("token revoke abcd --yes", world()).await;
    assert_eq!(ran.out, "token/abcd1234 revoked\n");
    assert_eq!(ran.fake.world().changes, ["revoke-token abcd1234"]);
    let ran = run("token renew abcd --ttl 2h", world()).await;
    assert_eq!(ran.fake.world().changes, ["renew-token abcd1234 7200"]);
}

#[tokio::test]
async fn an_approval_names_the_fingerprint_and_the_facts_that_were_seen() {
    let line = format!("node approve aa --fingerprint sha256:{} --role worker --name n5", "ab".repeat(32));
    let ran = run(&line, mk_world()).await;
    assert_eq!((ran.outcome.is_ok(), ran.out.as_str()), (true, "node/aa01 approved\n"));
    assert_eq!(ran.err, "Next: muster wait node/aa01 --for phase=Ready\n");
    let approval = ran.fake.world().approvals.remove(0);
    assert_eq!((approval.node.as_str(), approval.facts_revision), ("aa01", 3));
    assert_eq!(approval.key_fingerprint, format!("sha256:{}", "ab".repeat(32)));
    assert_eq!((approval.cluster.as_str(), approval.pool.as_str(), approval.name.as_str()), ("prod", "w", "n5"));
}

#[tokio::test]
async fn a_fingerprint_that_differs_approves_nothing() {
    let line = format!("node approve aa --fingerprint sha256:{}", "cd".repeat(32));
    let ran = run(&line, mk_world()).await;
    assert_eq!(ran.failure().exit, Exit::Conflict);
    assert!(ran.fake.world().approvals.is_empty());
}

#[tokio::test]
async fn at_a_terminal_the_whole_fingerprint_is_shown_and_asked_for() {
    let ran = run_with("node approve aa", mk_world(), Some("n\n")).await;
    assert_eq!(ran.failure().exit, Exit::Failed);
    assert!(ran.err.contains(&"ab".repeat(32)) && ran.err.contains("Claimed by the machine"), "{}", ran.err);
    assert!(ran.fake.world().approvals.is_empty());
    let ran = run_with("node approve aa", mk_world(), Some("y\n")).await;
    assert_eq!(ran.fake.world().approvals.len(), 1);
    let ran = run("node approve aa", mk_world()).await;
    assert_eq!(ran.failure().exit, Exit::Usage);
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_asked_for_and_the_rest_is_not() {
    for (verb, done) in [("retry", "retried"), ("lock", "locked"), ("unlock", "unlocked")] {
        let ran = run(&format!("node {verb} n1 --reason why"), mk_world()).await;
        assert_eq!(ran.out, format!("node/7f3c {done}\n"));
        assert_eq!(ran.fake.world().changes, [format!("{verb} 7f3c why")]);
    }
    for (verb, done) in [("deny", "denied"), ("remove", "removed")] {
        let refused = run(&format!("node {verb} n1"), mk_world()).await;
        assert_eq!(refused.failure().exit, Exit::Usage);
        assert!(refused.fake.world().changes.is_empty());
        let ran = run(&format!("node {verb} n1 --yes"), mk_world()).await;
        assert_eq!(ran.out, format!("node/7f3c {done}\n"));
        assert_eq!(ran.fake.world().changes, [format!("{verb} 7f3c")]);
    }
}

#[tokio::test]
async fn a_join_command_is_for_the_only_cluster() {
    let ran = run("join-command --role control-plane", mk_world()).await;
    assert_eq!(ran.out, "kubeadm join …\n");
    assert!(ran.err.contains("This line is a secret"), "{}", ran.err);
    assert!(ran.err.contains("waits for a person"), "{}", ran.err);
    assert_eq!(ran.fake.world().changes, ["join-command prod control-plane 7200"]);
    let named = run("join-command --node-name w1", mk_world()).await;
    assert!(named.err.contains("for node w1 alone"), "{}", named.err);
    assert_eq!(named.fake.world().changes, ["join-command prod worker 7200 w1"]);
    let fetched = run("join-command --discovery https-embedded", mk_world()).await;
    assert_eq!(fetched.out, "SSL_CERT_FILE=x kubeadm join https-embedded …\n");
    assert!(fetched.err.contains("muster server ca"), "{}", fetched.err);
    let bad = run("join-command --node-name W1", mk_world()).await;
    assert_eq!(bad.failure().exit, Exit::Invalid);
    assert!(bad.fake.world().changes.is_empty());
}

#[tokio::test]
async fn snippets_are_filled_in_from_the_servers_status() {
    let ran = run("snippet kernel-args", mk_world()).await;
    assert_eq!(ran.out, format!("muster.server=192.0.2.1:9443 muster.ca={PIN}\n"));
    let (_folder, path) = mk_file(&format!("mst-abcd1234-{}\n", "x".repeat(32)));
    let ran = run(&format!("snippet kernel-args --token-file {path}"), mk_world()).await;
    assert!(ran.err.contains("/proc/cmdline"), "{}", ran.err);
    let (_folder, path) = mk_file("not a token");
    assert_eq!(run(&format!("snippet cloud-init --token-file {path}"), mk_world()).await.failure().exit, Exit::Invalid);
}
