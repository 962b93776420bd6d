//! What Muster's bootstrap groups may do in a cluster, as manifests.
//!
//! A node's token authenticates as `system:bootstrappers:muster:<cluster>:<role>`. That group gets exactly what a join
//! needs: it may post its certificate request, look up its own Node's name and read two ConfigMaps. A worker's group
//! can neither read `kubeadm-certs` nor is its request approved by the cluster itself; kubeadm's default group can do
//! and is both, which is why Muster does not use it for nodes.
//!
//! The Roles bound here are made by `kubeadm init`.

use serde_json::{Value, json};

use super::certs_secret;
use super::group::{BootstrapGroup, GroupError, Role};
use super::token_secret::NAMESPACE;

const API_GROUP: &str = "rbac.authorization.k8s.io";

/// The ClusterRole by which the cluster itself approves client certificates of joining nodes.
const AUTO_APPROVAL: &str = "system:certificates.k8s.io:certificatesigningrequests:nodeclient";

/// Who approves the certificate requests of joining nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CsrApproval {
    /// The cluster, at once, for any node name that a token's holder asks for. Needed where Muster has no connection
    /// to the cluster and no custodian approves.
    Automatic,
    /// Muster or a person, one by one.
    Explicit,
}

/// The bindings of one role's group in one cluster, to be applied after `kubeadm init`.
pub fn bindings(cluster: &str, role: Role, approval: CsrApproval) -> Result<Vec<Value>, GroupError> {
    let group = BootstrapGroup::of_muster(cluster, role)?;
    let mut bindings = vec![
        cluster_binding(role, &group, "kubelet-bootstrap", "system:node-bootstrapper"),
        cluster_binding(role, &group, "get-nodes", "kubeadm:get-nodes"),
        system_binding(role, &group, "kubeadm-config", "kubeadm:nodes-kubeadm-config"),
        system_binding(role, &group, "kubelet-config", "kubeadm:kubelet-config"),
    ];
    if role == Role::ControlPlane {
        bindings.push(system_binding(role, &group, "kubeadm-certs", CERTIFICATES_ROLE));
    }
    if approval == CsrApproval::Automatic {
        bindings.push(cluster_binding(role, &group, AUTO_APPROVAL_NAME, AUTO_APPROVAL));
    }
    Ok(bindings)
}

/// All that the groups of one cluster need: the bindings of workers, and where control planes can be added theirs, with the Role by which
/// they read `kubeadm-certs`: kubeadm makes it only when it uploads that Secret itself.
///
/// # Errors
/// If the name of the cluster makes no group.
pub fn rights(cluster: &str, control_planes: bool, approval: CsrApproval) -> Result<Vec<Value>, GroupError> {
    let mut all = bindings(cluster, Role::Worker, approval)?;
    if control_planes {
        all.push(certificates_role());
        all.extend(bindings(cluster, Role::ControlPlane, approval)?);
    }
    Ok(all)
}

const AUTO_APPROVAL_NAME: &str = "node-autoapprove";

/// kubeadm's own auto-approval bindings (kubeadm cmd/phases/bootstraptoken/node): of the first certificate of any token of its default
/// group, and of renewals. To be deleted where approval is explicit.
pub const KUBEADMS_APPROVALS: [&str; 2] =
    ["kubeadm:node-autoapprove-bootstrap", "kubeadm:node-autoapprove-certificate-rotation"];

/// The Role by which `kubeadm-certs` is read, as kubeadm makes it when it uploads that Secret (kubeadm cmd/phases/copycerts).
fn certificates_role() -> Value {
    json!({
        "apiVersion": format!("{API_GROUP}/v1"),
        "kind": "Role",
        "metadata": { "name": CERTIFICATES_ROLE, "namespace": NAMESPACE },
        "rules": [{ "apiGroups": [""], "resources": ["secrets"], "resourceNames": [certs_secret::NAME], "verbs": ["get"] }],
    })
}

const CERTIFICATES_ROLE: &str = "kubeadm:kubeadm-certs";

fn object_name(role: Role, purpose: &str) -> String {
    format!("muster:{}:{purpose}", role.name())
}

