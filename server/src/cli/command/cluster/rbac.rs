//! `muster cluster rbac`: what an administrator applies where the kubeconfig of a cluster that was brought in may not.

use muster_proto::admin::v1::Cluster;
use serde_json::json;

use crate::cli::client::Session;
use crate::cli::console::Console;
use crate::cli::exit::{Exit, Failure};
use crate::kubeadm::{
    group::GroupError,
    link_rbac::{self, Subject},
    rbac::{CsrApproval, rights},
    version::KubernetesVersion,
};

pub(super) async fn run(
    name: &str,
    link: Option<&Subject>,
    session: &Session,
    console: &mut Console,
) -> Result<(), Failure> {
    let cluster = session.cluster(name).await?;
    console.data(&manifests(&cluster, link)?)
}

/// One List, in JSON, which kubectl reads too.
fn manifests(cluster: &Cluster, link: Option<&Subject>) -> Result<String, Failure> {
    let spec = cluster.spec.clone().unwrap_or_default();
    let approval = match spec.csr_approval.as_str() {
        "muster" | "strict" => CsrApproval::Explicit,
        _ => CsrApproval::Automatic,
    };
    let invalid = |error: GroupError| Failure::new(Exit::Invalid, error.to_string());
    let mut items = rights(&spec.name, cluster.workers_only.is_empty(), approval).map_err(invalid)?;
    if let Some(subject) = link {
        let version = KubernetesVersion::parse(&spec.kubernetes_version);
        if !version.is_ok_and(|version| link_rbac::is_possible(&version)) {
            let problem = "before Kubernetes 1.30 there is no policy that could hold the link to its own Secrets";
            return Err(Failure::new(Exit::Invalid, problem));
        }
        items.extend(link_rbac::objects_for(&spec.name, true, subject).map_err(invalid)?);
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    Ok(format!("{list:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_proto::admin::v1::ClusterSpec;

    fn names(workers_only: &str, csr_approval: &str) -> Vec<String> {
        let spec = ClusterSpec { name: "old".into(), csr_approval: csr_approval.into(), ..ClusterSpec::default() };
        let cluster = Cluster { spec: Some(spec), workers_only: workers_only.into(), ..Cluster::default() };
        let list: serde_json::Value = serde_json::from_str(&manifests(&cluster, None).unwrap()).unwrap();
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn what_is_printed_is_for_those_roles_that_can_join_and_approves_nothing_that_muster_does() {
        assert_eq!(names("no keys", "muster").len(), 4);
        assert_eq!(names("", "muster").len(), 10);
        assert_eq!(names("", "strict"), names("", "muster"));
        assert!(names("", "auto").contains(&"muster:worker:node-autoapprove".to_owned()));
    }
}
