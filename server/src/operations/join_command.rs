//! A plain `kubeadm join` line that works now, or a refusal that says why none can be had.

use std::time::Duration;

use anyhow::anyhow;
use muster_state::{
    ClusterId, NodeName, TokenId,
    command::{ExtendJoinWindow, ReleaseJoinCommand, RevokeToken},
    limits,
    record::{BootstrapToken as Record, BootstrapTokenState, Cluster, CsrApproval, LinkCondition, Purpose, Role},
};
use tokio::time::timeout;

use super::{
    OperationError, Unsealed, mint_token,
    payload::{open_certificate_key, open_token},
    urls::DiscoveryPlace,
};
use crate::{
    clock::now_ms,
    kubeadm::{
        join_command::{By, Https, JoinCommand, Trust},
        pin::pins_of_pem,
    },
    pki::certificates_to_pem,
    seal::SecretText,
};

/// How long a custodian or a link may take to make the token known: a second, and a busy API server some more. The bootstrap
/// signer takes a fraction of one.
const KNOWN_WITHIN: Duration = Duration::from_secs(25);

/// What line is wanted.
#[derive(Clone, Debug)]
pub struct Order {
    /// What the machine joins as.
    pub role: Role,
    /// The one node that the line is for.
    pub node_name: Option<NodeName>,
    /// How the machine finds the cluster.
    pub discovery: Discovery,
    /// How long it is to work.
    pub ttl_ms: u64,
    /// SPIFFE id of the operator.
    pub caller: String,
}

/// How a machine without an agent finds its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// By token: in `cluster-info`, which everybody must be allowed to read.
    Token,
    /// In a file that this server serves, with the token beside it.
    Https,
    /// The same with the token in the URL and in the file.
    HttpsEmbedded,
}

impl Discovery {
    /// What the token of such a line is for.
    fn purpose(self, role: Role, name: Option<NodeName>) -> Purpose {
        match (self, name) {
            (Self::Token, Some(name)) => Purpose::NamedJoinCommand(role, name),
            (Self::Token, None) => Purpose::JoinCommand(role),
            (Self::Https | Self::HttpsEmbedded, name) => Purpose::FileJoinCommand(role, name),
        }
    }
}

/// A line, and until when it works.
pub struct Line {
    /// The line.
    pub text: SecretText,
    /// End of the token's life, milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// Public part of its token.
    pub token: TokenId,
    /// Who approves the certificate request of the machine.
    pub approval: Approval,
}

/// Who approves the certificate request of a machine that joins with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Muster, the first one for the name that the line is for.
    Muster,
    /// Somebody with kubectl: the line stands for no machine that Muster knows.
    Person,
    /// The cluster itself, for any name.
    Cluster,
}

impl Approval {
    fn of(cluster: &Cluster, purpose: &Purpose) -> Self {
        match cluster.spec.csr_approval() {
            CsrApproval::Muster | CsrApproval::Strict if purpose.line_name().is_some() => Self::Muster,
            CsrApproval::Muster | CsrApproval::Strict => Self::Person,
            CsrApproval::Auto => Self::Cluster,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Muster => "muster",
            Self::Person => "person",
            Self::Cluster => "cluster",
        }
    }
}

/// Takes a live token of that kind that nobody has used, or mints one and waits until the cluster knows it and, where it is
/// linked and the cluster is discovered with it, has signed it.
///
/// # Errors
/// If no line can be had that works now, and why.
pub async fn run(server: &Unsealed, id: &ClusterId, order: Order) -> Result<Line, OperationError> {
    let cluster = cluster(server, id)?;
    check(&cluster, order.role, order.discovery)?;
    place(server, order.discovery)?;
    if order.role == Role::ControlPlane {
        certificates(server, &cluster, order.ttl_ms).await?;
    }
    let purpose = order.discovery.purpose(order.role, order.node_name);
    let token = match live(server, id, &purpose, now_ms().saturating_add(order.ttl_ms)) {
        Some(token) => token,
        None => {
            check_way(server, &cluster)?;
            let minted = mint_token::run(server, id, purpose, order.ttl_ms).await?;
            present(server, id, &minted).await?
        }
    };
    // Trust rule 6: the log says who gets it before anything is unsealed; without a quorum no secret moves.
    let release = ReleaseJoinCommand { token: token.id.clone(), role: order.role, caller: order.caller };
    server.ledger.propose(release).await?;
    // Read again: the certificate key may have been replaced while the token was waited for.
    render(server, &self::cluster(server, id)?, &token, order.discovery)
}

