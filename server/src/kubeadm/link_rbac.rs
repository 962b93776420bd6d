//! What the leader's link may do in a cluster, as manifests: the rights of one group, to which the leader's own short-lived
//! certificates belong.
//!
//! It may look at Nodes and patch them, look at certificate requests and approve those of kubelets, and of `kube-public` read
//! `cluster-info` alone, to see which tokens are signed, and take away everybody's right to read it. Of Secrets it can see none.
//! Bootstrap tokens and `kubeadm-certs` it makes, replaces and deletes by name; since RBAC limits neither `create` nor names that are
//! not known beforehand, an admission policy holds it to bootstrap tokens of this cluster's own groups, to tokens that are good for
//! nothing, and to that one Secret. Where the API server has no such policies a custodian makes them, and the link may touch no Secret.

use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::certs_secret::NAME as CERTIFICATES;
use super::discovery::{CLUSTER_INFO, CLUSTER_INFO_BINDING, CLUSTER_INFO_NAMESPACE};
use super::group::{BootstrapGroup, GroupError, Role};
use super::token_secret::NAMESPACE;
use super::version::KubernetesVersion;

/// The group of the link's certificates.
pub const GROUP: &str = "muster:link";
/// Name of every RBAC object here.
const NAME: &str = "muster:link";
/// Name of the admission policy and its binding; a colon is allowed in RBAC only.
const POLICY: &str = "muster-link";
const RBAC: &str = "rbac.authorization.k8s.io";
/// From this minor on ValidatingAdmissionPolicy is generally available.
const POLICIES_MINOR: u32 = 30;

/// Whether the API server of that version can hold the link to its own Secrets.
#[must_use]
pub fn is_possible(version: &KubernetesVersion) -> bool {
    version.minor() >= POLICIES_MINOR
}

/// Who the link is, for the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A member of a group: the link of a cluster that Muster made is one of [`GROUP`].
    Group(String),
    /// A user.
    User(String),
    /// A service account, by namespace and name.
    ServiceAccount(String, String),
}

/// The subject can't be named in a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no user:NAME, group:NAME or serviceaccount:NAMESPACE:NAME of letters, digits and any of . : @ / _ -, and none of the system's"
)]
pub struct SubjectError(String);

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let bad = || SubjectError(text.to_owned());
        // It stands between quotes in the policy's own language.
        let is_plain = |name: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || ".:@/_-".contains(c);
            // Those are everybody's, or the cluster's own.
            !name.is_empty() && !name.starts_with("system:") && name.chars().all(plain)
        };
        let (kind, name) = text.split_once(':').filter(|(_, name)| is_plain(name)).ok_or_else(bad)?;
        match (kind, name.split_once(':')) {
            ("user", _) => Ok(Self::User(name.to_owned())),
            ("group", _) => Ok(Self::Group(name.to_owned())),
            ("serviceaccount", Some((namespace, name))) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self::ServiceAccount(namespace.to_owned(), name.to_owned()))
            }
            _ => Err(bad()),
        }
    }
}

impl Subject {
    fn of_link() -> Self {
        Self::Group(GROUP.to_owned())
    }

    fn object(&self) -> Value {
        match self {
            Self::Group(name) => json!({ "apiGroup": RBAC, "kind": "Group", "name": name }),
            Self::User(name) => json!({ "apiGroup": RBAC, "kind": "User", "name": name }),
            Self::ServiceAccount(namespace, name) => {
                json!({ "kind": "ServiceAccount", "namespace": namespace, "name": name })
            }
        }
    }

    /// Whether a request is its, in the language of policies.
    fn condition(&self) -> String {
        match self {
            Self::Group(name) => format!("'{name}' in request.userInfo.groups"),
            Self::User(name) => format!("request.userInfo.username == '{name}'"),
            Self::ServiceAccount(namespace, name) => {
                format!("request.userInfo.username == 'system:serviceaccount:{namespace}:{name}'")
            }
        }
    }
}

/// The objects for a cluster of that name, to be applied after `kubeadm init`; without `secrets` the link has no rights on any, as
/// where its API server can't hold it to its own.
///
/// # Errors
/// If the name of the cluster makes no group.
pub fn objects(cluster: &str, secrets: bool) -> Result<Vec<Value>, GroupError> {
    objects_of(cluster, secrets, &Subject::of_link())
}

/// The same for the user of a kubeconfig, who may besides look whether the bindings of Muster's bootstrap groups are there.
///
/// # Errors
/// If the name of the cluster makes no group.
pub fn objects_for(cluster: &str, secrets: bool, subject: &Subject) -> Result<Vec<Value>, GroupError> {
    let mut objects = objects_of(cluster, secrets, subject)?;
    let looks =
        json!({ "apiGroups": [RBAC], "resources": ["clusterrolebindings", "rolebindings", "roles"], "verbs": ["get"] });
    let role = objects.iter_mut().find(|object| object["kind"] == "ClusterRole");
    role.and_then(|role| role["rules"].as_array_mut()).into_iter().for_each(|rules| rules.push(looks.clone()));
    Ok(objects)
}

