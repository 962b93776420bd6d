//! What differs between two specs of a cluster, in sentences an operator reads before applying.

use std::collections::BTreeMap;

use muster_state::{
    facts::Selector,
    record::{ClusterSpec, NamedNode, Pool},
};
use serde_json::Value;

/// What stands for a field that is not there.
const NONE: &str = "(none)";

/// One line per difference, as `spec.pools[worker].count: 3 → 5`; empty for equal specs only.
pub fn changes(old: &ClusterSpec, new: &ClusterSpec) -> Vec<String> {
    let (was, is) = (Fields::of(old).0, Fields::of(new).0);
    let mut fields: Vec<&String> = was.keys().chain(is.keys()).collect();
    fields.sort();
    fields.dedup();
    let text = |value: Option<&String>| value.cloned().unwrap_or_else(|| NONE.into());
    let differing = fields.into_iter().filter(|field| was.get(*field) != is.get(*field));
    let mut lines: Vec<String> =
        differing.map(|field| format!("{field}: {} → {}", text(was.get(field)), text(is.get(field)))).collect();
    if lines.is_empty() && old != new {
        lines.push("spec.pools: the same in another order".into());
    }
    lines
}

/// Every field of a spec that says something, as text, by its path in the cluster file.
#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Fields {
    fn of(spec: &ClusterSpec) -> Self {
        let mut fields = Self::default();
        fields.add("metadata.name", &spec.name);
        fields.add("spec.kubernetes.version", &spec.kubernetes_version);
        fields.add("spec.kubernetes.endpoint", &spec.endpoint);
        fields.add("spec.kubernetes.podSubnet", &spec.pod_subnet);
        fields.add("spec.kubernetes.serviceSubnet", &spec.service_subnet);
        fields.add("spec.kubernetes.dnsDomain", &spec.dns_domain);
        fields.add("spec.keyAlgorithm", &spec.key_algorithm);
        if spec.link.is_some() {
            fields.add("spec.kubernetes.access", "linked");
        }
        fields.add("spec.kubernetes.csrApproval", spec.csr_approval().word());
        if spec.cluster_info_closed {
            fields.add("spec.kubernetes.clusterInfo", "closed");
        }
        spec.pools.iter().for_each(|pool| fields.pool(pool));
        for (name, json) in &spec.kubeadm {
            // What is stored was an object when it was parsed; shown as it is if it no longer is.
            let tree = serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.clone()));
            fields.tree(&format!("spec.kubeadm.{name}"), &tree);
        }
        fields
    }

    fn add(&mut self, field: &str, text: impl ToString) {
        let text = text.to_string();
        if !text.is_empty() {
            self.0.insert(field.to_owned(), text);
        }
    }

    fn pool(&mut self, pool: &Pool) {
        let field = |of: &str| format!("spec.pools[{}].{of}", pool.name);
        self.add(&field("role"), pool.role);
        self.add(&field("count"), pool.count);
        self.add(&field("admission"), pool.admission);
        self.add(&field("match"), selector_text(&pool.selector));
        self.add(&field("certificates"), if pool.certificates_direct { "direct" } else { "secret" });
        self.add(&field("discovery"), &pool.discovery);
        for (key, value) in &pool.labels {
            self.add(&field(&format!("labels[{key}]")), format!("{value:?}"));
        }
        self.add(&field("taints"), pool.taints.join(", "));
        for node in &pool.nodes {
            self.add(&field(&format!("nodes[{}]", node.name)), node_text(node));
        }
    }

    fn tree(&mut self, field: &str, tree: &Value) {
        match tree.as_object() {
            Some(fields) => fields.iter().for_each(|(name, value)| self.tree(&format!("{field}.{name}"), value)),
            None => self.add(field, tree),
        }
    }
}

fn node_text(node: &NamedNode) -> String {
    let parts = [node.address.clone(), selector_text(&node.selector)];
    let said: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if said.is_empty() { "listed".into() } else { said.join(" ") }
}

/// A selector in the words of the cluster file; empty for the empty one.
fn selector_text(selector: &Selector) -> String {
    let Selector { uuid, serial, macs, hostname, asset, product, manufacturer, board_serial, labels } = selector;
    let single = [
        ("uuid", uuid),
        ("serial", serial),
        ("hostname", hostname),
        ("asset", asset),
        ("product", product),
        ("manufacturer", manufacturer),
        ("board-serial", board_serial),
    ];
    let single = single.into_iter().filter(|(_, value)| !value.is_empty());
    let mut terms: Vec<String> = single.map(|(key, value)| format!("{key}={value}")).collect();
    terms.extend(macs.iter().map(|mac| format!("mac={mac}")));
    terms.extend(labels.iter().map(|(key, value)| format!("label.{key}={value}")));
    terms.join(",")
}