fn cluster(server: &Unsealed, id: &ClusterId) -> Result<Cluster, OperationError> {
    Ok(server.ledger.read(|state| state.cluster(id).cloned()).map_err(crate::ledger::ProposeError::Refused)?)
}

/// What no token can help with.
fn check(cluster: &Cluster, role: Role, discovery: Discovery) -> Result<(), OperationError> {
    let name = &cluster.spec.name;
    let why = if !cluster.initialised {
        format!("cluster {name} has no control plane yet, so no token is known to it; bring one up first")
    } else if discovery == Discovery::Token && is_closed(cluster) {
        format!(
            "cluster-info of cluster {name} is not public (clusterInfo: closed, or its binding was removed), and kubeadm reads it \
             without credentials when it discovers by token; --discovery https does without it, and so does a machine with an agent"
        )
    } else if role == Role::ControlPlane && !cluster.keys.contains_key("sa.key") {
        format!("the keys of cluster {name} are not here, so kubeadm-certs can't be uploaded; import its whole PKI")
    } else {
        return Ok(());
    };
    Err(OperationError::NotNow(why))
}

/// `cluster-info` is not public, as far as can be known: nobody looks in a detached cluster, where it is closed with the first
/// control plane or by hand.
fn is_closed(cluster: &Cluster) -> bool {
    match cluster.link.as_ref().and_then(|link| link.cluster_info_public) {
        Some(public) => !public,
        None => cluster.spec.link.is_none() && cluster.spec.cluster_info_closed,
    }
}

/// Where this server serves the file, for a line that needs one.
fn place(server: &Unsealed, discovery: Discovery) -> Result<Option<&DiscoveryPlace>, OperationError> {
    match (discovery, &server.places.discovery) {
        (Discovery::Token, _) => Ok(None),
        (Discovery::Https | Discovery::HttpsEmbedded, Some(place)) => Ok(Some(place)),
        (Discovery::Https | Discovery::HttpsEmbedded, None) => Err(OperationError::NotNow(format!(
            "server {} serves no discovery files over HTTPS: set `port` under [discovery] in its settings and start it again, or \
             call a server that does",
            server.id
        ))),
    }
}

/// `kubeadm-certs` is there, and stays for as long as the line works. Where it is gone it is uploaded anew.
async fn certificates(server: &Unsealed, cluster: &Cluster, ttl_ms: u64) -> Result<(), OperationError> {
    let is_fresh =
        |cluster: &Cluster| now_ms().saturating_sub(cluster.certificates_uploaded_ms) < limits::CERTIFICATES_FRESH_MS;
    if !is_fresh(cluster) {
        check_way(server, cluster)?;
    }
    server.ledger.propose(ExtendJoinWindow { cluster: cluster.id.clone(), ttl_ms }).await?;
    let mut watch = server.ledger.watch();
    let uploaded = timeout(KNOWN_WITHIN, async {
        while !is_fresh(&self::cluster(server, &cluster.id)?) {
            watch.any().await.map_err(|stopped| OperationError::NotNow(stopped.to_string()))?;
        }
        Ok(())
    });
    uploaded.await.unwrap_or_else(|_| {
        let name = &cluster.spec.name;
        let why = format!("kubeadm-certs of cluster {name} was not uploaded in time; see `muster events -w`");
        Err(OperationError::Timeout(why))
    })
}

/// Somebody can make a token known to the cluster now: the link, or a custodian.
fn check_way(server: &Unsealed, cluster: &Cluster) -> Result<(), OperationError> {
    let name = &cluster.spec.name;
    if !cluster.spec.secrets_by_custodian() {
        return match &cluster.link {
            Some(link) if link.condition == LinkCondition::Connected => Ok(()),
            link => Err(OperationError::NotNow(format!(
                "the link to the API of cluster {name} is {}: nobody can make a token known to it",
                link.as_ref().map_or("not up yet".to_owned(), |link| format!("{:?}: {}", link.condition, link.message))
            ))),
        };
    }
    let custodian =
        server.ledger.read(|state| state.custodian(&cluster.id).map(|node| (node.id.clone(), node.attached.is_some())));
    match custodian {
        None => Err(OperationError::NotNow(format!(
            "cluster {name} has no custodian (a joined control plane with an agent): nobody can make a token known to it"
        ))),
        Some((custodian, false)) => Err(OperationError::NotNow(format!(
            "custodian {custodian} of cluster {name} is not attached; start its agent"
        ))),
        Some((_, true)) => Ok(()),
    }
}

