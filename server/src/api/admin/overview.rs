//! `muster status`: one screen, no secrets.

use std::collections::BTreeMap;

use muster_proto::admin::v1::{CertificateExpiry, GetStatusRequest, PhaseCount, Status as Overview};
use muster_state::{
    Phase, State,
    record::{Role, TokenStanding},
};
use rustls_pki_types::CertificateDer;
use tonic::{Request, Response, Status};

use super::Answer;
use crate::{
    api::{
        caller,
        wire::{
            server::{self as wire, Which},
            time::timestamp,
        },
    },
    clock::now_ms,
    operations::Unsealed,
    pki::{certificates_to_pem, not_after_ms},
};

pub(super) fn get(server: &Unsealed, request: &Request<GetStatusRequest>) -> Answer<Overview> {
    caller::operator(request)?;
    let (raft, now_ms) = (server.ledger.status(), now_ms());
    let pin = server.anchors.pin().map_err(|err| Status::internal(err.to_string()))?;
    let (of_state, servers) =
        server.ledger.read(|state| (of_state(state, now_ms), wire::items(state, &raft, Which::Present)));
    Ok(Response::new(Overview {
        fleet: server.fleet.to_string(),
        server_id: raft.id,
        leader_id: raft.leader.unwrap_or_default(),
        raft_term: raft.term,
        applied_index: raft.applied_index.unwrap_or_default(),
        root_pin: pin.to_string(),
        root_certificate: certificates_to_pem(std::slice::from_ref(server.anchors.root())),
        enrolment_urls: server.urls().enrolment,
        servers,
        ..of_state
    }))
}

/// The part of the screen that the state knows. Whoever answers here is not sealed.
pub(super) fn of_state(state: &State, now_ms: u64) -> Overview {
    Overview {
        version: env!("CARGO_PKG_VERSION").into(),
        sealed: false,
        server_time: timestamp(now_ms),
        nodes: nodes_by_phase(state),
        connected_agents: count(state.nodes.values().filter(|node| node.attached.is_some()).count()),
        tokens_live: tokens_live(state, now_ms),
        certificates: certificates(state),
        ..Overview::default()
    }
}

/// Nodes by role and phase; without a role as long as nobody let them in.
fn nodes_by_phase(state: &State) -> Vec<PhaseCount> {
    let mut counts: BTreeMap<(Option<Role>, Phase), usize> = BTreeMap::new();
    for node in state.nodes.values() {
        *counts.entry((node.placement().map(|place| place.role), node.phase)).or_default() += 1;
    }
    let line = |((role, phase), many): ((Option<Role>, Phase), usize)| PhaseCount {
        role: role.map(|role| role.to_string()).unwrap_or_default(),
        phase: phase.to_string(),
        count: count(many),
    };
    counts.into_iter().map(line).collect()
}

/// Tokens of both kinds that somebody could use now.
fn tokens_live(state: &State, now_ms: u64) -> u32 {
    let enrolment = state.enrolment_tokens.values().filter(|token| token.standing(now_ms) == TokenStanding::Live);
    let bootstrap = state.bootstrap_tokens.values().filter(|token| token.is_live(now_ms));
    count(enrolment.count() + bootstrap.count())
}

/// When the authorities of the fleet and of its clusters end.
fn certificates(state: &State) -> Vec<CertificateExpiry> {
    let expiry = |name: String, ms: Option<u64>| CertificateExpiry { name, not_after: ms.and_then(timestamp) };
    let of_der = |name: String, der: &[u8]| expiry(name, not_after_ms(&CertificateDer::from(der)).ok());
    let root = state.fleet.iter().map(|fleet| of_der("fleet/root".into(), &fleet.root.0));
    let intermediates = state.fleet.iter().flat_map(|fleet| &fleet.intermediates);
    let intermediates = intermediates.map(|(role, der)| of_der(format!("fleet/{role}"), &der.0));
    let clusters = state.clusters.values().flat_map(|cluster| cluster.certificates.iter().map(move |ca| (cluster, ca)));
    let clusters =
        clusters.map(|(cluster, ca)| expiry(format!("{}/{}", cluster.spec.name, ca.name), Some(ca.not_after_ms)));
    root.chain(intermediates).chain(clusters).collect()
}

fn count(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}
