//! Puts another kubeconfig in place of the one by which a cluster was brought in: credentials run out.

use muster_state::{
    ClusterId, Request,
    command::SetCredentials,
    record::{Credentials, Origin},
};

use super::{OperationError, Unsealed, link_identity, vault::Secret};
use crate::{clock::now_ms, ledger::ProposeError, pki::kubeconfig::Kubeconfig, seal::Sealer};

/// Replaces them.
///
/// # Errors
/// If the kubeconfig is of another cluster or has run out, or Muster made the cluster.
pub async fn run(
    server: &Unsealed,
    request: Request,
    id: &ClusterId,
    kubeconfig: &Kubeconfig,
) -> Result<(), OperationError> {
    let cluster = server.ledger.read(|state| state.cluster(id).cloned()).map_err(ProposeError::Refused)?;
    let invalid = |problem: String| OperationError::invalid("kubeconfig", problem);
    if cluster.origin != Origin::Imported {
        return Err(invalid("Muster made this cluster, and certifies itself with its authority".into()));
    }
    kubeconfig.check_dates(now_ms()).map_err(|err| invalid(err.to_string()))?;
    if !kubeconfig.is_of(link_identity::authority(&cluster).unwrap_or_default()) {
        return Err(invalid("its certificate-authority-data is not this cluster's: it is of another cluster".into()));
    }
    let revision = cluster.credentials.map_or(0, |credentials| credentials.secret.revision) + 1;
    let credentials = seal(&server.keys()?.sealer, id, revision, kubeconfig)?;
    Ok(server.ledger.propose_for(request, SetCredentials { cluster: id.clone(), credentials }).await?)
}

/// A kubeconfig as a cluster's record holds it.
pub(crate) fn seal(
    sealer: &Sealer,
    cluster: &ClusterId,
    revision: u64,
    kubeconfig: &Kubeconfig,
) -> anyhow::Result<Credentials> {
    let secret = Secret::Credentials(cluster).seal(sealer, revision, kubeconfig.render().expose().as_bytes())?;
    let Kubeconfig { server, .. } = kubeconfig;
    Ok(Credentials { secret, server: server.clone(), user: kubeconfig.user(), not_after_ms: kubeconfig.not_after_ms() })
}