/// Neither spent nor gone from the cluster.
fn live(server: &Unsealed, cluster: &ClusterId, purpose: &Purpose, until_ms: u64) -> Option<Record> {
    let is_good = |token: &&Record| {
        token.cluster == *cluster
            && token.purpose == *purpose
            && token.is_live(now_ms())
            && token.expires_ms >= until_ms
            && token.differs.is_none()
            && token.requests.is_empty()
    };
    let longest = |token: &&Record| token.expires_ms;
    server.ledger.read(|state| state.bootstrap_tokens.values().filter(is_good).max_by_key(longest).cloned())
}

/// Waits until it is known. One that is not in time is taken back: nobody waits for it any more.
async fn present(server: &Unsealed, cluster: &ClusterId, id: &TokenId) -> Result<Record, OperationError> {
    let mut watch = server.ledger.watch();
    let found = timeout(KNOWN_WITHIN, async {
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
    if let Ok(outcome) = found.await {
        return outcome;
    }
    let why = server.ledger.read(|state| {
        let differs = state.bootstrap_tokens.get(id).and_then(|token| token.differs);
        let link = state.clusters.get(cluster).and_then(|cluster| cluster.link.as_ref());
        let down = link.filter(|link| link.condition != LinkCondition::Connected);
        match (differs, down) {
            (Some(differs), _) => differs.sentence().to_owned(),
            (None, Some(link)) => format!("the link is {:?}: {}", link.condition, link.message),
            (None, None) => "see `muster events -w`".to_owned(),
        }
    });
    let taken_back = server.ledger.propose(RevokeToken { id: id.clone() }).await;
    taken_back
        .unwrap_or_else(|err| tracing::debug!(token = %id, %err, "a token that nobody waits for was not taken back"));
    Err(OperationError::Timeout(format!("token {id} was not made known to the cluster in time: {why}")))
}

fn render(server: &Unsealed, cluster: &Cluster, record: &Record, discovery: Discovery) -> Result<Line, OperationError> {
    let token = open_token(server, record)?;
    let ca = cluster.certificates.iter().find(|ca| ca.name == "ca.crt").ok_or_else(|| anyhow!("no ca.crt"))?;
    let pins = pins_of_pem(ca.pem.as_bytes()).map_err(|err| anyhow!(err))?;
    let endpoint = cluster.spec.endpoint.parse().map_err(|err| anyhow!("stored endpoint: {err}"))?;
    let key = match record.purpose.line_role() {
        Some(Role::ControlPlane) => Some(open_certificate_key(server, &cluster.id, cluster)?),
        Some(Role::Worker) | None => None,
    };
    let place = place(server, discovery)?;
    let url = place.map(|place| place.file(&cluster.spec.name));
    let root =
        place.filter(|place| place.of_fleet).map(|_| certificates_to_pem(std::slice::from_ref(server.anchors.root())));
    let by = match &url {
        Some(url) => By::Https(Https { url, root: root.as_deref(), embedded: discovery == Discovery::HttpsEmbedded }),
        None => By::Token { endpoint: &endpoint, trust: Trust::Pins(&pins) },
    };
    let line = JoinCommand {
        discovery: by,
        token: &token,
        control_plane: key.as_ref(),
        node_name: record.purpose.line_name().map(NodeName::as_str),
    };
    let text = line.render().map_err(|err| anyhow!(err))?;
    let approval = Approval::of(cluster, &record.purpose);
    Ok(Line { text, expires_ms: record.expires_ms, token: record.id.clone(), approval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{CLUSTER, mk_state};

    #[test]
    fn a_detached_cluster_whose_file_closes_cluster_info_gets_lines_by_file_alone() {
        let mut cluster = mk_state().clusters[&ClusterId::from(CLUSTER)].clone();
        cluster.initialised = true;
        check(&cluster, Role::Worker, Discovery::Token).unwrap();
        cluster.spec.cluster_info_closed = true;
        let refused = check(&cluster, Role::Worker, Discovery::Token).unwrap_err().to_string();
        assert!(refused.contains("--discovery https"), "{refused}");
        for discovery in [Discovery::Https, Discovery::HttpsEmbedded] {
            check(&cluster, Role::Worker, discovery).unwrap();
        }
    }
}
