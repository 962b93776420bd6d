//! For a custodian: objects to apply or delete through the cluster's API.

use muster_state::record::{self, Errand, ErrandKind};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{File, Payload, Records, init};
use crate::{
    kubeadm::{
        discovery::{CLUSTER_INFO_BINDING, CLUSTER_INFO_NAMESPACE},
        link_rbac,
        rbac::{CsrApproval, KUBEADMS_APPROVALS, rights},
        token_secret::{NAMESPACE, object_name},
    },
    operations::{Unsealed, token_object},
};

pub(super) fn render(server: &Unsealed, records: &Records, errand: &Errand) -> anyhow::Result<Payload> {
    match &errand.kind {
        ErrandKind::ApplyTokens(_) => apply_tokens(server, records),
        ErrandKind::DeleteTokens(tokens) => {
            let name = |id: &muster_state::TokenId| format!("secret/{NAMESPACE}/{}", object_name(id.as_str()));
            Ok(Payload { delete: tokens.iter().map(name).collect(), ..Payload::default() })
        }
        ErrandKind::UploadCertificates => {
            let (rendered, scrub) = init::config(server, records)?;
            let file = File::transient(&format!("{}.yaml", errand.step_id()), rendered.file.expose());
            let config_path = file.path.clone();
            Ok(Payload { files: vec![file], config_path, scrub, ..Payload::default() })
        }
        ErrandKind::ListEtcdMembers(_) | ErrandKind::ObserveRequests { .. } | ErrandKind::ConcludeRequests(_) => {
            Ok(Payload::default())
        }
    }
}

/// RBAC of Muster's own bootstrap groups, and where the cluster is linked, of the leader's link. Where Muster does not approve,
/// the cluster itself approves the client certificates of these groups; such a token may then claim any node name. Where it does,
/// the cluster approves none.
pub(super) fn custodian(records: &Records) -> anyhow::Result<Payload> {
    let (spec, mut items) = (&records.cluster.spec, Vec::new());
    let approval = match spec.csr_approval() {
        record::CsrApproval::Muster | record::CsrApproval::Strict => CsrApproval::Explicit,
        record::CsrApproval::Auto => CsrApproval::Automatic,
    };
    items.extend(rights(&spec.name, true, approval)?);
    if spec.link.is_some() {
        items.extend(link_rbac::objects(&spec.name, !spec.secrets_by_custodian())?);
    }
    let mut delete = match approval {
        CsrApproval::Explicit => KUBEADMS_APPROVALS.map(|name| format!("clusterrolebinding//{name}")).to_vec(),
        CsrApproval::Automatic => Vec::new(),
    };
    if spec.cluster_info_closed {
        delete.push(format!("rolebinding/{CLUSTER_INFO_NAMESPACE}/{CLUSTER_INFO_BINDING}"));
    }
    Ok(Payload { manifest: list(items)?, delete, ..Payload::default() })
}

fn apply_tokens(server: &Unsealed, records: &Records) -> anyhow::Result<Payload> {
    let (mut items, mut scrub) = (Vec::new(), Vec::new());
    for record in &records.tokens {
        let made = token_object::render(server, &records.cluster.spec, record)?;
        items.push(made.secret.expose().clone());
        scrub.push(Zeroizing::new(made.token.expose_secret().to_owned()));
    }
    Ok(Payload { manifest: list(items)?, scrub, ..Payload::default() })
}

fn list(items: Vec<Value>) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    Ok(Zeroizing::new(serde_json::to_vec(&list)?))
}
