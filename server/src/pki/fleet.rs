//! The fleet's own authorities: one root that machines know by its pin, one intermediate for each role.

use std::fmt;

use muster_trust::{Role, SpiffeId};
use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::anchors::FleetAnchors;
use super::certificate::{self, AUTHORITY_LIFETIME_MS, BACKDATE_MS};
use super::error::PkiError;
use super::issue::usages;
use crate::seal::SecretBytes;

/// A certificate authority: its certificate and its P-256 key.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The authority with this certificate and this P-256 key in PKCS#8 DER.
    ///
    /// # Errors
    /// If they do not belong together, or the certificate is no authority's.
    pub fn from_parts(certificate: CertificateDer<'static>, key: &SecretBytes) -> Result<Self, PkiError> {
        let key = PrivatePkcs8KeyDer::from(key.expose());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|_| PkiError::Mismatch { what: "a key is not a P-256 key in PKCS#8 form" })?;
        let parsed = certificate::parse(&certificate)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(PkiError::Mismatch { what: "a key does not belong to its certificate" });
        }
        if !parsed.is_ca() {
            return Err(PkiError::Mismatch { what: "a certificate is not an authority's" });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { certificate, issuer })
    }

    /// The certificate.
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A copy of the key, PKCS#8 DER, to be sealed.
    pub fn key(&self) -> SecretBytes {
        SecretBytes::from(self.issuer.key().serialized_der())
    }

    pub(super) const fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// First and last moment, milliseconds since 1970.
    pub(super) fn dates_ms(&self) -> (u64, u64) {
        // It was parsed when the authority was made; an unreadable one would be valid never.
        certificate::parse(&self.certificate).map_or((0, 0), |parsed| certificate::dates_ms(&parsed))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("key", &"[redacted]").finish_non_exhaustive()
    }
}

/// A fleet that was just made. The root's key is apart from the rest, because nothing needs it until an intermediate is
/// rotated: seal it and let it go.
#[derive(Debug)]
pub struct NewFleet {
    /// What a running server holds.
    pub pki: FleetPki,
    /// The root's key, PKCS#8 DER.
    pub root_key: SecretBytes,
}

/// What is stored of a fleet's authorities.
#[derive(Debug)]
pub struct FleetParts {
    /// The root certificate.
    pub root: CertificateDer<'static>,
    /// Issues to servers.
    pub server: Authority,
    /// Issues to nodes.
    pub node: Authority,
    /// Issues to operators.
    pub operator: Authority,
}

/// The authorities of one fleet, ready to issue.
#[derive(Debug)]
pub struct FleetPki {
    fleet: String,
    parts: FleetParts,
}

impl FleetPki {
    /// Makes root and intermediates, ten years each.
    ///
    /// # Errors
    /// If the fleet's id cannot stand in an identity, or the system has no randomness.
    pub fn generate(fleet: &str, now_ms: u64) -> Result<NewFleet, PkiError> {
        // Refused here, before anything was made that nobody could be certified by.
        SpiffeId::new(fleet, Role::Server, "x")?;
        let root = mk_root(now_ms)?;
        Ok(NewFleet { pki: Self::below(&root, fleet, now_ms)?, root_key: root.key() })
    }

    /// The authorities of a restored fleet: new intermediates below the root that its machines know by its pin. Nothing that
    /// the old intermediates certified is of this fleet.
    ///
    /// # Errors
    /// If the fleet's id cannot stand in an identity, the root is out of date, or the system has no randomness.
    pub fn below(root: &Authority, fleet: &str, now_ms: u64) -> Result<Self, PkiError> {
        SpiffeId::new(fleet, Role::Server, "x")?;
        let (_, until_ms) = root.dates_ms();
        if now_ms >= until_ms {
            return Err(PkiError::RootDates);
        }
        let parts = FleetParts {
            server: mk_intermediate(root, Role::Server, now_ms)?,
            node: mk_intermediate(root, Role::Node, now_ms)?,
            operator: mk_intermediate(root, Role::Operator, now_ms)?,
            root: root.certificate.clone(),
        };
        Ok(Self { fleet: fleet.to_owned(), parts })
    }

    /// The fleet with these authorities, as they were stored.
    ///
    /// # Errors
    /// If an intermediate was not signed by the root or may not be used for its role.
    pub fn from_parts(fleet: &str, parts: FleetParts) -> Result<Self, PkiError> {
        let pki = Self { fleet: fleet.to_owned(), parts };
        pki.anchors()?;
        Ok(pki)
    }

    /// The public half.
    ///
    /// # Errors
    /// If the authorities do not fit together, which [`FleetPki::from_parts`] rules out.
    pub fn anchors(&self) -> Result<FleetAnchors, PkiError> {
        let of = |role| Some(self.authority(role).certificate().clone());
        FleetAnchors::new(&self.fleet, self.parts.root.clone(), of)
    }

    /// The fleet's id, which stands in every identity.
    pub fn fleet(&self) -> &str {
        &self.fleet
    }

    /// The root certificate.
    pub const fn root(&self) -> &CertificateDer<'static> {
        &self.parts.root
    }

    /// The intermediate that issues to `role`.
    pub const fn authority(&self, role: Role) -> &Authority {
        match role {
            Role::Server => &self.parts.server,
            Role::Node => &self.parts.node,
            Role::Operator => &self.parts.operator,
        }
    }
}

fn mk_root(now_ms: u64) -> Result<Authority, PkiError> {
    let mut params = authority_params("muster fleet root", 1, now_ms, u64::MAX)?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    params.use_authority_key_identifier_extension = false;
    let certificate = params.self_signed(&key)?.into();
    Ok(Authority { certificate, issuer: Issuer::new(params, key) })
}

fn mk_intermediate(root: &Authority, role: Role, now_ms: u64) -> Result<Authority, PkiError> {
    let (_, until_ms) = root.dates_ms();
    let mut params = authority_params(&format!("muster {role} authority"), 0, now_ms, until_ms)?;
    params.extended_key_usages = usages(role);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.signed_by(&key, root.issuer())?.into();
    Ok(Authority { certificate, issuer: Issuer::new(params, key) })
}

/// Ten years, but not beyond `until_ms`.
fn authority_params(name: &str, below: u8, now_ms: u64, until_ms: u64) -> Result<rcgen::CertificateParams, PkiError> {
    let not_after_ms = now_ms.saturating_add(AUTHORITY_LIFETIME_MS).min(until_ms);
    let mut params = certificate::params(name, now_ms.saturating_sub(BACKDATE_MS), not_after_ms)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

#[cfg(test)]
mod tests;
