//! Labels of Nodes: what is one, and which a kubelet may set on its own Node; the others must be set by somebody else.
//!
//! The rules are those of the kubelet's `--node-labels` and of the admission plugin NodeRestriction (kubernetes
//! `staging/src/k8s.io/kubelet/pkg/apis/well_known_labels.go`): outside of the namespaces of Kubernetes any label, inside of them
//! the well-known ones and two namespaces.

/// Labels in the namespaces of Kubernetes that a kubelet may set.
const WELL_KNOWN: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
const KUBELETS_NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
const KUBERNETES_NAMESPACES: [&str; 2] = ["kubernetes.io", "k8s.io"];

/// Longest name, and longest value.
const WORD_MAX: usize = 63;

/// Whether it is a key of a label or taint: a name, with a DNS prefix or without.
#[must_use]
pub fn is_key(text: &str) -> bool {
    match text.rsplit_once('/') {
        Some((prefix, name)) => muster_state::id::dns1123_subdomain(prefix).is_ok() && is_word(name),
        None => is_word(text),
    }
}

/// Whether it is a value of a label or taint.
#[must_use]
pub fn is_value(text: &str) -> bool {
    text.is_empty() || is_word(text)
}

fn is_word(text: &str) -> bool {
    let is_edge = |end: Option<u8>| end.is_some_and(|end| end.is_ascii_alphanumeric());
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    text.len() <= WORD_MAX && is_edge(text.bytes().next()) && is_edge(text.bytes().last()) && text.bytes().all(allowed)
}

/// Whether a kubelet that is given this label starts, and gets its Node with it.
#[must_use]
pub fn kubelet_may_set(key: &str) -> bool {
    let Some((namespace, _)) = key.split_once('/') else { return true };
    let is_in = |of: &str| namespace == of || namespace.ends_with(&format!(".{of}"));
    !KUBERNETES_NAMESPACES.iter().any(|of| is_in(of))
        || WELL_KNOWN.contains(&key)
        || KUBELETS_NAMESPACES.iter().any(|of| is_in(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelet_sets_its_own_labels_and_not_those_that_roles_rest_on() {
        for own in [
            "rack",
            "example.com/rack",
            "topology.kubernetes.io/zone",
            "node.kubernetes.io/gpu",
            "a.kubelet.kubernetes.io/b",
        ] {
            assert!(kubelet_may_set(own), "{own}");
        }
        for others in [
            "node-role.kubernetes.io/worker",
            "node-restriction.kubernetes.io/team",
            "kubernetes.io/anything",
            "a.k8s.io/b",
            "topology.kubernetes.io/rack",
        ] {
            assert!(!kubelet_may_set(others), "{others}");
        }
    }
}
