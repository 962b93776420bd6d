//! Which labels a kubelet may set on its own Node; the others must be set by somebody else.
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
