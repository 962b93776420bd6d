//! What must not be in the agent, however it might come in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::Value;

// Cryptography is not among them: Cargo.lock names what features could bring in, and cargo-deny looks at what they do.
/// Each would make the agent large, or give it powers that belong to servers.
const ABSENT: &[&str] = &["kube", "k8s-openapi", "openraft", "sled", "redb", "muster-server", "muster-state"];

#[test]
fn the_agent_depends_on_no_kubernetes_client_no_raft_and_no_store() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock: Value = toml::from_str(&std::fs::read_to_string(lock).unwrap()).unwrap();
    let mut needs = BTreeMap::<&str, BTreeSet<&str>>::new();
    for package in lock["package"].as_array().unwrap() {
        let names = package.get("dependencies").and_then(Value::as_array).into_iter().flatten();
        // "name", "name version" or "name version (source)".
        let names = names.filter_map(|name| name.as_str()?.split(' ').next());
        needs.entry(package["name"].as_str().unwrap()).or_default().extend(names);
    }
    let mut seen = BTreeSet::from(["muster-agent"]);
    let mut next = vec!["muster-agent"];
    while let Some(name) = next.pop() {
        next.extend(needs[name].iter().filter(|name| seen.insert(name)));
    }
    assert!(seen.contains("tonic"), "the graph was read");
    let found: Vec<&&str> = ABSENT.iter().filter(|name| seen.contains(*name)).collect();
    assert!(found.is_empty(), "{found:?}");
}
