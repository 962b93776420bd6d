//! Brings a cluster's record to what an operator wrote: makes it if there is none, changes what differs.

use muster_state::{
    ClusterId, Request,
    command::{CreateCluster, UpdateCluster},
    record::{Cluster, ClusterSpec, Origin},
};

use super::{
    OperationError, Unsealed, cluster_diff, cluster_spec,
    create_cluster::{self, Pki},
};
use crate::ledger::ProposeError;

/// What applying did, or would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was no such cluster.
    Created,
    /// Something differed.
    Configured,
    /// Nothing differed.
    Unchanged,
}

/// What applying did, or would do, and to what.
#[derive(Debug)]
pub struct Applied {
    /// The cluster; absent where a dry run would have made it.
    pub cluster: Option<ClusterId>,
    /// What was done.
    pub outcome: Outcome,
    /// One line per difference.
    pub changes: Vec<String>,
}

/// Applies a spec. A dry run checks all that the real one would check and changes nothing.
pub async fn run(
    server: &Unsealed,
    request: Request,
    mut spec: ClusterSpec,
    dry_run: bool,
) -> Result<Applied, OperationError> {
    let known = server.ledger.read(|state| state.cluster_named(&spec.name).cloned());
    if let Some(cluster) = &known {
        inherit(&mut spec, cluster);
    }
    cluster_spec::check(&mut spec)?;
    cluster_spec::settle_secrets(&mut spec, known.as_ref());
    let Some(cluster) = known else {
        return create(server, request, spec, dry_run).await;
    };
    let changes = cluster_diff::changes(&cluster.spec, &spec);
    if changes.is_empty() {
        return Ok(Applied { cluster: Some(cluster.id), outcome: Outcome::Unchanged, changes });
    }
    let verb = UpdateCluster { id: cluster.id.clone(), revision: cluster.revision, spec };
    if dry_run {
        server.ledger.read(|state| verb.check(state)).map_err(ProposeError::Refused)?;
    } else {
        server.ledger.propose_for(request, verb).await?;
    }
    Ok(Applied { cluster: Some(cluster.id), outcome: Outcome::Configured, changes })
}

/// What a cluster that was brought in said of itself, or is by its kubeconfig, need not be written again.
fn inherit(spec: &mut ClusterSpec, cluster: &Cluster) {
    if cluster.origin != Origin::Imported {
        return;
    }
    let known = &cluster.spec;
    for (own, theirs) in [
        (&mut spec.pod_subnet, &known.pod_subnet),
        (&mut spec.service_subnet, &known.service_subnet),
        (&mut spec.dns_domain, &known.dns_domain),
        (&mut spec.key_algorithm, &known.key_algorithm),
    ] {
        if own.is_empty() {
            own.clone_from(theirs);
        }
    }
    spec.link = spec.link.or(known.link);
}

async fn create(
    server: &Unsealed,
    request: Request,
    spec: ClusterSpec,
    dry_run: bool,
) -> Result<Applied, OperationError> {
    let changes = Vec::new();
    // Keys are made only for a cluster that will not be refused: it takes seconds.
    server.ledger.read(|state| CreateCluster::check(&spec, state)).map_err(ProposeError::Refused)?;
    if dry_run {
        return Ok(Applied { cluster: None, outcome: Outcome::Created, changes });
    }
    let id = create_cluster::run(server, request, spec, Pki::Made).await?;
    Ok(Applied { cluster: Some(id), outcome: Outcome::Created, changes })
}
