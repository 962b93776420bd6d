//! A fleet's certificates for tests, and any that break a rule.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use time::{Duration, OffsetDateTime};

use crate::identity::TlsIdentity;
use crate::spiffe::Role;

pub(crate) const FLEET: &str = "4f1c9c5e-0b1c-4a57-9a0e-6a1f2f0d3b7c";
/// The moment of every test, seconds since 1970.
pub(crate) const NOW_S: u64 = 1_800_000_000;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn now() -> UnixTime {
    at(0)
}

/// The moment `seconds` after [`NOW_S`].
pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW_S + seconds))
}

fn moment(hours_from_now: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW_S as i64).unwrap() + Duration::hours(hours_from_now)
}

/// Parameters valid from one hour before to `hours` after the moment of the tests.
pub(crate) fn mk_params(name: &str, hours: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = moment(-1);
    params.not_after = moment(hours);
    params
}

pub(crate) fn mk_root(name: &str) -> Authority {
    let mut params = mk_params(name, 1000);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn usages(role: Role) -> Vec<ExtendedKeyUsagePurpose> {
    match role {
        Role::Server => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Role::Node | Role::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
    }
}

pub(crate) fn mk_intermediate(root: &Authority, role: Role, hours: i64) -> Authority {
    let mut params = mk_params(&format!("{role} intermediate"), hours);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.extended_key_usages = usages(role);
    Authority::signed_by(params, KeyPair::generate().unwrap(), root).unwrap()
}

/// Parameters of the leaf of `id`, to be spoiled by a test.
pub(crate) fn mk_leaf_params(role: Role, id: &str) -> CertificateParams {
    let mut params = mk_params(id, 24);
    params.extended_key_usages = usages(role);
    params.subject_alt_names = vec![uri(&format!("spiffe://{FLEET}/{role}/{id}"))];
    params
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) struct Leaf {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

pub(crate) fn mk_leaf(params: &CertificateParams, issuer: &Authority) -> Leaf {
    let key = KeyPair::generate().unwrap();
    let der = params.signed_by(&key, issuer).unwrap().der().clone();
    Leaf { der, key }
}

/// The whole of one fleet.
pub(crate) struct Fleet {
    pub(crate) root: Authority,
    pub(crate) server: Authority,
    pub(crate) node: Authority,
    pub(crate) operator: Authority,
}

pub(crate) fn mk_fleet() -> Fleet {
    let root = mk_root("fleet root");
    Fleet {
        server: mk_intermediate(&root, Role::Server, 1000),
        node: mk_intermediate(&root, Role::Node, 1000),
        operator: mk_intermediate(&root, Role::Operator, 1000),
        root,
    }
}

impl Fleet {
    pub(crate) fn issuer(&self, role: Role) -> &Authority {
        match role {
            Role::Server => &self.server,
            Role::Node => &self.node,
            Role::Operator => &self.operator,
        }
    }

    pub(crate) fn leaf(&self, role: Role, id: &str) -> Leaf {
        mk_leaf(&mk_leaf_params(role, id), self.issuer(role))
    }

    /// What a server of this fleet shows after its leaf.
    pub(crate) fn rest(&self) -> Vec<CertificateDer<'static>> {
        vec![self.server.der().clone(), self.root.der().clone()]
    }

    pub(crate) fn identity(&self, role: Role, id: &str) -> TlsIdentity {
        let leaf = self.leaf(role, id);
        let chain = [leaf.der, self.issuer(role).der().clone(), self.root.der().clone()];
        let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
        TlsIdentity { chain: chain.to_vec(), key }
    }
}
