//! Pools and the nodes they know by name.

use muster_proto::admin::v1::{NamedNode as WireNode, Pool as Wire};
use muster_state::{
    NodeName,
    id::dns1123_label,
    record::{Admission, NamedNode, Pool, Role},
};

use crate::{
    api::wire::{selector, word},
    kubeadm::{config::Taint, labels},
    operations::OperationError,
};

/// Discovery by a file with the CA embedded, over the node's stream.
const FILE: &str = "file";
/// Discovery by token, with pins of the CA.
const TOKEN: &str = "token";
/// Discovery by token without pins: the CA is not verified.
const TOKEN_UNSAFE: &str = "token-unsafe";

const ROLES: [(&str, Role); 2] = [("control-plane", Role::ControlPlane), ("worker", Role::Worker)];
const ADMISSIONS: [(&str, Admission); 3] =
    [("approve", Admission::Approve), ("token", Admission::Token), ("bound", Admission::Bound)];
const CERTIFICATES: [(&str, bool); 3] = [("secret", false), ("direct", true), ("", false)];
const DISCOVERIES: [(&str, &str); 4] = [(FILE, FILE), (TOKEN, TOKEN), (TOKEN_UNSAFE, TOKEN_UNSAFE), ("", FILE)];

/// The role a word means.
pub fn role(field: &str, text: &str) -> Result<Role, OperationError> {
    word::parse(field, text, &ROLES)
}

/// The admission a word means; empty: `default`.
pub fn admission(field: &str, text: &str, default: Admission) -> Result<Admission, OperationError> {
    if text.is_empty() { Ok(default) } else { word::parse(field, text, &ADMISSIONS) }
}

/// Parses the pool at an index; `default` is its cluster's admission.
pub fn parse(at: usize, wire: Wire, default: Admission) -> Result<Pool, OperationError> {
    let Wire { name, role: role_word, count, admission: admission_word, r#match, nodes, certificates, .. } = &wire;
    dns1123_label(name).map_err(|problem| OperationError::invalid(format!("spec.pools[{at}].name"), problem))?;
    let field = |of: &str| format!("spec.pools[{name}].{of}");
    wire.labels.iter().try_for_each(|(key, value)| label(&field("labels"), key, value))?;
    let certificates_direct = word::parse(&field("certificates"), certificates, &CERTIFICATES)?;
    let named = nodes.iter().enumerate().map(|(at, node)| named_node(&field(&format!("nodes[{at}]")), node));
    Ok(Pool {
        name: name.clone(),
        role: role(&field("role"), role_word)?,
        count: *count,
        admission: admission(&field("admission"), admission_word, default)?,
        selector: selector::parse(&field("match"), r#match.clone())?,
        labels: wire.labels.clone(),
        nodes: named.collect::<Result<_, _>>()?,
        certificates_direct,
        discovery: discovery(&field("discovery"), &wire)?.to_owned(),
        taints: taints(&field("taints"), &wire.taints)?,
    })
}

/// Skipping the verification of the CA must be written out, and only where it means something.
fn discovery(field: &str, wire: &Wire) -> Result<&'static str, OperationError> {
    let form = word::parse(field, &wire.discovery, &DISCOVERIES)?;
    match (form, wire.unsafe_skip_ca_verification) {
        (TOKEN_UNSAFE, false) => {
            let problem = "token-unsafe lets anybody on the network pose as the cluster; \
                           it needs unsafeSkipCAVerification: true";
            Err(OperationError::invalid(field, problem))
        }
        (FILE, true) => {
            let problem = "unsafeSkipCAVerification has a meaning only with discovery: token";
            Err(OperationError::invalid(field, problem))
        }
        (TOKEN, true) => Ok(TOKEN_UNSAFE),
        (form, _) => Ok(form),
    }
}

fn taints(field: &str, texts: &[String]) -> Result<Vec<String>, OperationError> {
    for text in texts {
        text.parse::<Taint>().map_err(|err| OperationError::invalid(field, err))?;
    }
    Ok(texts.to_vec())
}

/// Labels go to the kubelet's command line, comma-separated: what is no label there would be several.
fn label(field: &str, key: &str, value: &str) -> Result<(), OperationError> {
    if labels::is_key(key) && labels::is_value(value) {
        return Ok(());
    }
    Err(OperationError::invalid(field, format!("{key:?}: {value:?} is no Kubernetes label")))
}

fn named_node(field: &str, wire: &WireNode) -> Result<NamedNode, OperationError> {
    let name = NodeName::parse(&wire.name).map_err(|err| OperationError::invalid(format!("{field}.name"), err))?;
    let selector = selector::parse(&format!("{field}.match"), wire.r#match.clone())?;
    Ok(NamedNode { name, address: wire.address.clone(), selector })
}

/// A pool as it is shown.
pub fn render(pool: &Pool) -> Wire {
    let node = |node: &NamedNode| WireNode {
        name: node.name.to_string(),
        address: node.address.clone(),
        r#match: selector::render(&node.selector),
    };
    Wire {
        name: pool.name.clone(),
        role: pool.role.to_string(),
        count: pool.count,
        admission: pool.admission.to_string(),
        r#match: selector::render(&pool.selector),
        labels: pool.labels.clone(),
        taints: pool.taints.clone(),
        nodes: pool.nodes.iter().map(node).collect(),
        certificates: if pool.certificates_direct { "direct" } else { "secret" }.into(),
        discovery: pool.discovery.clone(),
        unsafe_skip_ca_verification: pool.discovery == TOKEN_UNSAFE,
    }
}
