//! What a step needs on its machine: files, configuration, objects. Made only after a `Release` has committed, and
//! handed on only to be sealed to the node's own key.

mod errand;
mod init;
mod join;
mod node_inputs;
mod pki_files;
pub mod release;

use anyhow::{Context as _, anyhow};
use muster_state::{
    ClusterId, NodeId, TokenId,
    record::{BootstrapToken, Cluster, Errand, Node, Placement, Verb},
};
use zeroize::Zeroizing;

use super::{Unsealed, vault::Secret};
use crate::kubeadm::{
    certificate_key::CertificateKey,
    config::{Extra, KeyAlgorithm},
    endpoint::Endpoint,
    token,
    version::KubernetesVersion,
};

/// Where Muster's own files of a join lie on the machine: memory on every system with /run.
const RUN_DIR: &str = "/run/muster";

/// What a step needs. Secret as a whole.
#[derive(Default)]
pub struct Payload {
    /// Files to lay down.
    pub files: Vec<File>,
    /// Which of them is kubeadm's configuration.
    pub config_path: String,
    /// A JSON `List` for kubectl.
    pub manifest: Zeroizing<Vec<u8>>,
    /// `kind/namespace/name` to delete.
    pub delete: Vec<String>,
    /// Values to blank out of output.
    pub scrub: Vec<Zeroizing<String>>,
}

/// A file for a machine.
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: Zeroizing<Vec<u8>>,
    /// Removed when the attempt has ended.
    pub transient: bool,
}

impl File {
    fn transient(name: &str, content: &str) -> Self {
        let content = Zeroizing::new(content.as_bytes().to_vec());
        Self { path: format!("{RUN_DIR}/{name}"), mode: 0o600, content, transient: true }
    }
}

/// The records a payload is made from, taken out of the state at once.
struct Records {
    cluster: Cluster,
    node: Node,
    place: Placement,
    tokens: Vec<BootstrapToken>,
    errand: Option<Errand>,
}

/// The payload of one step of a node (an errand's step id included).
pub fn render(server: &Unsealed, node: &NodeId, step: &str) -> anyhow::Result<Payload> {
    let records = records(server, node, step)?;
    if let Some(errand) = &records.errand {
        return errand::render(server, &records, errand);
    }
    let verb =
        records.node.step(step).map(|step| step.verb).with_context(|| format!("node {node} has no step {step}"))?;
    match verb {
        Verb::Init => init::render(server, &records),
        Verb::Custodian => errand::custodian(&records),
        Verb::JoinPrepare | Verb::JoinEtcd | Verb::JoinFinish | Verb::JoinWhole | Verb::JoinWorker => {
            join::render(server, &records, verb)
        }
        Verb::WaitReady | Verb::Reset => Ok(Payload::default()),
    }
}

fn records(server: &Unsealed, id: &NodeId, step: &str) -> anyhow::Result<Records> {
    server.ledger.read(|state| {
        let node = state.node(id)?.clone();
        let place = node.placement().cloned().ok_or_else(|| anyhow!("node {id} has not been admitted"))?;
        let cluster = state.cluster(&place.cluster)?.clone();
        let errand = Errand::number_of(step).and_then(|number| state.errands.get(&number)).cloned();
        let of_node = node.bootstrap_token.iter();
        let wanted: Vec<&TokenId> = match errand.as_ref().map(|errand| &errand.kind) {
            Some(muster_state::record::ErrandKind::ApplyTokens(tokens)) => tokens.iter().collect(),
            Some(_) => Vec::new(),
            None => of_node.chain(cluster.first_token.iter()).collect(),
        };
        let tokens = wanted.into_iter().filter_map(|id| state.bootstrap_tokens.get(id)).cloned().collect();
        Ok(Records { cluster, node, place, tokens, errand })
    })
}

impl Records {
    fn version(&self) -> anyhow::Result<KubernetesVersion> {
        Ok(KubernetesVersion::parse(&self.cluster.spec.kubernetes_version)?)
    }

    fn endpoint(&self) -> anyhow::Result<Endpoint> {
        Ok(self.cluster.spec.endpoint.parse()?)
    }

    fn token(&self, id: Option<&TokenId>) -> anyhow::Result<&BootstrapToken> {
        let found = id.and_then(|id| self.tokens.iter().find(|token| token.id == *id));
        found.ok_or_else(|| anyhow!("node {} has no bootstrap token", self.node.id))
    }
}

/// The kubeadm form of a stored token.
pub(super) fn open_token(server: &Unsealed, record: &BootstrapToken) -> anyhow::Result<token::BootstrapToken> {
    let keys = server.keys()?;
    let secret = Secret::BootstrapToken(&record.cluster, &record.id).open_text(&keys.sealer, &record.secret)?;
    let whole = Zeroizing::new(format!("{}.{}", record.id, *secret));
    token::BootstrapToken::parse(&whole).context("a stored bootstrap token is malformed")
}

/// The certificate key of the present join window.
pub(super) fn open_certificate_key(
    server: &Unsealed,
    id: &ClusterId,
    cluster: &Cluster,
) -> anyhow::Result<CertificateKey> {
    let text = Secret::CertificateKey(id).open_text(&server.keys()?.sealer, &cluster.certificate_key)?;
    CertificateKey::parse(&text).context("a stored certificate key is malformed")
}

/// The cluster file's own kubeadm fields.
pub(super) fn extra(cluster: &Cluster) -> anyhow::Result<Extra> {
    let trees = cluster.spec.kubeadm.iter().map(|(name, json)| {
        Ok((name.clone(), serde_json::from_str(json).with_context(|| format!("stored kubeadm.{name}"))?))
    });
    let trees: serde_json::Map<String, serde_json::Value> = trees.collect::<anyhow::Result<_>>()?;
    Ok(serde_json::from_value(trees.into())?)
}

fn key_algorithm(name: &str) -> anyhow::Result<KeyAlgorithm> {
    use KeyAlgorithm::{EcdsaP256, EcdsaP384, Rsa2048, Rsa3072, Rsa4096};
    let all = [Rsa2048, Rsa3072, Rsa4096, EcdsaP256, EcdsaP384];
    all.into_iter().find(|algorithm| algorithm.name() == name).ok_or_else(|| anyhow!("unknown key algorithm {name:?}"))
}
