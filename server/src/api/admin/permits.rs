//! Permits.

use muster_proto::admin::v1::{ListPermitsRequest, PermitList};
use muster_state::ClusterId;
use tonic::{Request, Response};

use super::{Answer, call::reading, resolve};
use crate::{
    api::{status::of_operation, wire::permit},
    operations::Unsealed,
};

pub(super) fn list(server: &Unsealed, request: Request<ListPermitsRequest>) -> Answer<PermitList> {
    let ListPermitsRequest { cluster } = reading(request)?;
    let ids = server.ledger.read(|state| match cluster.as_str() {
        "" => Ok(state.clusters.keys().cloned().collect::<Vec<ClusterId>>()),
        text => Ok(vec![resolve::cluster(state, "cluster", text)?.id.clone()]),
    });
    let of_cluster = |id: &ClusterId| {
        server.ledger.read(|state| {
            let cluster = state.clusters.get(id)?;
            Some(permit::KINDS.map(|kind| permit::render(state, cluster, kind)))
        })
    };
    let items = ids.map_err(of_operation)?.iter().filter_map(of_cluster).flatten().collect();
    Ok(Response::new(PermitList { items }))
}
