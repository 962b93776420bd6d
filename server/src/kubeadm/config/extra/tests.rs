use super::*;
use crate::kubeadm::vectors;
use proptest::prelude::*;
use serde_json::json;

fn problems(version: &str, extra: Value) -> Vec<String> {
    let extra: Extra = serde_json::from_value(extra).unwrap();
    let version = KubernetesVersion::parse(version).unwrap();
    match validate_extra(&version, &extra) {
        Ok(()) => vec![],
        Err(problems) => problems.to_string().split("; ").map(str::to_owned).collect(),
    }
}

#[test]
fn what_a_cluster_file_may_say_is_accepted_in_either_shape() {
    let newest = json!({
        "init": { "skipPhases": ["addon/kube-proxy"], "timeouts": { "etcdAPICall": "5m0s" } },
        "cluster": {
            "apiServer": { "extraArgs": [{ "name": "audit-log-maxage", "value": "2" }], "certSANs": ["k8s.example.org"] },
            "etcd": { "local": { "extraArgs": { "quota-backend-bytes": 8_000_000_000_u64 } } },
            "featureGates": { "NodeLocalCRISocket": true },
            "proxy": { "disabled": true },
        },
        "join": { "nodeRegistration": { "taints": [], "kubeletExtraArgs": [{ "name": "v", "value": "4" }] }, "patches": null },
        "kubelet": { "serverTLSBootstrap": true, "maxPods": 250 },
    });
    assert_eq!(problems("v1.36.2", newest), [""; 0]);
    let older = json!({
        "cluster": { "apiServer": { "extraArgs": { "v": "4" }, "timeoutForControlPlane": "8m0s" } },
        "join": { "discovery": { "timeout": "10m" }, "nodeRegistration": { "imagePullPolicy": "Never" } },
    });
    assert_eq!(problems("v1.30.1", older), [""; 0]);
    assert_eq!(
        problems(
            "v1.20.0",
            json!({ "init": { "skipPhases": ["addon"] }, "cluster": { "dns": { "type": "CoreDNS" } } })
        ),
        [""; 0]
    );
    assert_eq!(problems("v1.36.2", json!({})), [""; 0]);
}

#[test]
fn what_muster_owns_is_refused_with_path_and_reason() {
    let extra = json!({
        "init": { "bootstrapTokens": [], "certificateKey": "00", "localAPIEndpoint": {}, "dryRun": true, "kind": "X" },
        "cluster": {
            "kubernetesVersion": "v1.0.0", "controlPlaneEndpoint": "a:1", "clusterName": "x", "certificatesDir": "/x",
            "encryptionAlgorithm": "RSA-2048", "apiVersion": "x",
        },
        "join": {
            "discovery": { "bootstrapToken": {}, "file": {}, "tlsBootstrapToken": "x" },
            "controlPlane": {}, "caCertPath": "/x",
            "nodeRegistration": { "name": "x", "kubeletExtraArgs": { "hostname-override": "x", "provider-id": "y" } },
        },
        "kubelet": { "providerID": "x", "apiVersion": "x" },
    });
    let found = problems("v1.36.2", extra);
    assert_eq!(found.len(), 21, "{found:#?}");
    for problem in &found {
        assert!(problem.contains(": cannot be set here: "), "{problem}");
    }
    assert!(found.contains(
        &"kubeadm.join.nodeRegistration.name: cannot be set here: it is the node's name in Muster".to_owned()
    ));
    assert!(found.iter().any(|p| p.starts_with("kubeadm.join.nodeRegistration.kubeletExtraArgs.provider-id: ")));
}

#[test]
fn unknown_fields_are_refused_at_every_depth() {
    for (extra, problem) in [
        (json!({ "init": { "x": 1 } }), "kubeadm.init.x: unknown field"),
        (json!({ "cluster": { "etcd": { "local": { "x": 1 } } } }), "kubeadm.cluster.etcd.local.x: unknown field"),
        (
            json!({ "cluster": { "apiServer": { "extraVolumes": [{ "name": "a" }, { "hostpath": "/" }] } } }),
            "kubeadm.cluster.apiServer.extraVolumes[1].hostpath: unknown field, did you mean hostPath?",
        ),
        (json!({ "kubelet": { "maxpods": 1 } }), "kubeadm.kubelet.maxpods: unknown field, did you mean maxPods?"),
    ] {
        assert_eq!(problems("v1.36.2", extra), [problem]);
    }
    assert!(serde_json::from_value::<Extra>(json!({ "proxy": {} })).is_err());
}

#[test]
fn fields_of_another_version_say_where_they_belong() {
    for (version, extra, problem) in [
        (
            "v1.30.1",
            json!({ "join": { "timeouts": {} } }),
            "kubeadm.join.timeouts: kubeadm.k8s.io/v1beta3 (Kubernetes v1.30.1) has no such field, it exists from Kubernetes 1.31",
        ),
        (
            "v1.36.2",
            json!({ "join": { "discovery": { "timeout": "5m" } } }),
            "kubeadm.join.discovery.timeout: kubeadm.k8s.io/v1beta4 (Kubernetes v1.36.2) has no such field, it ended with kubeadm.k8s.io/v1beta3",
        ),
        (
            "v1.34.0",
            json!({ "cluster": { "etcd": { "external": { "httpEndpoints": [] } } } }),
            "kubeadm.cluster.etcd.external.httpEndpoints: kubeadm.k8s.io/v1beta4 (Kubernetes v1.34.0) has no such field, it exists from Kubernetes 1.35",
        ),
    ] {
        assert_eq!(problems(version, extra).join("; "), problem);
    }
}

