//! Holders of certificates.

use anyhow::{Context as _, Result};
use muster_proto::enrolment::v1::Issued;
use muster_proto::join::v1::join_service_client::JoinServiceClient;
use muster_proto::join::v1::{RenewRequest, RenewResponse};
use muster_trust::TlsIdentity;
use rcgen::KeyPair;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{Applicant, Listener, connect, soon};
use crate::Server;

/// A node's key with its certificate.
pub struct Certified {
    /// The node's id.
    pub node_id: String,
    /// Generation of this identity.
    pub generation: u64,
    /// Leaf first.
    pub chain: Vec<Vec<u8>>,
    key_der: Vec<u8>,
}

impl Certified {
    /// Of what was issued for a key.
    pub fn new(key: &KeyPair, issued: &Issued) -> Self {
        Self {
            node_id: issued.node_id.clone(),
            generation: issued.generation,
            chain: issued.certificate_chain.clone(),
            key_der: key.serialized_der().to_vec(),
        }
    }

    /// The same node with the answer to a renewal.
    pub fn renewed(&self, key: &KeyPair, answer: &RenewResponse) -> Self {
        Self {
            node_id: self.node_id.clone(),
            generation: answer.generation,
            chain: answer.certificate_chain.clone(),
            key_der: key.serialized_der().to_vec(),
        }
    }

    /// What it shows.
    pub fn tls(&self) -> TlsIdentity {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone()));
        TlsIdentity { chain: self.chain.iter().cloned().map(CertificateDer::from).collect(), key }
    }

    /// Asks for a certificate for the key of `next`.
    ///
    /// # Errors
    /// If the server is not reached; what it answers is inside.
    pub async fn renew(&self, server: &Server, next: &Applicant) -> Result<Result<RenewResponse, tonic::Status>> {
        self.renew_with(server, next.request()?).await
    }

    /// Asks with any request.
    ///
    /// # Errors
    /// As [`Certified::renew`].
    pub async fn renew_with(&self, server: &Server, csr_der: Vec<u8>) -> Result<Result<RenewResponse, tonic::Status>> {
        let channel = connect(server, Listener::Nodes, Some(self.tls())).await?;
        let request = RenewRequest { csr_der, generation: self.generation };
        let mut client = JoinServiceClient::new(channel);
        let answer = soon("a renewal", client.renew(request)).await?;
        Ok(answer.map(tonic::Response::into_inner))
    }
}

/// The operator of the server's host, as the first start wrote it.
///
/// # Errors
/// If certificate or key can't be read.
pub fn operator(server: &Server) -> Result<TlsIdentity> {
    let config = server.operator_config();
    let folder = config.parent().context("a context lies in a folder")?;
    let chain = CertificateDer::pem_file_iter(folder.join("local.crt"))?.collect::<Result<Vec<_>, _>>()?;
    Ok(TlsIdentity { chain, key: PrivateKeyDer::from_pem_file(folder.join("local.key"))? })
}
