//! An operator's certificate is renewed by the command line that shows it, for the key that is there: only one file is replaced,
//! so that nothing can come between a key and its certificate.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use muster_proto::admin::v1::RenewOperatorRequest;
use muster_trust::Peer;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Session, request_id};
use crate::cli::console::Console;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::pki::certificates_to_pem;

/// Renews the certificate if two thirds of its life are over. What goes wrong is said and keeps no command from its end.
pub(in crate::cli) async fn when_due(context: &Context, session: &Session, console: &mut Console) {
    let now_ms = u64::try_from(console.now().as_millisecond()).unwrap_or_default();
    let Ok((_, peer)) = read(context) else { return };
    if now_ms < peer.renew_at_ms() {
        return;
    }
    match renew(context, session).await {
        Ok(_) => console.say(&format!("this operator's certificate was renewed: {}", context.certificate.display())),
        Err(failure) => console.warn(&format!("this operator's certificate could not be renewed: {}", failure.message)),
    }
}

/// Asks for another certificate and puts it in the place of the present one. Gives when it ends, milliseconds since 1970.
///
/// # Errors
/// If the key can't be read, no voter signs, what comes is for somebody else, or the file can't be replaced.
pub(in crate::cli) async fn renew(context: &Context, session: &Session) -> Result<u64, Failure> {
    let (_, before) = read(context)?;
    let request = RenewOperatorRequest { request_id: request_id(), csr_der: request_for(&context.key)? };
    let issued = session.call(async |mut client| client.renew_operator(request.clone()).await).await?;
    let chain: Vec<CertificateDer<'_>> = issued.chain_der.into_iter().map(CertificateDer::from).collect();
    let after = Peer::of_certificates(&chain).map_err(|error| failed(&context.certificate, &error))?;
    if after.spiffe != before.spiffe || after.spki_fingerprint != before.spki_fingerprint {
        return Err(Failure::new(
            Exit::Failed,
            "the server certified somebody else; the certificate was left as it is",
        ));
    }
    replace(&context.certificate, certificates_to_pem(&chain).as_bytes())
        .map_err(|error| failed(&context.certificate, &error))?;
    Ok(after.not_after_ms)
}

fn read(context: &Context) -> Result<(Vec<CertificateDer<'static>>, Peer), Failure> {
    let chain = CertificateDer::pem_file_iter(&context.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| failed(&context.certificate, &error))?;
    let peer = Peer::of_certificates(&chain).map_err(|error| failed(&context.certificate, &error))?;
    Ok((chain, peer))
}

/// PKCS#10 for the key in a file; it names nobody.
fn request_for(key: &Path) -> Result<Vec<u8>, Failure> {
    let der = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
    let pair = KeyPair::try_from(&der).map_err(|error| failed(key, &error))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&pair).map_err(|error| failed(key, &error))?;
    Ok(request.der().to_vec())
}

/// The old file or the new one, never half of it.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = std::fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {error}", path.display()))
}