fn cluster_binding(role: Role, group: &BootstrapGroup, purpose: &str, cluster_role: &str) -> Value {
    json!({
        "apiVersion": format!("{API_GROUP}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": { "name": object_name(role, purpose) },
        "roleRef": { "apiGroup": API_GROUP, "kind": "ClusterRole", "name": cluster_role },
        "subjects": subjects(group),
    })
}

fn system_binding(role: Role, group: &BootstrapGroup, purpose: &str, namespaced_role: &str) -> Value {
    json!({
        "apiVersion": format!("{API_GROUP}/v1"),
        "kind": "RoleBinding",
        "metadata": { "name": object_name(role, purpose), "namespace": NAMESPACE },
        "roleRef": { "apiGroup": API_GROUP, "kind": "Role", "name": namespaced_role },
        "subjects": subjects(group),
    })
}

fn subjects(group: &BootstrapGroup) -> Value {
    json!([{ "apiGroup": API_GROUP, "kind": "Group", "name": group.as_str() }])
}

#[cfg(test)]
mod tests {
    use super::super::vectors;
    use super::*;
    use std::collections::BTreeSet;

    /// Everything that kubeadm's own cluster has: kind, namespace and name of each object.
    fn kubeadms_objects() -> Vec<Value> {
        let files = ["cluster-kubeadm", "kube-system", "referenced-clusterroles"];
        let lists = files.map(|file| vectors::yaml(&format!("cluster-rsa/rbac-{file}.yaml")));
        lists.iter().flat_map(|list| list["items"].as_array().unwrap().clone()).collect()
    }

    /// A binding without what tells Muster's from kubeadm's.
    fn essence(binding: &Value) -> String {
        format!("{} {} {}", binding["kind"], binding["metadata"]["namespace"], binding["roleRef"])
    }

    fn all(role: Role, approval: CsrApproval) -> Vec<Value> {
        bindings("prod", role, approval).unwrap()
    }

    #[test]
    fn every_role_that_is_bound_exists_in_a_cluster_that_kubeadm_made() {
        let objects = kubeadms_objects();
        for binding in all(Role::ControlPlane, CsrApproval::Automatic) {
            let role = &binding["roleRef"];
            let found = objects.iter().any(|object| {
                object["kind"] == role["kind"]
                    && object["metadata"]["name"] == role["name"]
                    && object["metadata"]["namespace"] == binding["metadata"]["namespace"]
            });
            assert!(found, "{role}");
        }
    }

    #[test]
    fn a_control_planes_group_gets_exactly_what_kubeadms_default_group_has() {
        let theirs: BTreeSet<String> = kubeadms_objects()
            .iter()
            .filter(|object| {
                let subjects = object["subjects"].as_array().cloned().unwrap_or_default();
                subjects.iter().any(|subject| subject["name"] == super::super::group::KUBEADM_DEFAULT)
            })
            .map(essence)
            .collect();
        let ours: BTreeSet<String> = all(Role::ControlPlane, CsrApproval::Automatic).iter().map(essence).collect();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn a_worker_is_bound_to_four_roles_and_can_neither_read_kubeadm_certs_nor_be_auto_approved() {
        let roles: Vec<Value> =
            all(Role::Worker, CsrApproval::Explicit).iter().map(|binding| binding["roleRef"]["name"].clone()).collect();
        assert_eq!(
            roles,
            ["system:node-bootstrapper", "kubeadm:get-nodes", "kubeadm:nodes-kubeadm-config", "kubeadm:kubelet-config"]
        );
    }

    #[test]
    fn what_is_taken_away_and_what_is_made_in_its_place_are_kubeadms_own() {
        let all = kubeadms_objects();
        for name in KUBEADMS_APPROVALS {
            assert!(
                all.iter().any(|object| object["kind"] == "ClusterRoleBinding" && object["metadata"]["name"] == name)
            );
        }
        let ours = certificates_role();
        let theirs =
            all.iter().find(|object| object["kind"] == "Role" && object["metadata"]["name"] == CERTIFICATES_ROLE);
        assert_eq!(ours["rules"], theirs.unwrap()["rules"]);
    }

    #[test]
    fn names_are_musters_own_and_differ_between_roles() {
        let mut names = BTreeSet::new();
        for role in [Role::ControlPlane, Role::Worker] {
            for binding in all(role, CsrApproval::Automatic) {
                let name = binding["metadata"]["name"].as_str().unwrap().to_owned();
                assert!(name.starts_with("muster:"), "{name}");
                assert!(names.insert(name));
            }
        }
        assert_eq!(names.len(), 11);
    }

    #[test]
    fn a_cluster_name_that_makes_no_group_is_refused() {
        assert!(bindings("Prod", Role::Worker, CsrApproval::Explicit).is_err());
    }
}
