//! Makes, or takes over, everything a cluster needs before any of its machines exists.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow};
use muster_state::{
    ClusterId, Request, TokenId,
    command::CreateCluster,
    record::{ClusterSpec, Origin},
};
use zeroize::Zeroize;

use super::{OperationError, Unsealed, cluster_pki, cluster_spec, set_credentials, vault::Secret};
use crate::{
    clock::now_ms,
    kubeadm::{certificate_key::CertificateKey, token::BootstrapToken},
    pki::{ClusterPki, KeyAlgorithm, import, kubeconfig::Kubeconfig},
};

/// Lifetime of the token that `kubeadm init` creates: kubeadm's own default.
const FIRST_TOKEN_TTL_MS: u64 = 24 * 3600 * 1000;

/// Where the PKI comes from.
pub enum Pki {
    /// It is made now.
    Made,
    /// It is brought in.
    Imported(Brought),
}

/// What a cluster that exists brings with it.
pub struct Brought {
    /// Its PKI, or its `ca.crt` alone.
    pub files: PkiFiles,
    /// The way to its API.
    pub kubeconfig: Option<Kubeconfig>,
    /// Why no control plane can be added to it; empty: they can.
    pub workers_only: String,
}

/// Files of a kubeadm pki directory by name, private keys among them: wiped when dropped.
#[derive(Default)]
pub struct PkiFiles(pub BTreeMap<String, Vec<u8>>);

impl Drop for PkiFiles {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

/// Creates the record, with a PKI, a certificate key and a first token. A retried request is answered with the first
/// one's cluster: what was minted for the retry is dropped.
pub async fn run(
    server: &Unsealed,
    request: Request,
    mut spec: ClusterSpec,
    pki: Pki,
) -> Result<ClusterId, OperationError> {
    cluster_spec::check(&mut spec)?;
    if matches!(pki, Pki::Made) {
        cluster_spec::settle_secrets(&mut spec, None);
    }
    let Ready { pki, origin, kubeconfig, workers_only } = ready(&spec, pki).await?;
    let id = ClusterId(uuid::Uuid::new_v4().to_string());
    let keys = server.keys()?;
    let credentials =
        kubeconfig.map(|kubeconfig| set_credentials::seal(&keys.sealer, &id, 1, &kubeconfig)).transpose()?;
    let stored = cluster_pki::store(&keys.sealer, &id, &pki)?;
    let key = CertificateKey::generate().map_err(|err| anyhow!(err))?;
    let certificate_key = Secret::CertificateKey(&id).seal(&keys.sealer, 1, key.expose().expose().as_bytes())?;
    let first_token = match origin {
        Origin::Imported => None,
        Origin::Created => {
            let token = BootstrapToken::generate().map_err(|err| anyhow!(err))?;
            let public = TokenId(token.id().to_owned());
            let secret =
                Secret::BootstrapToken(&id, &public).seal(&keys.sealer, 1, token.expose_secret().as_bytes())?;
            Some((public, secret))
        }
    };
    let verb = CreateCluster {
        id,
        spec,
        origin,
        certificates: stored.certificates,
        service_account_public: stored.service_account_public,
        keys: stored.keys,
        certificate_key,
        first_token,
        first_token_ttl_ms: FIRST_TOKEN_TTL_MS,
        credentials,
        workers_only,
    };
    Ok(server.ledger.propose_for(request, verb).await?)
}

struct Ready {
    pki: ClusterPki,
    origin: Origin,
    kubeconfig: Option<Kubeconfig>,
    workers_only: String,
}

async fn ready(spec: &ClusterSpec, pki: Pki) -> Result<Ready, OperationError> {
    match pki {
        Pki::Imported(Brought { files, kubeconfig, workers_only }) => {
            let imported = import(&files.0, now_ms()).map_err(|err| OperationError::invalid("pki", err))?;
            Ok(Ready { pki: imported.pki, origin: Origin::Imported, kubeconfig, workers_only })
        }
        Pki::Made => {
            let algorithm: KeyAlgorithm =
                spec.key_algorithm.parse().map_err(|err| OperationError::invalid("spec.keyAlgorithm", err))?;
            // RSA-4096 takes seconds: not on a thread that serves streams.
            let made = tokio::task::spawn_blocking(move || ClusterPki::generate(algorithm, now_ms()));
            let made = made.await.context("making the cluster's PKI")?.context("making the cluster's PKI")?;
            Ok(Ready { pki: made, origin: Origin::Created, kubeconfig: None, workers_only: String::new() })
        }
    }
}
