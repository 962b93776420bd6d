//! Clusters: made, applied, listed.

use muster_proto::admin::v1::{
    ApplyClusterRequest, ApplyClusterResponse, Cluster, ClusterList, CreateClusterRequest, ListClustersRequest,
};
use muster_state::ClusterId;
use tonic::{Request, Response};

use super::{
    Answer,
    call::{changing, reading},
    resolve,
};
use crate::{
    api::{status::of_operation, wire},
    clock::now_ms,
    operations::{
        Unsealed,
        apply_cluster::{self, Applied, Outcome},
        create_cluster::{self, Pki},
    },
};

pub(super) async fn create(server: &Unsealed, request: Request<CreateClusterRequest>) -> Answer<Cluster> {
    let (request, body) = changing(server, request)?;
    let spec = wire::cluster::spec::parse(body.spec).map_err(of_operation)?;
    let id = create_cluster::run(server, request, spec, Pki::Made).await.map_err(of_operation)?;
    Ok(Response::new(view(server, &id)))
}

pub(super) async fn apply(server: &Unsealed, request: Request<ApplyClusterRequest>) -> Answer<ApplyClusterResponse> {
    let (request, ApplyClusterRequest { spec, dry_run, .. }) = changing(server, request)?;
    let spec = wire::cluster::spec::parse(spec).map_err(of_operation)?;
    let made = wire::cluster::spec::render(&spec);
    let applied = apply_cluster::run(server, request, spec, dry_run).await.map_err(of_operation)?;
    let Applied { cluster, outcome, changes } = applied;
    // What a dry run would have made has neither an id nor pins.
    let cluster = cluster.map_or_else(|| Cluster { spec: Some(made), ..Cluster::default() }, |id| view(server, &id));
    Ok(Response::new(ApplyClusterResponse { cluster: Some(cluster), outcome: word(outcome).into(), changes }))
}

pub(super) fn list(server: &Unsealed, request: Request<ListClustersRequest>) -> Answer<ClusterList> {
    let wanted = reading(request)?.cluster;
    let ids = server.ledger.read(|state| match wanted.as_str() {
        "" => Ok(state.clusters.keys().cloned().collect::<Vec<_>>()),
        text => {
            Ok(resolve::find_cluster(state, "cluster", text)?.map(|cluster| cluster.id.clone()).into_iter().collect())
        }
    });
    // One read each: applying waits for readers, and a view counts the cluster's nodes.
    let items = ids.map_err(of_operation)?.iter().map(|id| view(server, id)).collect();
    Ok(Response::new(ClusterList { items }))
}

/// The cluster as it is now; its id alone if it is gone.
pub(super) fn view(server: &Unsealed, id: &ClusterId) -> Cluster {
    let now_ms = now_ms();
    let found =
        server.ledger.read(|state| state.clusters.get(id).map(|cluster| wire::cluster::render(state, cluster, now_ms)));
    found.unwrap_or_else(|| Cluster { id: id.to_string(), ..Cluster::default() })
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "created",
        Outcome::Configured => "configured",
        Outcome::Unchanged => "unchanged",
    }
}
