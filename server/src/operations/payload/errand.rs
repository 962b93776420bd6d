//! For a custodian: objects to apply or delete through the cluster's API.

use anyhow::Context as _;
use jiff::Timestamp;
use muster_state::record::{BootstrapToken, Cluster, Errand, ErrandKind, Purpose, Role};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{File, Payload, Records, init, open_token};
use crate::{
    kubeadm::{
        group::{self, BootstrapGroup},
        rbac::{CsrApproval, bindings},
        token_secret::{NAMESPACE, TokenSecret, Usages, object_name},
    },
    operations::Unsealed,
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
        ErrandKind::ListEtcdMembers(_) => Ok(Payload::default()),
    }
}

/// RBAC of Muster's own bootstrap groups. Until there is a link to the API, the cluster itself approves the client
/// certificates of these groups; such a token may then claim any node name.
pub(super) fn custodian(cluster: &Cluster) -> anyhow::Result<Payload> {
    let mut items = Vec::new();
    for role in [group::Role::Worker, group::Role::ControlPlane] {
        items.extend(bindings(&cluster.spec.name, role, CsrApproval::Automatic)?);
    }
    Ok(Payload { manifest: list(items)?, ..Payload::default() })
}

fn apply_tokens(server: &Unsealed, records: &Records) -> anyhow::Result<Payload> {
    let (mut items, mut scrub) = (Vec::new(), Vec::new());
    for record in &records.tokens {
        let token = open_token(server, record)?;
        let role = token_role(server, record);
        let (usages, description) = match &record.purpose {
            Purpose::Node(node) => (node_usages(server, records, node), format!("Muster: join of node {node}")),
            Purpose::JoinCommand(_) => (Usages::BOTH, "Muster: join-command".to_owned()),
        };
        let expires = i64::try_from(record.expires_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let secret = TokenSecret {
            usages,
            groups: vec![BootstrapGroup::of_muster(&records.cluster.spec.name, role)?],
            expires: Some(expires.context("an expiry out of range")?),
            description: Some(description),
        };
        items.push(secret.manifest(&token)?.expose().clone());
        scrub.push(Zeroizing::new(token.expose_secret().to_owned()));
    }
    Ok(Payload { manifest: list(items)?, scrub, ..Payload::default() })
}

fn token_role(server: &Unsealed, record: &BootstrapToken) -> group::Role {
    let role = match &record.purpose {
        Purpose::JoinCommand(role) => Some(*role),
        Purpose::Node(node) => server.ledger.read(|state| state.nodes.get(node)?.placement().map(|place| place.role)),
    };
    match role {
        Some(Role::ControlPlane) => group::Role::ControlPlane,
        Some(Role::Worker) | None => group::Role::Worker,
    }
}

/// A node that discovers by token needs its token signed; all others get one that can't forge a signature.
fn node_usages(server: &Unsealed, records: &Records, node: &muster_state::NodeId) -> Usages {
    let by_token = server.ledger.read(|state| {
        let place = state.nodes.get(node)?.placement()?;
        Some(records.cluster.spec.pool(&place.pool)?.discovery != "file")
    });
    if by_token == Some(true) { Usages::BOTH } else { Usages::AUTHENTICATION }
}

fn list(items: Vec<Value>) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    Ok(Zeroizing::new(serde_json::to_vec(&list)?))
}