fn objects_of(cluster: &str, secrets: bool, subject: &Subject) -> Result<Vec<Value>, GroupError> {
    let public = json!({ "name": NAME, "namespace": CLUSTER_INFO_NAMESPACE });
    let mut objects = if secrets { rights_on_secrets(cluster, subject)? } else { Vec::new() };
    objects.extend([
        cluster_role(),
        binding("ClusterRoleBinding", "ClusterRole", json!({ "name": NAME }), subject),
        json!({
            "apiVersion": format!("{RBAC}/v1"),
            "kind": "Role",
            "metadata": public.clone(),
            "rules": [{
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": [CLUSTER_INFO],
                "verbs": ["get"],
            }, {
                "apiGroups": [RBAC],
                "resources": ["rolebindings"],
                "resourceNames": [CLUSTER_INFO_BINDING],
                "verbs": ["delete"],
            }],
        }),
        binding("RoleBinding", "Role", public, subject),
    ]);
    Ok(objects)
}

fn rights_on_secrets(cluster: &str, subject: &Subject) -> Result<Vec<Value>, GroupError> {
    let named = json!({ "name": NAME, "namespace": NAMESPACE });
    // The policy comes before the right that it limits.
    Ok(vec![
        policy(cluster, subject)?,
        policy_binding(),
        json!({
            "apiVersion": format!("{RBAC}/v1"),
            "kind": "Role",
            "metadata": named.clone(),
            "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "update", "delete"] }],
        }),
        binding("RoleBinding", "Role", named, subject),
    ])
}

fn cluster_role() -> Value {
    const API: &str = "certificates.k8s.io";
    json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": "ClusterRole",
        "metadata": { "name": NAME },
        "rules": [
            { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"] },
            {
                "apiGroups": [API],
                "resources": ["certificatesigningrequests"],
                "verbs": ["get", "list", "watch"],
            },
            { "apiGroups": [API], "resources": ["certificatesigningrequests/approval"], "verbs": ["update"] },
            {
                "apiGroups": [API],
                "resources": ["signers"],
                "resourceNames": ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"],
                "verbs": ["approve"],
            },
        ],
    })
}

fn binding(kind: &str, role: &str, metadata: Value, subject: &Subject) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": kind,
        "metadata": metadata,
        "roleRef": { "apiGroup": RBAC, "kind": role, "name": NAME },
        "subjects": [subject.object()],
    })
}

/// An API server shows `data` to a policy as text in base64 or as bytes, depending on its version: both are allowed for.
fn policy(cluster: &str, subject: &Subject) -> Result<Value, GroupError> {
    let mut groups = Vec::new();
    for role in [Role::Worker, Role::ControlPlane] {
        let group = BootstrapGroup::of_muster(cluster, role)?;
        groups.extend([format!("'{}'", STANDARD.encode(group.as_str())), format!("'{group}'")]);
    }
    let groups = groups.join(", ");
    // The last one is the owner of kubeadm-certs, whose expiry ends that Secret.
    let own = |secret: &str| {
        format!(
            "{secret}.metadata.namespace == '{NAMESPACE}' && (({secret}.metadata.name == '{CERTIFICATES}' && \
             {secret}.type == 'Opaque') || ({secret}.type == 'bootstrap.kubernetes.io/token' && \
             {secret}.metadata.name.startsWith('bootstrap-token-') && \
             ('auth-extra-groups' in {secret}.data ? string({secret}.data['auth-extra-groups']) in [{groups}] : \
             !({secret}.data.exists(key, key.startsWith('usage-bootstrap-'))))))"
        )
    };
    let expires = format!("object.metadata.name == '{CERTIFICATES}' || 'expiration' in object.data");
    Ok(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": POLICY },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE", "DELETE"],
                "resources": ["secrets"],
            }] },
            "matchConditions": [{ "name": "link", "expression": subject.condition() }],
            "validations": [
                {
                    "expression": format!("request.operation == 'DELETE' || (({}) && ({expires}))", own("object")),
                    "message": "Muster makes bootstrap tokens of its own groups, which expire, kubeadm-certs, and no other Secret",
                },
                {
                    "expression": format!("request.operation == 'CREATE' || ({})", own("oldObject")),
                    "message": "Muster touches bootstrap tokens of its own groups, kubeadm-certs, and no other Secret",
                },
            ],
        },
    }))
}

