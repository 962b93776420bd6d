//! `kubeadm-certs`: uploaded while control planes need it, its life extended while they wait, deleted when the join window has ended.
//! One key per window: a window ends in the log, with a new key, before anything is deleted.

use std::{convert::Infallible, time::Duration};

use anyhow::{Context as _, anyhow};
use kube::Client;
use muster_state::{
    ClusterId, State,
    command::{CertificatesStep, MoveCertificates, ReplaceCertificateKey},
    limits,
    record::{Cluster, LinkCondition},
};
use zeroize::Zeroizing;

use super::{secrets, trouble::Trouble};
use crate::{
    clock::now_ms,
    kubeadm::{
        certificate_key::CertificateKey,
        certs_secret::{NAME, Owner},
        token_secret::object_name,
    },
    ledger::ProposeError,
    operations::{Unsealed, certificates_object, vault::Secret},
};

/// Looked for this often, beside every change: time alone makes an upload old.
const TICK: Duration = Duration::from_secs(5);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Somebody needs what is not there, or will not be for long.
    Upload,
    /// Nobody needs it any more: the next window gets another key.
    EndWindow,
    /// The window has ended.
    Delete,
}

/// Keeps `kubeadm-certs` as it has to be, until something goes wrong.
pub(super) async fn keep(client: Client, server: &Unsealed, cluster: &ClusterId) -> Result<Infallible, Trouble> {
    let mut watch = server.ledger.watch();
    loop {
        let found =
            server.ledger.read(|state| Some((due(state, cluster, now_ms())?, state.clusters.get(cluster)?.clone())));
        match found {
            Some((Due::Upload, record)) => upload(&client, server, &record).await?,
            Some((Due::EndWindow, record)) => end_window(server, &record).await?,
            Some((Due::Delete, record)) => delete(&client, server, &record).await?,
            None => tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                changed = watch.any() => {
                    if changed.is_err() { return Err(Trouble::Undecided("the server stops".into())) }
                }
            },
        }
    }
}

fn due(state: &State, id: &ClusterId, now_ms: u64) -> Option<Due> {
    let cluster = state.clusters.get(id)?;
    let is_fresh = now_ms.saturating_sub(cluster.certificates_uploaded_ms) < limits::CERTIFICATES_FRESH_MS;
    match state.is_join_window_open(id, now_ms) {
        true if !is_fresh => Some(Due::Upload),
        true => None,
        false if cluster.certificates_uploaded_ms != 0 => Some(Due::EndWindow),
        false => cluster.certificates_ending.then_some(Due::Delete),
    }
}

fn failing(err: &anyhow::Error) -> Trouble {
    Trouble::down(LinkCondition::Failing, format!("{NAME}: {err:#}"))
}

/// The owner first: without it nothing would end the Secret if Muster never came back.
async fn upload(client: &Client, server: &Unsealed, cluster: &Cluster) -> Result<(), Trouble> {
    let owner = certificates_object::owner(&cluster.id, now_ms()).map_err(|err| failing(&err))?;
    let name = owner.name().to_owned();
    let uid = secrets::put(client, &name, owner.to_body()).await?;
    let object = certificates_object::render(server, cluster, &Owner { name, uid }).map_err(|err| failing(&err))?;
    let body = serde_json::to_vec(&object).context("a Secret is JSON").map_err(|err| failing(&err))?;
    secrets::put(client, NAME, Zeroizing::new(body)).await?;
    moved(server, &cluster.id, CertificatesStep::Uploaded).await
}

/// A window that has opened again meanwhile is left as it is.
async fn end_window(server: &Unsealed, cluster: &Cluster) -> Result<(), Trouble> {
    let verb = next_key(server, &cluster.id).map_err(|err| failing(&err))?;
    match server.ledger.propose(verb).await {
        Ok(()) | Err(ProposeError::Refused(_)) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

fn next_key(server: &Unsealed, cluster: &ClusterId) -> anyhow::Result<ReplaceCertificateKey> {
    let key = CertificateKey::generate().map_err(|err| anyhow!(err))?;
    let sealer = &server.keys()?.sealer;
    let certificate_key = Secret::CertificateKey(cluster).seal(sealer, 1, key.expose().expose().as_bytes())?;
    Ok(ReplaceCertificateKey { cluster: cluster.clone(), certificate_key })
}

async fn delete(client: &Client, server: &Unsealed, cluster: &Cluster) -> Result<(), Trouble> {
    secrets::delete(client, NAME).await?;
    secrets::delete(client, &object_name(&certificates_object::owner_id(&cluster.id))).await?;
    moved(server, &cluster.id, CertificatesStep::Removed).await
}

async fn moved(server: &Unsealed, cluster: &ClusterId, to: CertificatesStep) -> Result<(), Trouble> {
    Ok(server.ledger.propose(MoveCertificates { cluster: cluster.clone(), to }).await?)
}
