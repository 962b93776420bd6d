//! Who calls, from the connection and nothing else.

use std::net::IpAddr;

use muster_state::{Digest, NodeId};
use muster_trust::{Peer, Role};
use tonic::{Request, Status};

use super::listener::Connection;

/// A node, by its certificate.
#[derive(Clone, Debug)]
pub struct NodeCaller {
    /// Its id.
    pub id: NodeId,
    /// SHA-256 of the SPKI of the key it holds.
    pub key: Digest,
}

/// An operator, by its certificate.
#[derive(Clone, Debug)]
pub struct OperatorCaller {
    /// SPIFFE id, for the audit trail and for telling retries apart.
    pub spiffe: String,
    /// The name in it.
    pub name: String,
}

/// The node that calls.
pub fn node<T>(request: &Request<T>) -> Result<NodeCaller, Status> {
    let peer = peer(request, Role::Node)?;
    Ok(NodeCaller { id: peer.spiffe.id().into(), key: Digest(*peer.spki_fingerprint.as_bytes()) })
}

/// The operator who calls.
pub fn operator<T>(request: &Request<T>) -> Result<OperatorCaller, Status> {
    let spiffe = &peer(request, Role::Operator)?.spiffe;
    Ok(OperatorCaller { spiffe: spiffe.to_string(), name: spiffe.id().to_owned() })
}

/// The address that calls.
pub fn address<T>(request: &Request<T>) -> Option<IpAddr> {
    Some(request.extensions().get::<Connection>()?.remote.ip())
}

/// The listener has verified the role already; asked again here so that a service mounted on the wrong listener
/// answers nobody.
fn peer<T>(request: &Request<T>, role: Role) -> Result<&Peer, Status> {
    let peer = request.extensions().get::<Connection>().and_then(|connection| connection.peer.as_ref());
    peer.filter(|peer| peer.spiffe.role() == role)
        .ok_or_else(|| Status::unauthenticated("this call needs a certificate of another role"))
}