fn policy_binding() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": POLICY },
        "spec": { "policyName": POLICY, "validationActions": ["Deny"] },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Vec<(String, Vec<String>, Vec<String>)> {
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let objects = objects("prod", true).unwrap();
        let rules = objects.iter().flat_map(|object| object["rules"].as_array().cloned().unwrap_or_default());
        rules
            .map(|rule| (texts(&rule["resources"]).join(","), texts(&rule["verbs"]), texts(&rule["resourceNames"])))
            .collect()
    }

    #[test]
    fn no_secret_can_be_seen_and_nothing_is_allowed_by_a_star() {
        for (resources, verbs, _) in rules() {
            assert!(!resources.contains('*') && !verbs.contains(&"*".to_owned()));
            let sees = verbs.iter().any(|verb| ["get", "list", "watch"].contains(&verb.as_str()));
            assert!(!(resources == "secrets" && sees));
        }
    }

    #[test]
    fn the_user_of_a_kubeconfig_is_held_to_the_same_and_may_look_at_bindings() {
        for (text, condition) in [
            ("group:ops", "'ops' in request.userInfo.groups"),
            ("user:muster@example.com", "request.userInfo.username == 'muster@example.com'"),
            (
                "serviceaccount:kube-system:muster",
                "request.userInfo.username == 'system:serviceaccount:kube-system:muster'",
            ),
        ] {
            let subject: Subject = text.parse().unwrap();
            let own = objects_for("prod", true, &subject).unwrap();
            assert_eq!(own[0]["spec"]["matchConditions"][0]["expression"], condition);
            let bindings: Vec<&Value> = own.iter().filter(|object| object["roleRef"].is_object()).collect();
            assert!(bindings.len() == 3 && bindings.iter().all(|binding| binding["subjects"][0] == subject.object()));
            assert!(own.iter().any(|object| object.to_string().contains("clusterrolebindings")));
            assert_eq!(own[0]["spec"]["validations"], objects("prod", true).unwrap()[0]["spec"]["validations"]);
        }
        for bad in [
            "",
            "ops",
            "user:",
            "user:o'brien",
            "group:a b",
            "serviceaccount:muster",
            "robot:x",
            "user:a\nb",
            "group:system:masters",
            "user:system:admin",
        ] {
            assert!(bad.parse::<Subject>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn without_policies_nothing_is_said_of_secrets() {
        let objects = objects("prod", false).unwrap();
        assert!(objects.iter().all(|object| !object.to_string().contains("secrets")));
        assert!(objects.iter().all(|object| object["apiVersion"] == "rbac.authorization.k8s.io/v1"));
    }

    #[test]
    fn of_config_maps_it_reads_the_public_one_alone() {
        let maps: Vec<_> = rules().into_iter().filter(|(resources, _, _)| resources == "configmaps").collect();
        assert_eq!(maps, [("configmaps".to_owned(), vec!["get".to_owned()], vec!["cluster-info".to_owned()])]);
        let objects = objects("prod", true).unwrap();
        let roles = objects.iter().filter(|object| object["metadata"]["namespace"] == "kube-public");
        let kinds: Vec<_> = roles.map(|object| object["kind"].as_str().unwrap().to_owned()).collect();
        assert_eq!(kinds, ["Role", "RoleBinding"]);
    }

    #[test]
    fn secrets_are_touched_only_where_a_policy_holds_the_link_to_its_own() {
        let is_possible = |version| is_possible(&KubernetesVersion::parse(version).unwrap());
        assert!(is_possible("v1.36.2") && is_possible("v1.30.0") && !is_possible("v1.29.4"));
        let objects = objects("prod", true).unwrap();
        assert_eq!(objects[0]["kind"], "ValidatingAdmissionPolicy");
        assert_eq!(objects[1]["spec"]["policyName"], objects[0]["metadata"]["name"]);
    }

    #[test]
    fn kubelets_signers_are_the_only_ones_it_approves_for() {
        let signers: Vec<_> = rules().into_iter().filter(|(resources, _, _)| resources == "signers").collect();
        let [(_, verbs, names)] = signers.as_slice() else { panic!("{signers:?}") };
        assert_eq!(verbs, &["approve"]);
        assert_eq!(names, &[muster_state::csr::CLIENT_SIGNER, muster_state::csr::SERVING_SIGNER]);
    }

    #[test]
    fn the_state_expects_the_groups_that_tokens_are_given() {
        for (role, state) in [
            (Role::Worker, muster_state::record::Role::Worker),
            (Role::ControlPlane, muster_state::record::Role::ControlPlane),
        ] {
            let group = BootstrapGroup::of_muster("prod", role).unwrap();
            assert_eq!(group.as_str(), muster_state::csr::bootstrap_group("prod", state));
        }
    }
}
