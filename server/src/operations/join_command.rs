//! A plain `kubeadm join` line that works now, or a refusal that says why none can be had.

use std::time::Duration;

use anyhow::anyhow;
use muster_state::{
    ClusterId, TokenId,
    command::ReleaseJoinCommand,
    record::{BootstrapToken as Record, BootstrapTokenState, Cluster, Purpose, Role},
};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{OperationError, Unsealed, mint_token, payload::open_certificate_key, vault::Secret};
use crate::{
    clock::now_ms,
    kubeadm::{
        join_command::{JoinCommand, Trust},
        pin::pins_of_pem,
        token::BootstrapToken,
    },
    seal::SecretText,
};

/// How long a custodian may take to make the token known: kubectl takes a second, a busy API server some more.
const CUSTODIAN_TIMEOUT: Duration = Duration::from_secs(25);
/// `kubeadm-certs` lives two hours after its upload; a line must still work some minutes after it was printed.
const CERTIFICATES_USABLE_MS: u64 = 110 * 60 * 1000;

/// A line, and until when it works.
pub struct Line {
    /// The line.
    pub text: SecretText,
    /// End of the token's life, milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// Public part of its token.
    pub token: TokenId,
}

/// Takes a live token of that role, or mints one and waits until a custodian has made it known to the cluster.
pub async fn run(
    server: &Unsealed,
    id: &ClusterId,
    role: Role,
    ttl_ms: u64,
    caller: String,
) -> Result<Line, OperationError> {
    let cluster =
        server.ledger.read(|state| state.cluster(id).cloned()).map_err(crate::ledger::ProposeError::Refused)?;
    check(server, &cluster, role)?;
    let wanted_until = now_ms().saturating_add(ttl_ms);
    let token = match live(server, id, role, wanted_until) {
        Some(token) => token,
        None => {
            let minted = mint_token::run(server, id, Purpose::JoinCommand(role), ttl_ms).await?;
            present(server, &minted).await?
        }
    };
    // Trust rule 6: the log says who gets it before anything is unsealed; without a quorum no secret moves.
    server.ledger.propose(ReleaseJoinCommand { token: token.id.clone(), role, caller }).await?;
    // Read again: the certificate key may have been replaced while a custodian was waited for.
    let cluster =
        server.ledger.read(|state| state.cluster(id).cloned()).map_err(crate::ledger::ProposeError::Refused)?;
    render(server, &cluster, role, &token)
}

fn check(server: &Unsealed, cluster: &Cluster, role: Role) -> Result<(), OperationError> {
    let name = &cluster.spec.name;
    if !cluster.initialised {
        let why = format!("cluster {name} has no control plane yet, so no token is known to it; bring one up first");
        return Err(OperationError::NotNow(why));
    }
    let custodian =
        server.ledger.read(|state| state.custodian(&cluster.id).map(|node| (node.id.clone(), node.attached.is_some())));
    let Some((custodian, is_attached)) = custodian else {
        let why = format!(
            "cluster {name} is detached and has no custodian (a joined control plane with an agent): nobody can make a token known to it"
        );
        return Err(OperationError::NotNow(why));
    };
    if live(server, &cluster.id, role, now_ms()).is_none() && !is_attached {
        return Err(OperationError::NotNow(format!(
            "custodian {custodian} of cluster {name} is not attached; start its agent"
        )));
    }
    let age = now_ms().saturating_sub(cluster.certificates_uploaded_ms);
    if role == Role::ControlPlane && age > CERTIFICATES_USABLE_MS {
        let why = format!(
            "kubeadm-certs of cluster {name} is no longer there; it is uploaded again when a control plane with an agent joins"
        );
        return Err(OperationError::NotNow(why));
    }
    Ok(())
}

fn live(server: &Unsealed, cluster: &ClusterId, role: Role, until_ms: u64) -> Option<Record> {
    server.ledger.read(|state| {
        let of_role = state.bootstrap_tokens.values().filter(|token| {
            token.cluster == *cluster && token.purpose == Purpose::JoinCommand(role) && token.is_live(now_ms())
        });
        of_role.filter(|token| token.expires_ms >= until_ms).max_by_key(|token| token.expires_ms).cloned()
    })
}

async fn present(server: &Unsealed, id: &TokenId) -> Result<Record, OperationError> {
    let mut watch = server.ledger.watch();
    let found = timeout(CUSTODIAN_TIMEOUT, async {
        loop {
            let token = server.ledger.read(|state| state.bootstrap_tokens.get(id).cloned());
            match token {
                Some(token) if token.state == BootstrapTokenState::Present => return Ok(token),
                Some(token) if token.state == BootstrapTokenState::Minted => {}
                Some(_) | None => return Err(OperationError::NotNow(format!("token {id} was revoked meanwhile"))),
            }
            watch.any().await.map_err(|stopped| OperationError::NotNow(stopped.to_string()))?;
        }
    });
    found.await.unwrap_or_else(|_| {
        Err(OperationError::Timeout(format!(
            "the custodian did not make token {id} known to the cluster in time; see `muster events -w`"
        )))
    })
}

fn render(server: &Unsealed, cluster: &Cluster, role: Role, record: &Record) -> Result<Line, OperationError> {
    let secret = Secret::BootstrapToken(&cluster.id, &record.id).open_text(&server.keys()?.sealer, &record.secret)?;
    let whole = Zeroizing::new(format!("{}.{}", record.id, *secret));
    let token = BootstrapToken::parse(&whole).map_err(|err| anyhow!(err))?;
    let ca = cluster.certificates.iter().find(|ca| ca.name == "ca.crt").ok_or_else(|| anyhow!("no ca.crt"))?;
    let pins = pins_of_pem(ca.pem.as_bytes()).map_err(|err| anyhow!(err))?;
    let endpoint = cluster.spec.endpoint.parse().map_err(|err| anyhow!("stored endpoint: {err}"))?;
    let key = match role {
        Role::ControlPlane => Some(open_certificate_key(server, &cluster.id, cluster)?),
        Role::Worker => None,
    };
    let line =
        JoinCommand { endpoint: &endpoint, token: &token, trust: Trust::Pins(&pins), control_plane: key.as_ref() };
    let text = line.render().map_err(|err| anyhow!(err))?;
    Ok(Line { text, expires_ms: record.expires_ms, token: record.id.clone() })
}
