//! Keys and certificates that take the place of others.

use muster_proto::admin::v1::{
    DataKey, GetSealRequest, OperatorCertificate, RenewOperatorRequest, RotateDataKeyRequest, Seal,
};
use muster_state::State;
use tonic::{Request, Response};

use super::{
    Answer,
    call::{changing, reading},
};
use crate::{
    api::{caller, status::of_operation, wire::time::timestamp},
    operations::{Unsealed, renew_operator, start_epoch},
};

pub(super) fn get(server: &Unsealed, request: Request<GetSealRequest>) -> Answer<Seal> {
    let GetSealRequest {} = reading(request)?;
    Ok(Response::new(server.ledger.read(shown)))
}

pub(super) async fn rotate(server: &Unsealed, request: Request<RotateDataKeyRequest>) -> Answer<Seal> {
    let (request, RotateDataKeyRequest { request_id: _ }) = changing(server, request)?;
    start_epoch::run(server, Some(request)).await.map_err(of_operation)?;
    Ok(Response::new(server.ledger.read(shown)))
}

pub(super) async fn renew_operator(
    server: &Unsealed,
    request: Request<RenewOperatorRequest>,
) -> Answer<OperatorCertificate> {
    let name = caller::operator(&request)?.name;
    let (request, RenewOperatorRequest { request_id: _, csr_der }) = changing(server, request)?;
    let certified = renew_operator::run(server, request, name, &csr_der).await.map_err(of_operation)?;
    let chain_der = certified.chain.iter().map(|der| der.to_vec()).collect();
    Ok(Response::new(OperatorCertificate { chain_der, not_after: timestamp(certified.not_after_ms) }))
}

/// The data keys as the state knows them; never a key.
fn shown(state: &State) -> Seal {
    let Some(fleet) = &state.fleet else { return Seal::default() };
    let count = |epoch: u32| state.secrets().filter(|(_, secret)| secret.sealed.epoch == epoch).count() as u64;
    let data_keys = fleet.epochs.iter().map(|(epoch, copies)| DataKey {
        number: *epoch,
        secrets: count(*epoch),
        servers: copies.keys().copied().collect(),
    });
    Seal { data_key: fleet.epoch, data_keys: data_keys.collect() }
}