#[cfg(test)]
mod tests {
    use muster_state::{
        NodeName,
        record::{Admission, Role},
    };

    use super::*;

    fn mk_pool(name: &str, count: u32) -> Pool {
        Pool {
            name: name.into(),
            role: Role::Worker,
            count,
            admission: Admission::Approve,
            selector: Selector::default(),
            labels: BTreeMap::new(),
            nodes: Vec::new(),
            certificates_direct: false,
            discovery: "file".into(),
            taints: Vec::new(),
        }
    }

    fn mk_spec(pools: Vec<Pool>) -> ClusterSpec {
        ClusterSpec {
            name: "prod".into(),
            kubernetes_version: "v1.36.2".into(),
            endpoint: "k8s.prod:6443".into(),
            pod_subnet: String::new(),
            service_subnet: String::new(),
            dns_domain: String::new(),
            key_algorithm: "RSA-2048".into(),
            pools,
            kubeadm: BTreeMap::new(),
            custodian_secrets: false,
            detached_approval: None,
            cluster_info_closed: false,
            link: None,
        }
    }

    #[test]
    fn equal_specs_differ_in_nothing() {
        let spec = mk_spec(vec![mk_pool("worker", 3)]);
        assert_eq!(changes(&spec, &spec.clone()), Vec::<String>::new());
    }

    #[test]
    fn each_field_is_one_line_with_both_values() {
        let old = mk_spec(vec![mk_pool("worker", 3)]);
        let mut new = mk_spec(vec![mk_pool("worker", 5)]);
        new.pod_subnet = "10.244.0.0/16".into();
        new.pools[0].labels.insert("rack".into(), "7".into());
        assert_eq!(
            changes(&old, &new),
            [
                "spec.kubernetes.podSubnet: (none) → 10.244.0.0/16",
                "spec.pools[worker].count: 3 → 5",
                "spec.pools[worker].labels[rack]: (none) → \"7\"",
            ]
        );
    }

    #[test]
    fn a_named_node_is_one_line_however_it_is_told_apart() {
        let old = mk_spec(vec![mk_pool("worker", 0)]);
        let mut new = old.clone();
        let selector = Selector { uuid: "4c4c".into(), ..Selector::default() };
        let node = |name: &str, address: &str, selector| NamedNode {
            name: NodeName::parse(name).unwrap(),
            address: address.into(),
            selector,
        };
        new.pools[0].nodes = vec![node("w1", "192.0.2.1", selector), node("w2", "", Selector::default())];
        assert_eq!(
            changes(&old, &new),
            [
                "spec.pools[worker].nodes[w1]: (none) → 192.0.2.1 uuid=4c4c",
                "spec.pools[worker].nodes[w2]: (none) → listed",
            ]
        );
    }

    #[test]
    fn trees_are_compared_leaf_by_leaf() {
        let (mut old, mut new) = (mk_spec(Vec::new()), mk_spec(Vec::new()));
        old.kubeadm.insert("cluster".into(), r#"{"networking":{"dnsDomain":"a"},"proxy":{}}"#.into());
        new.kubeadm.insert("cluster".into(), r#"{"networking":{"dnsDomain":"b"},"proxy":{}}"#.into());
        assert_eq!(changes(&old, &new), ["spec.kubeadm.cluster.networking.dnsDomain: \"a\" → \"b\""]);
    }

    #[test]
    fn another_order_is_a_difference_too() {
        let (old, new) = (vec![mk_pool("a", 1), mk_pool("b", 1)], vec![mk_pool("b", 1), mk_pool("a", 1)]);
        assert_eq!(changes(&mk_spec(old), &mk_spec(new)), ["spec.pools: the same in another order"]);
    }

    #[test]
    fn a_pool_that_goes_takes_all_its_lines_with_it() {
        let lines = changes(&mk_spec(vec![mk_pool("gpu", 2)]), &mk_spec(Vec::new()));
        assert!(lines.contains(&"spec.pools[gpu].count: 2 → (none)".to_owned()), "{lines:?}");
        assert!(lines.contains(&"spec.pools[gpu].role: worker → (none)".to_owned()), "{lines:?}");
    }
}
