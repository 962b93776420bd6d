//! How a listener decides whom to let in.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};

use crate::config::provider;
use crate::peer::Peer;
use crate::spiffe::Role;
use crate::verify::chain::{self, Target, Usage};
use crate::verify::error::VerifyError;
use crate::x509;

/// Lets in only holders of one role's certificates. Its anchors are that role's intermediates and not the root, so that
/// another role's certificate does not even lead up to an anchor.
#[derive(Debug, Clone)]
pub struct RoleVerifier {
    role: Role,
    fleet: String,
    anchors: Vec<(CertificateDer<'static>, TrustAnchor<'static>)>,
    provider: Arc<CryptoProvider>,
}

impl RoleVerifier {
    /// Admits `role` of `fleet`, certified by one of `intermediates` (one, or two while the intermediate is rotated).
    ///
    /// # Errors
    /// If there is no intermediate, or one cannot be read or is no certificate authority.
    pub fn new(role: Role, fleet: &str, intermediates: Vec<CertificateDer<'static>>) -> Result<Self, VerifyError> {
        if intermediates.is_empty() {
            return Err(VerifyError::NoAnchor);
        }
        let anchors = intermediates.into_iter().map(anchor).collect::<Result<_, _>>()?;
        Ok(Self { role, fleet: fleet.to_owned(), anchors, provider: provider() })
    }

    /// Verifies a client's certificate. It must be signed by an anchored intermediate itself; what the client sent after it
    /// is not looked at.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn check(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<Peer, VerifyError> {
        let mut refusal = VerifyError::NoAnchor;
        for (certificate, anchor) in &self.anchors {
            match self.check_under(leaf, certificate, anchor, now) {
                Ok(()) => return self.check_identity(Peer::of_certificate(leaf)?),
                // Of two anchors, the one that did sign knows better what is wrong.
                Err(error) => match refusal {
                    VerifyError::NoAnchor | VerifyError::Chain { .. } => refusal = error,
                    _ => {}
                },
            }
        }
        Err(refusal)
    }

    fn check_under(
        &self,
        leaf: &CertificateDer<'_>,
        certificate: &CertificateDer<'_>,
        anchor: &TrustAnchor<'_>,
        now: UnixTime,
    ) -> Result<(), VerifyError> {
        let target = Target {
            anchors: std::slice::from_ref(anchor),
            name: "intermediate of this listener's role",
            usage: Usage::Client,
            intermediates: 0,
        };
        chain::check_path(leaf, &[], &target, &self.provider.signature_verification_algorithms, now)?;
        // webpki takes an anchor as given; its dates are checked here.
        chain::check_dates(&x509::parse(certificate)?, now)
    }

    fn check_identity(&self, peer: Peer) -> Result<Peer, VerifyError> {
        if peer.spiffe.role() != self.role {
            return Err(VerifyError::WrongRole { wanted: self.role, seen: peer.spiffe.role() });
        }
        if peer.spiffe.fleet() != self.fleet {
            let (wanted, seen) = (self.fleet.clone(), peer.spiffe.fleet().to_owned());
            return Err(VerifyError::WrongFleet { wanted, seen });
        }
        Ok(peer)
    }
}

fn anchor(
    certificate: CertificateDer<'static>,
) -> Result<(CertificateDer<'static>, TrustAnchor<'static>), VerifyError> {
    if !x509::parse(&certificate)?.is_ca() {
        return Err(VerifyError::AnchorNotCa);
    }
    let anchor = webpki::anchor_from_trusted_cert(&certificate)
        .map_err(|error| VerifyError::Chain { anchor: "intermediate", cause: error.to_string() })?
        .to_owned();
    Ok((certificate, anchor))
}

impl ClientCertVerifier for RoleVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A client of ours has one certificate; naming our authorities would only inform strangers.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        chain::check_length(intermediates.len().saturating_add(1))?;
        self.check(end_entity, now)?;
        Ok(ClientCertVerified::assertion())
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