#[test]
fn wrong_shapes_say_what_is_wanted() {
    for (extra, problem) in [
        (json!({ "init": [] }), "kubeadm.init: must be an object"),
        (json!({ "init": { "skipPhases": "addon" } }), "kubeadm.init.skipPhases: must be a list of text"),
        (
            json!({ "init": { "timeouts": { "discovery": 300 } } }),
            "kubeadm.init.timeouts.discovery: must be a duration such as 1h30m0s",
        ),
        (
            json!({ "cluster": { "imageRepository": 1 } }),
            "kubeadm.cluster.imageRepository: must be text (put it in quotes)",
        ),
        (
            json!({ "cluster": { "featureGates": { "A": "true" } } }),
            "kubeadm.cluster.featureGates: must be names with true or false",
        ),
        (
            json!({ "cluster": { "proxy": { "disabled": "yes" } } }),
            "kubeadm.cluster.proxy.disabled: must be true or false",
        ),
        (
            json!({ "join": { "nodeRegistration": { "taints": {} } } }),
            "kubeadm.join.nodeRegistration.taints: must be a list",
        ),
        (
            json!({ "join": { "nodeRegistration": { "taints": ["a"] } } }),
            "kubeadm.join.nodeRegistration.taints[0]: must be an object",
        ),
    ] {
        assert_eq!(problems("v1.36.2", extra), [problem]);
    }
    for args in [
        json!("x"),
        json!([{ "name": "a" }]),
        json!([{ "name": "a", "value": "b", "c": 1 }]),
        json!({ "a": [] }),
        json!({ "a": 1.5 }),
    ] {
        let found = problems("v1.36.2", json!({ "cluster": { "scheduler": { "extraArgs": args } } })).join("; ");
        assert!(found.starts_with("kubeadm.cluster.scheduler.extraArgs: must be a list of"), "{found}");
    }
    let found = problems("v1.36.2", json!({ "cluster": { "scheduler": { "extraArgs": { "--v": "1" } } } }));
    assert_eq!(found, ["kubeadm.cluster.scheduler.extraArgs: \"--v\" must be a flag's name without dashes before it"]);
}

/// A document of a multi-document vector.
fn document(name: &str, kind: &str) -> Value {
    let text = vectors::text(name);
    let trees = text.split("\n---\n").map(|part| serde_saphyr::from_str::<Value>(part).unwrap());
    trees.into_iter().find(|tree| tree["kind"] == kind).unwrap()
}

/// Everything that kubeadm prints as its default must be in the schema; what Muster owns may be refused, nothing may be
/// unknown or of another shape.
#[test]
fn every_field_that_kubeadm_prints_is_known() {
    let vector = "config/init-defaults-kubelet.yaml";
    let extra = json!({
        "init": document(vector, "InitConfiguration"),
        "cluster": document(vector, "ClusterConfiguration"),
        "join": document("config/join-defaults.yaml", "JoinConfiguration"),
        "kubelet": document(vector, "KubeletConfiguration"),
    });
    let found = problems("v1.36.2", extra);
    assert!(found.len() > 10);
    for problem in found {
        assert!(problem.contains(": cannot be set here: "), "{problem}");
    }
}

#[test]
fn durations_are_those_of_go() {
    for text in ["0", "5m", "1h30m0s", "1.5h", "100ms", "2us", "2µs"] {
        assert!(is_go_duration(text), "{text}");
    }
    for text in ["", "5", "m", ".s", "1.2.3s", "5 m", "-5m", "1d", "5mm"] {
        assert!(!is_go_duration(text), "{text}");
    }
}

#[test]
fn external_etcd_is_seen() {
    let extra = |cluster: Value| Extra { cluster, ..Extra::default() };
    assert_eq!(extra(Value::Null).etcd_topology(), EtcdTopology::Stacked);
    assert_eq!(extra(json!({ "etcd": { "local": {} } })).etcd_topology(), EtcdTopology::Stacked);
    assert_eq!(extra(json!({ "etcd": { "external": {} } })).etcd_topology(), EtcdTopology::External);
}

fn any_tree() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "nodeRegistration",
        "kubeletExtraArgs",
        "taints",
        "apiServer",
        "extraArgs",
        "etcd",
        "local",
        "external",
        "skipPhases",
        "discovery",
        "timeouts",
        "networking",
        "name",
        "value",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9 :.-]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..4).prop_map(|map| map
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    /// Checking and merging never panic, and what is merged in never changes what Muster owns.
    #[test]
    fn no_tree_breaks_the_check_or_reaches_what_is_owned(tree in any_tree(), minor in 20u32..38) {
        let version = KubernetesVersion::parse(&format!("v1.{minor}.0")).unwrap();
        let extra = Extra { init: tree.clone(), cluster: tree.clone(), join: tree.clone(), kubelet: tree.clone() };
        let _ = validate_extra(&version, &extra);
        let ours = json!({ "nodeRegistration": { "name": "ours" }, "discovery": { "file": { "kubeConfigPath": "/ours" } } });
        let mut merged = ours.as_object().unwrap().clone();
        super::super::merge::merge(&mut merged, &tree, schema::JOIN);
        prop_assert_eq!(&merged["nodeRegistration"]["name"], "ours");
        prop_assert_eq!(&merged["discovery"]["file"], &json!({ "kubeConfigPath": "/ours" }));
    }
}
