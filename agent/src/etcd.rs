//! Asks the etcd of this machine for its members.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use muster_proto::etcd::cluster_client::ClusterClient;
use muster_proto::etcd::{MemberListRequest, MemberListResponse};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::time::timeout;

use crate::client;
use crate::host::Host;
use crate::report::{EtcdMember, EtcdMembers};

const ADDRESS: &str = "127.0.0.1:2379";
const CA: &str = "/etc/kubernetes/pki/etcd/ca.crt";
const CERTIFICATE: &str = "/etc/kubernetes/pki/etcd/healthcheck-client.crt";
const KEY: &str = "/etc/kubernetes/pki/etcd/healthcheck-client.key";

/// An etcd on the same machine answers in milliseconds, or is electing.
const LIMIT: Duration = Duration::from_secs(5);

/// Why the own etcd could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Its certificates are not on the machine: it is no control plane with an etcd of its own.
    #[error("cannot read {path}: {source}")]
    Files {
        /// Which.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// They are there and unusable.
    #[error("the etcd certificates of this machine cannot be used: {0}")]
    Certificates(String),
    /// It does not answer.
    #[error("the etcd of this machine does not answer: {0}")]
    Unreachable(String),
}

/// The members as the etcd of `host` lists them.
///
/// # Errors
/// [`EtcdError`].
pub async fn list_members(host: &dyn Host, linearizable: bool) -> Result<EtcdMembers, EtcdError> {
    let config = Arc::new(tls(host)?);
    let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
    let ask = async {
        let channel = client::connect(ADDRESS, name, config).await.map_err(|error| error.to_string())?;
        let request = MemberListRequest { linearizable };
        let answer =
            ClusterClient::new(channel).member_list(request).await.map_err(|status| status.message().to_owned())?;
        Ok(members(answer.into_inner()))
    };
    match timeout(LIMIT, ask).await {
        Ok(answer) => answer.map_err(EtcdError::Unreachable),
        Err(_) => Err(EtcdError::Unreachable(format!("no answer within {} s", LIMIT.as_secs()))),
    }
}

fn tls(host: &dyn Host) -> Result<ClientConfig, EtcdError> {
    let read = |path: &'static str| host.read(path).map_err(|source| EtcdError::Files { path, source });
    let unusable = |error: &dyn std::fmt::Display| EtcdError::Certificates(error.to_string());
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(&read(CA)?) {
        roots.add(ca.map_err(|e| unusable(&e))?).map_err(|e| unusable(&e))?;
    }
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&read(CERTIFICATE)?).collect::<Result<_, _>>().map_err(|e| unusable(&e))?;
    let key = PrivateKeyDer::from_pem_slice(&read(KEY)?).map_err(|e| unusable(&e))?;
    let mut config = ClientConfig::builder_with_provider(muster_trust::provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|e| unusable(&e))?;
    config.alpn_protocols = vec![muster_trust::ALPN_H2.to_vec()];
    Ok(config)
}

fn members(answer: MemberListResponse) -> EtcdMembers {
    let member = |member: muster_proto::etcd::Member| EtcdMember {
        id: format!("{:x}", member.id),
        name: member.name,
        peer_urls: member.peer_ur_ls,
        learner: member.is_learner,
    };
    EtcdMembers {
        members: answer.members.into_iter().map(member).collect(),
        self_id: answer.header.map(|header| format!("{:x}", header.member_id)).unwrap_or_default(),
    }
}
