//! What a server signs when it asks to join, and what it is given.

use muster_proto::enrolment::v1::{KnownServer, ServerAdmitted, ServerStatement as Wire};
use muster_state::{
    State,
    record::{Certificate, Fleet, ServerUrls},
};
use prost::Message as _;

use crate::operations::admit_server::Claims;

/// Parses the signed bytes. Nothing is verified here.
pub fn parse(signed: &[u8]) -> Result<Claims, String> {
    let Ok(Wire {
        nonce,
        fleet,
        csr_der,
        sealing_public_key,
        peer_address,
        enrolment_urls,
        node_urls,
        operator_urls,
        version,
    }) = Wire::decode(signed)
    else {
        return Err("the statement is no statement of a server".to_owned());
    };
    let urls = ServerUrls { enrolment: enrolment_urls, nodes: node_urls, operators: operator_urls };
    Ok(Claims { nonce, fleet, csr_der, sealing_key: sealing_public_key, address: peer_address, urls, version })
}

/// What server `id` needs to run as a member.
pub fn admitted(state: &State, fleet: &Fleet, id: u64, certificate: Certificate) -> ServerAdmitted {
    let others = state.servers.values().filter(|server| server.id != id && server.standing.is_member());
    let known = |server: &muster_state::record::ServerRecord| KnownServer {
        id: server.id,
        peer_address: server.address.clone(),
        enrolment_urls: server.urls.enrolment.clone(),
    };
    ServerAdmitted {
        server_id: id,
        fleet: fleet.id.to_string(),
        certificate_chain: certificate.chain.into_iter().map(|der| der.0).collect(),
        fleet_root: fleet.root.0.clone(),
        intermediates: fleet.intermediates.iter().map(|(role, der)| (role.clone(), der.0.clone())).collect(),
        servers: others.map(known).collect(),
    }
}
