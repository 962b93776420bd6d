//! The first operator's credentials, for the host the server runs on.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::Context as _;
use muster_trust::Peer;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    cli::context::{Context, FirstContext as Outcome, write_first_context},
    clock::now_ms,
    operations::Unsealed,
    pki::{LeafTerms, certificates_to_pem, key_to_pem},
    seal::SecretBytes,
};

/// What a command line needs to reach this fleet as an operator. The certificate is made when it is asked for.
pub struct FirstContext {
    fleet: String,
    servers: Vec<String>,
    ca_hash: String,
    certificate_pem: String,
    key: SecretBytes,
}

/// Nothing on a server that can't sign.
pub(super) fn make(server: &Unsealed) -> anyhow::Result<Option<FirstContext>> {
    let Ok(keys) = server.keys() else { return Ok(None) };
    let identity = keys.pki.issue(&LeafTerms::operator("first"), now_ms())?;
    Ok(Some(FirstContext {
        fleet: server.fleet.to_string(),
        servers: server.urls().operators,
        ca_hash: server.anchors.pin()?.to_string(),
        certificate_pem: certificates_to_pem(&identity.certified.chain),
        key: identity.key,
    }))
}

impl FirstContext {
    /// Writes certificate, key (0600) and a context named `name` that points to them. One that is there already is told of the
    /// servers that joined since; one of another fleet, or with other credentials, is left alone.
    pub fn write(&self, config: &Path, name: &str) -> anyhow::Result<Context> {
        let folder = config.parent().context("the configuration file has no folder")?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        let context = Context { servers: self.servers.clone(), ca_hash: self.ca_hash.clone(), certificate, key };
        // The context first: if the name is taken, its files are left alone too.
        if write_first_context(config, name, &context)? == Outcome::NameTaken {
            anyhow::bail!(
                "{} has a context {name:?} of another fleet, or with other credentials; it was left alone",
                config.display(),
            );
        }
        // Key and certificate belong together: both as they are, or both new. What another fleet certified is of no use: the
        // fleet was restored, under the same pin and a new id.
        if !(is_of_fleet(&context.certificate, &self.fleet) && context.key.exists()) {
            replace(&context.key, 0o600, key_to_pem(&self.key).as_bytes())?;
            replace(&context.certificate, 0o644, self.certificate_pem.as_bytes())?;
        }
        Ok(context)
    }
}

/// The certificate is there, and of that fleet.
fn is_of_fleet(certificate: &Path, fleet: &str) -> bool {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let peer = chain.ok().and_then(|chain| Peer::of_certificates(&chain).ok());
    peer.is_some_and(|peer| peer.spiffe.fleet() == fleet)
}

/// Replaces a file as a whole, with its mode from the first byte on.
fn replace(path: &Path, mode: u32, content: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().context("a credential's path has no folder")?;
    let write = || {
        let permissions = fs::Permissions::from_mode(mode);
        let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(|_file| ()).with_context(|| path.display().to_string())
}
