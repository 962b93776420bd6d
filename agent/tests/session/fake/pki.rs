//! The certificates of a fleet.

use std::time::{Duration, SystemTime};

use muster_trust::{Pin, Role, TlsIdentity};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, PublicKeyData, SanType,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};

pub(crate) const FLEET: &str = "4f1c9c5e-0b1c-4a57-9a0e-6a1f2f0d3b7c";

type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) struct Pki {
    root: Authority,
    server: Authority,
    node: Authority,
    stranger: Authority,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = mk_params("fleet root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        let root = Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self {
            server: mk_intermediate(&root, Role::Server),
            node: mk_intermediate(&root, Role::Node),
            stranger: mk_intermediate(&root, Role::Node),
            root,
        }
    }

    pub(crate) fn pin(&self) -> Pin {
        Pin::of_certificate(self.root.der()).unwrap()
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        self.root.der().to_vec()
    }

    pub(crate) fn node_intermediate(&self) -> CertificateDer<'static> {
        self.node.der().clone()
    }

    pub(crate) fn server(&self, id: &str) -> TlsIdentity {
        let key = KeyPair::generate().unwrap();
        let leaf = mk_leaf_params(Role::Server, id).signed_by(&key, &self.server).unwrap();
        let chain = vec![leaf.der().clone(), self.server.der().clone(), self.root.der().clone()];
        TlsIdentity { chain, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
    }

    /// A node's chain for the key of a request, and that key's fingerprint.
    pub(crate) fn issue(
        &self,
        csr: &[u8],
        id: &str,
        (age, life): (Duration, Duration),
        stranger: bool,
    ) -> (Vec<Vec<u8>>, String) {
        let csr = CertificateSigningRequestDer::from(csr.to_vec());
        let request = CertificateSigningRequestParams::from_der(&csr).unwrap();
        let fingerprint = Pin::of_spki(&request.public_key.subject_public_key_info()).to_string();
        let mut params = mk_leaf_params(Role::Node, id);
        let begin = now() - age;
        params.not_before = begin.into();
        params.not_after = (begin + life).into();
        let issuer = if stranger { &self.stranger } else { &self.node };
        let leaf = params.signed_by(&request.public_key, issuer).unwrap();
        (vec![leaf.der().to_vec(), issuer.der().to_vec()], fingerprint)
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates are judged by the clock of the machine")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn mk_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = now();
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + Duration::from_secs(48 * 3600)).into();
    params
}

fn usages(role: Role) -> Vec<ExtendedKeyUsagePurpose> {
    match role {
        Role::Server => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Role::Node | Role::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
    }
}

fn mk_intermediate(root: &Authority, role: Role) -> Authority {
    let mut params = mk_params(&format!("{role} intermediate"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.extended_key_usages = usages(role);
    Authority::signed_by(params, KeyPair::generate().unwrap(), root).unwrap()
}

fn mk_leaf_params(role: Role, id: &str) -> CertificateParams {
    let mut params = mk_params(id);
    params.extended_key_usages = usages(role);
    let uri = format!("spiffe://{FLEET}/{role}/{id}");
    params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().unwrap())];
    params
}
