//! Issuing certificates to servers, nodes and operators.

use std::net::IpAddr;

use muster_trust::{Role, SpiffeId, TlsIdentity};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PublicKeyData, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};

use super::certificate::{self, BACKDATE_MS};
use super::error::PkiError;
use super::fleet::FleetPki;
use super::request::CertificateRequest;
use crate::seal::SecretBytes;

const HOUR_MS: u64 = 3600 * 1000;
/// How long a node's certificate lives: a day, renewed at two thirds.
pub const NODE_LIFETIME_MS: u64 = 24 * HOUR_MS;
/// How long a server's certificate lives: thirty days, renewed by the server itself at two thirds.
pub const SERVER_LIFETIME_MS: u64 = 30 * 24 * HOUR_MS;
/// How long the certificate of the first operator lives, which is made on the server's own machine: a year.
pub const OPERATOR_LIFETIME_MS: u64 = 365 * 24 * HOUR_MS;

/// What a certificate is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafTerms {
    /// The role; it decides which authority signs and for what the certificate may be used.
    pub role: Role,
    /// The holder's id.
    pub id: String,
    /// DNS names and IP addresses, of servers only.
    pub names: Vec<String>,
    /// How long it lives from now on, in milliseconds; it never outlives its authority.
    pub lifetime_ms: u64,
}

impl LeafTerms {
    /// A node's certificate for a day.
    pub fn node(id: &str) -> Self {
        Self { role: Role::Node, id: id.to_owned(), names: Vec::new(), lifetime_ms: NODE_LIFETIME_MS }
    }

    /// A server's certificate for thirty days.
    pub fn server(id: &str, names: Vec<String>) -> Self {
        Self { role: Role::Server, id: id.to_owned(), names, lifetime_ms: SERVER_LIFETIME_MS }
    }

    /// An operator's certificate for a year.
    pub fn operator(id: &str) -> Self {
        Self { role: Role::Operator, id: id.to_owned(), names: Vec::new(), lifetime_ms: OPERATOR_LIFETIME_MS }
    }
}

/// An issued certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The certificate, its intermediate, the fleet root.
    pub chain: Vec<CertificateDer<'static>>,
    /// First moment, milliseconds since 1970.
    pub not_before_ms: u64,
    /// Last moment, milliseconds since 1970.
    pub not_after_ms: u64,
}

/// An issued certificate together with the key that was made for it here.
#[derive(Debug, Clone)]
pub struct NewIdentity {
    /// The certificate.
    pub certified: Certified,
    /// Its P-256 key, PKCS#8 DER.
    pub key: SecretBytes,
}

impl NewIdentity {
    /// The form in which connections show it.
    pub fn to_tls(&self) -> TlsIdentity {
        let key = PrivatePkcs8KeyDer::from(self.key.expose().to_vec());
        TlsIdentity { chain: self.certified.chain.clone(), key: PrivateKeyDer::Pkcs8(key) }
    }
}

impl FleetPki {
    /// Certifies the key of a request.
    ///
    /// # Errors
    /// If the request names another identity than the terms do, the terms cannot be met, or the authority is out of date.
    pub fn certify(&self, request: &CertificateRequest, terms: &LeafTerms, now_ms: u64) -> Result<Certified, PkiError> {
        let identity = SpiffeId::new(self.fleet(), terms.role, &terms.id)?;
        request.check_names(&identity)?;
        self.sign(request.public_key(), &identity, terms, now_ms)
    }

    /// Makes a P-256 key and certifies it.
    ///
    /// # Errors
    /// As [`FleetPki::certify`].
    pub fn issue(&self, terms: &LeafTerms, now_ms: u64) -> Result<NewIdentity, PkiError> {
        let identity = SpiffeId::new(self.fleet(), terms.role, &terms.id)?;
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certified = self.sign(&key, &identity, terms, now_ms)?;
        Ok(NewIdentity { certified, key: SecretBytes::from(key.serialized_der()) })
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        identity: &SpiffeId,
        terms: &LeafTerms,
        now_ms: u64,
    ) -> Result<Certified, PkiError> {
        if terms.lifetime_ms < 1000 {
            return Err(PkiError::Lifetime);
        }
        let authority = self.authority(terms.role);
        let (authority_from_ms, authority_until_ms) = authority.dates_ms();
        if now_ms < authority_from_ms || now_ms >= authority_until_ms {
            return Err(PkiError::AuthorityDates { role: terms.role });
        }
        let not_after_ms = now_ms.saturating_add(terms.lifetime_ms).min(authority_until_ms);
        // Whole seconds, because that is what the certificate will say.
        let not_before_ms = now_ms.saturating_sub(BACKDATE_MS).max(authority_from_ms) / 1000 * 1000;
        let not_after_ms = not_after_ms / 1000 * 1000;
        let mut params = certificate::params(identity.id(), not_before_ms, not_after_ms)?;
        fill(&mut params, identity, terms)?;
        let leaf = params.signed_by(key, authority.issuer())?;
        let chain = vec![leaf.into(), authority.certificate().clone(), self.root().clone()];
        Ok(Certified { chain, not_before_ms, not_after_ms })
    }
}

fn fill(params: &mut CertificateParams, identity: &SpiffeId, terms: &LeafTerms) -> Result<(), PkiError> {
    if terms.role != Role::Server && !terms.names.is_empty() {
        return Err(PkiError::NamesForRole { role: terms.role });
    }
    // A common name holds 64 characters at most (RFC 5280, ub-common-name); a longer id stands in the URI name alone.
    if identity.id().len() > 64 {
        params.distinguished_name = rcgen::DistinguishedName::new();
    }
    params.use_authority_key_identifier_extension = true;
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages(terms.role);
    let uri = identity.to_string().as_str().try_into()?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    for name in &terms.names {
        params.subject_alt_names.push(alternative_name(name)?);
    }
    Ok(())
}

/// What certificates of a role may be used for. Servers also call each other.
pub(super) fn usages(role: Role) -> Vec<ExtendedKeyUsagePurpose> {
    match role {
        Role::Server => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Role::Node | Role::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
    }
}

fn alternative_name(name: &str) -> Result<SanType, PkiError> {
    let refused = || PkiError::Name { name: name.to_owned() };
    match ServerName::try_from(name).map_err(|_| refused())? {
        ServerName::DnsName(dns) => Ok(SanType::DnsName(dns.as_ref().try_into()?)),
        ServerName::IpAddress(ip) => Ok(SanType::IpAddress(IpAddr::from(ip))),
        _ => Err(refused()),
    }
}
