//! The rights of Muster's bootstrap groups in a cluster that was brought in. In one that Muster made, the first control plane has
//! installed them. Nothing else is installed: what the link itself may do, its kubeconfig brings.

use http::Method;
use kube::Client;
use muster_state::record::{Cluster, CsrApproval, LinkCondition};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    call::{object, raw},
    trouble::Trouble,
};
use crate::kubeadm::rbac;

/// Who owns these fields, for the API server.
const OWNER: &str = "fieldManager=muster&force=true";

/// The bindings of such a cluster's groups.
///
/// # Errors
/// If the cluster's name makes no group.
fn wanted(cluster: &Cluster) -> Result<Vec<Value>, Trouble> {
    let approval = match cluster.spec.csr_approval() {
        CsrApproval::Muster | CsrApproval::Strict => rbac::CsrApproval::Explicit,
        CsrApproval::Auto => rbac::CsrApproval::Automatic,
    };
    rbac::rights(&cluster.spec.name, cluster.workers_only.is_empty(), approval)
        .map_err(|err| Trouble::down(LinkCondition::Failing, err.to_string()))
}

/// Makes those bindings that are not there, or not as they must be. Nothing is written where all are.
pub(super) async fn install(client: &Client, cluster: &Cluster) -> Result<(), Trouble> {
    for binding in wanted(cluster)? {
        let path = path(&binding);
        // Who may not look may still be allowed to write.
        let is_there = match object(client, &path).await {
            Ok(found) => ["roleRef", "subjects", "rules"].iter().all(|field| found[*field] == binding[*field]),
            Err(Trouble::Absent) => false,
            Err(trouble) if trouble.is_forbidden() => false,
            Err(other) => return Err(other),
        };
        if is_there {
            continue;
        }
        match put(client, &path, &binding).await {
            // kubeadm makes that Role too, with its own upload of kubeadm-certs: who may neither look nor write can't know, and need not.
            Err(trouble) if trouble.is_forbidden() && binding["kind"] == "Role" => {}
            outcome => outcome.map_err(|trouble| explained(trouble, cluster, &binding))?,
        }
    }
    Ok(())
}

fn path(binding: &Value) -> String {
    let metadata = &binding["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let api = "/apis/rbac.authorization.k8s.io/v1";
    match (metadata["namespace"].as_str(), binding["kind"].as_str()) {
        (Some(namespace), Some("Role")) => format!("{api}/namespaces/{namespace}/roles/{name}"),
        (Some(namespace), _) => format!("{api}/namespaces/{namespace}/rolebindings/{name}"),
        (None, _) => format!("{api}/clusterrolebindings/{name}"),
    }
}

async fn put(client: &Client, path: &str, binding: &Value) -> Result<(), Trouble> {
    let body = Zeroizing::new(binding.to_string().into_bytes());
    raw(client, Method::PATCH, &format!("{path}?{OWNER}"), Some(("application/apply-patch+yaml", body))).await.map(drop)
}

/// What a person can do about it.
fn explained(trouble: Trouble, cluster: &Cluster, binding: &Value) -> Trouble {
    let (object, name) = (binding["metadata"]["name"].as_str().unwrap_or_default(), &cluster.spec.name);
    let apply = format!("have an administrator apply what `muster cluster rbac {name}` prints");
    match trouble {
        Trouble::Down { condition: LinkCondition::Forbidden, wait, .. } => Trouble::Down {
            condition: LinkCondition::Forbidden,
            message: format!("the kubeconfig's user may not make {object}, which joining nodes need: {apply}"),
            wait,
        },
        Trouble::Rejected(why) => {
            let message = format!("{object} is there and binds another role ({why}): delete it");
            Trouble::down(LinkCondition::Failing, message)
        }
        other => other,
    }
}
