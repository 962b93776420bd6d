//! Members of clusters' etcd. They are listed with their clusters.

use muster_proto::admin::v1::{Cluster, RemoveEtcdMemberRequest};
use muster_state::command::RemoveEtcdMember;
use tonic::{Request, Response};

use super::{Answer, call::changing, clusters, resolve};
use crate::{
    api::{
        status::{of_operation, of_propose},
        wire,
    },
    operations::Unsealed,
};

pub(super) async fn remove(server: &Unsealed, request: Request<RemoveEtcdMemberRequest>) -> Answer<Cluster> {
    let (request, RemoveEtcdMemberRequest { request_id: _, cluster, member, reason }) = changing(server, request)?;
    let found = server.ledger.read(|state| resolve::cluster(state, "cluster", &cluster).map(|found| found.id.clone()));
    let cluster = found.map_err(of_operation)?;
    let member = wire::etcd::parse_id("member", &member).map_err(of_operation)?;
    let verb = RemoveEtcdMember { cluster: cluster.clone(), member, reason };
    server.ledger.propose_for(request, verb).await.map_err(of_propose)?;
    Ok(Response::new(clusters::view(server, &cluster)))
}
