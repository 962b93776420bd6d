//! How a caller decides that it talks to a server of its fleet.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::config::provider;
use crate::peer::Peer;
use crate::spiffe::Role;
use crate::verify::anchor::Anchor;
use crate::verify::chain::{self, Target, Usage};
use crate::verify::error::VerifyError;

/// Lets a caller talk only to a server of the anchored fleet. The name or address that was dialled does not matter: a
/// server's identity is its SPIFFE id.
#[derive(Debug, Clone)]
pub struct ServerVerifier {
    anchor: Anchor,
    fleet: Option<String>,
    server: Option<String>,
    provider: Arc<CryptoProvider>,
}

impl ServerVerifier {
    /// Any server of the fleet that `anchor` names.
    pub fn new(anchor: Anchor) -> Self {
        Self { anchor, fleet: None, server: None, provider: provider() }
    }

    /// Only servers with this fleet id. A restored fleet keeps its root but has a new id.
    #[must_use]
    pub fn expecting_fleet(mut self, fleet: &str) -> Self {
        self.fleet = Some(fleet.to_owned());
        self
    }

    /// Only the server with this id, as peers must ask for: a wrong address may reach the wrong member.
    #[must_use]
    pub fn expecting_server(mut self, id: &str) -> Self {
        self.server = Some(id.to_owned());
        self
    }

    /// Verifies a presented chain: `leaf` and what came after it, in any order.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn check(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Peer, VerifyError> {
        chain::check_length(rest.len().saturating_add(1))?;
        let root = self.anchor.root(rest, now)?;
        let anchor = webpki::anchor_from_trusted_cert(root)
            .map_err(|error| VerifyError::Chain { anchor: "fleet root", cause: error.to_string() })?;
        let target = Target { anchors: &[anchor], name: "fleet root", usage: Usage::Server, intermediates: 1 };
        chain::check_path(leaf, rest, &target, &self.provider.signature_verification_algorithms, now)?;
        let peer = Peer::of_certificate(leaf)?;
        self.check_identity(&peer)?;
        Ok(peer)
    }

    fn check_identity(&self, peer: &Peer) -> Result<(), VerifyError> {
        if peer.spiffe.role() != Role::Server {
            return Err(VerifyError::WrongRole { wanted: Role::Server, seen: peer.spiffe.role() });
        }
        if let Some(wanted) = self.fleet.as_deref().filter(|fleet| *fleet != peer.spiffe.fleet()) {
            return Err(VerifyError::WrongFleet { wanted: wanted.to_owned(), seen: peer.spiffe.fleet().to_owned() });
        }
        if let Some(wanted) = self.server.as_deref().filter(|id| *id != peer.spiffe.id()) {
            return Err(VerifyError::WrongServer { wanted: wanted.to_owned(), seen: peer.spiffe.id().to_owned() });
        }
        Ok(())
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
