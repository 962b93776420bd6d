//! Certificates by which the leader shows itself to a cluster's API server: of one group, for an hour, never stored.

use muster_trust::{NotACertificate, TlsIdentity};
use rcgen::{DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

use super::certificate::{self, BACKDATE_MS};
use super::error::PkiError;

/// How long one lives; the leader makes another in good time.
pub const LINK_LIFETIME_MS: u64 = 3600 * 1000;

/// Who is to be certified: the user and the group of Kubernetes.
#[derive(Debug, Clone, Copy)]
pub struct LinkTerms<'a> {
    /// Common name: the user.
    pub user: &'a str,
    /// Organisation: the group.
    pub group: &'a str,
}

/// Makes a P-256 key and certifies it with a cluster's authority. `authority` is `ca.crt`, of which the first certificate signs;
/// `key` is `ca.key`.
///
/// # Errors
/// If the two can't be read, do not belong together or are out of date.
pub fn issue_for_link(authority: &str, key: &[u8], terms: LinkTerms<'_>, now_ms: u64) -> Result<TlsIdentity, PkiError> {
    let ca = CertificateDer::from_pem_slice(authority.as_bytes()).map_err(|_| NotACertificate)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| PkiError::Mismatch { what: "the key of a cluster's authority can't be read" })?;
    let key = KeyPair::try_from(&key)?;
    let parsed = certificate::parse(&ca)?;
    if parsed.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(&key) {
        return Err(PkiError::Mismatch { what: "the key of a cluster's authority does not belong to its certificate" });
    }
    let (from_ms, until_ms) = certificate::dates_ms(&parsed);
    if now_ms < from_ms || now_ms >= until_ms {
        return Err(PkiError::Mismatch { what: "the authority of a cluster has expired or is not valid yet" });
    }
    let issuer = Issuer::from_ca_cert_der(&ca, key)?;
    let own = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let until_ms = now_ms.saturating_add(LINK_LIFETIME_MS).min(until_ms);
    let mut params = certificate::params(terms.user, now_ms.saturating_sub(BACKDATE_MS).max(from_ms), until_ms)?;
    params.distinguished_name.push(DnType::OrganizationName, terms.group);
    params.use_authority_key_identifier_extension = true;
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&own, &issuer)?;
    let key = PrivatePkcs8KeyDer::from(own.serialized_der().to_vec());
    Ok(TlsIdentity { chain: vec![certificate.into()], key: PrivateKeyDer::Pkcs8(key) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{ClusterPki, KeyAlgorithm, PkiFile, file};

    const NOW_MS: u64 = 1_800_000_000_000;
    const TERMS: LinkTerms<'_> = LinkTerms { user: "muster:server:1", group: "muster:link" };

    fn mk_pki(algorithm: KeyAlgorithm) -> (String, String) {
        let pki = ClusterPki::generate(algorithm, NOW_MS).unwrap();
        let text = |name| pki.files.get(name).map(PkiFile::expose).unwrap().to_owned();
        (text(file::CA_CRT), text(file::CA_KEY))
    }

    #[test]
    fn a_certificate_is_of_one_group_for_clients_and_for_an_hour() {
        for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
            let (ca, key) = mk_pki(algorithm);
            let identity = issue_for_link(&ca, key.as_bytes(), TERMS, NOW_MS).unwrap();
            let leaf = certificate::parse(&identity.chain[0]).unwrap();
            assert_eq!(leaf.subject().to_string(), "CN=muster:server:1, O=muster:link");
            let usage = leaf.extended_key_usage().unwrap().unwrap().value;
            assert!(usage.client_auth && !usage.server_auth && !leaf.is_ca());
            let (from_ms, until_ms) = certificate::dates_ms(&leaf);
            assert!(from_ms <= NOW_MS && until_ms - NOW_MS <= LINK_LIFETIME_MS);
            let ca = CertificateDer::from_pem_slice(ca.as_bytes()).unwrap();
            leaf.verify_signature(Some(certificate::parse(&ca).unwrap().public_key())).unwrap();
        }
    }

    #[test]
    fn no_certificate_outlives_its_authority_and_none_comes_of_a_wrong_key() {
        let (ca, key) = mk_pki(KeyAlgorithm::EcdsaP256);
        let end_ms = NOW_MS + certificate::AUTHORITY_LIFETIME_MS;
        let late = issue_for_link(&ca, key.as_bytes(), TERMS, end_ms - 60_000).unwrap();
        assert!(certificate::dates_ms(&certificate::parse(&late.chain[0]).unwrap()).1 <= end_ms);
        assert!(issue_for_link(&ca, key.as_bytes(), TERMS, end_ms + 1).is_err());
        let (_, other) = mk_pki(KeyAlgorithm::EcdsaP256);
        assert!(issue_for_link(&ca, other.as_bytes(), TERMS, NOW_MS).is_err());
        assert!(issue_for_link(&ca, b"no key", TERMS, NOW_MS).is_err());
        assert!(issue_for_link("no certificate", key.as_bytes(), TERMS, NOW_MS).is_err());
    }
}
