//! A cluster's PKI as it lies on a control plane.

use zeroize::Zeroizing;

use super::{File, Records};
use crate::{
    kubeadm::config::DEFAULT_CERTIFICATES_DIR,
    operations::{Unsealed, vault::Secret},
};

/// Certificates, public key and every private key that is stored.
pub(super) fn render(server: &Unsealed, records: &Records) -> anyhow::Result<Vec<File>> {
    let (cluster, keys) = (&records.cluster, server.keys()?);
    let file = |name: &str, mode, content: Zeroizing<Vec<u8>>| File {
        path: format!("{DEFAULT_CERTIFICATES_DIR}/{name}"),
        mode,
        content,
        transient: false,
    };
    let public = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
    let mut files: Vec<File> = cluster.certificates.iter().map(|ca| file(&ca.name, 0o644, public(&ca.pem))).collect();
    files.push(file("sa.pub", 0o644, public(&cluster.service_account_public)));
    for (name, secret) in &cluster.keys {
        let key = Secret::ClusterKey(&cluster.id, name).open(&keys.sealer, secret)?;
        files.push(file(name, 0o600, key));
    }
    Ok(files)
}
