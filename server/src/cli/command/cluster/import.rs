//! `muster cluster import`: a cluster that exists, by a kubeconfig, its PKI, or both.

use std::path::Path;

use muster_proto::admin::v1::{ClusterSpec, ImportClusterRequest, PkiFile};
use zeroize::Zeroizing;

use super::create::check_settings;
use super::{NEXT_MACHINES, made};
use crate::cli::args::ImportArgs;
use crate::cli::client::{Session, request_id};
use crate::cli::command::pin::read_file;
use crate::cli::console::{Console, plain};
use crate::cli::exit::{Exit, Failure};
use crate::pki;
use crate::pki::kubeconfig::{BYTES_MAX, Kubeconfig};

/// What can be wrong with the arguments alone.
pub(super) fn check(args: &ImportArgs) -> Result<(), Failure> {
    let usage = |message: &str| Failure::new(Exit::Usage, message);
    if args.kubeconfig.is_none() {
        if args.pki.is_none() {
            let message =
                "--kubeconfig FILE is needed, or --pki DIR: the cluster's /etc/kubernetes/pki, or a copy of it";
            return Err(usage(message));
        }
        if args.endpoint.is_none() || args.kubernetes.is_none() {
            let next = "or give --kubeconfig FILE: then the cluster is asked";
            return Err(usage("--endpoint HOST:PORT and --kubernetes VERSION are needed").with_next(next));
        }
    }
    // What is left out is the cluster's own.
    let (endpoint, version) = (args.endpoint.as_deref(), args.kubernetes.as_deref());
    let subnets = [&args.pod_subnet, &args.service_subnet];
    check_settings(&args.name, endpoint.unwrap_or("left.out:1"), version.unwrap_or("v1.36.2"), subnets)
}

pub(super) async fn run(args: ImportArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let pki = args.pki.as_deref().map(|folder| read_pki(folder, console)).transpose()?.unwrap_or_default();
    let kubeconfig = args.kubeconfig.as_deref().map(|path| read_kubeconfig(path, console)).transpose()?;
    let request = ImportClusterRequest {
        request_id: request_id(),
        spec: Some(spec(args, kubeconfig.is_some())),
        pki,
        kubeconfig: kubeconfig.map(|given| given.render().expose().to_owned()).unwrap_or_default(),
    };
    let bar = console.spinner("looking at the cluster");
    let imported = session.call(async |mut client| client.import_cluster(request.clone()).await).await;
    bar.finish_and_clear();
    made(&imported?, "imported", console)?;
    console.next(NEXT_MACHINES);
    Ok(())
}

/// Without pools: the server gives it those that it can have.
fn spec(args: ImportArgs, linked: bool) -> ClusterSpec {
    ClusterSpec {
        name: args.name,
        kubernetes_version: args.kubernetes.unwrap_or_default(),
        endpoint: args.endpoint.unwrap_or_default(),
        pod_subnet: args.pod_subnet.unwrap_or_default(),
        service_subnet: args.service_subnet.unwrap_or_default(),
        dns_domain: args.dns_domain.unwrap_or_default(),
        access: if linked { "linked".into() } else { String::new() },
        csr_approval: args.csr_approval.unwrap_or_default(),
        ..ClusterSpec::default()
    }
}

/// The current context of a kubeconfig, checked and reduced to what is needed before any of it leaves this machine.
pub(super) fn read_kubeconfig(path: &Path, console: &mut Console) -> Result<Kubeconfig, Failure> {
    let invalid = |message: String| Failure::new(Exit::Invalid, format!("{}: {}", path.display(), plain(&message)));
    let content = Zeroizing::new(read_file(path, BYTES_MAX as u64, console)?);
    let text = std::str::from_utf8(&content).map_err(|_| invalid("it is no text".into()))?;
    let kubeconfig = Kubeconfig::parse(text).map_err(|error| invalid(error.to_string()))?;
    let now_ms = u64::try_from(console.now().as_millisecond()).unwrap_or(0);
    kubeconfig.check_dates(now_ms).map_err(|error| invalid(error.to_string()))?;
    Ok(kubeconfig)
}

/// What new control planes need of a PKI directory, checked before any of it leaves this machine. Files of one machine
/// stay where they are.
fn read_pki(folder: &Path, console: &mut Console) -> Result<Vec<PkiFile>, Failure> {
    let invalid = |message: String| Failure::new(Exit::Invalid, message);
    let files = pki::read_dir(folder).map_err(|error| invalid(format!("cannot read the PKI: {error}")))?;
    let now_ms = u64::try_from(console.now().as_millisecond()).unwrap_or(0);
    let imported = pki::import(&files, now_ms)
        .map_err(|error| invalid(format!("{}: {}", folder.display(), plain(&error.to_string()))))?;
    report(&imported.report, console);
    let files = imported.pki.files.iter();
    Ok(files.map(|(name, file)| PkiFile { name: (*name).to_owned(), content: file.expose().into() }).collect())
}

fn report(report: &pki::ImportReport, console: &mut Console) {
    if !report.missing.is_empty() {
        console.say(&format!("not in the PKI: {}; what needs them will be refused", report.missing.join(", ")));
    }
    for authority in &report.authorities {
        if authority.key == pki::KeyReport::External {
            let file = authority.authority.certificate_file();
            console.say(&format!("{file} has no key here: it is taken as an external authority"));
        }
        for certificate in authority.certificates.iter().filter(|certificate| certificate.expires_soon) {
            console.warn(&format!("warning: {} expires within 90 days", plain(&certificate.subject)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;
    use crate::cli::console::testing::{mk_console, noon};
    use crate::pki::{ClusterPki, KeyAlgorithm};

    fn mk_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etcd")).unwrap();
        let now_ms = noon().as_millisecond().try_into().unwrap();
        for (name, file) in ClusterPki::generate(KeyAlgorithm::EcdsaP256, now_ms).unwrap().files {
            std::fs::write(folder.path().join(name), file.expose()).unwrap();
        }
        folder
    }

    #[test]
    fn only_what_belongs_to_the_cluster_is_read() {
        let folder = mk_folder();
        std::fs::write(folder.path().join("apiserver.key"), "of one machine").unwrap();
        let (mut console, written) = mk_console(Format::Table);
        let pki = read_pki(folder.path(), &mut console).unwrap();
        let names: Vec<&str> = pki.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names.len(), 8);
        assert!(names.contains(&"etcd/ca.key") && !names.contains(&"apiserver.key"), "{names:?}");
        assert_eq!(written.err(), "");
    }

    #[test]
    fn what_is_missing_is_said() {
        let folder = mk_folder();
        std::fs::remove_file(folder.path().join("ca.key")).unwrap();
        std::fs::remove_file(folder.path().join("sa.key")).unwrap();
        let (mut console, written) = mk_console(Format::Table);
        assert_eq!(read_pki(folder.path(), &mut console).unwrap().len(), 6);
        assert!(written.err().contains("not in the PKI: sa.key"), "{}", written.err());
        assert!(written.err().contains("ca.crt has no key here"), "{}", written.err());
    }

    #[test]
    fn a_key_of_another_authority_never_leaves_the_machine() {
        let folder = mk_folder();
        std::fs::copy(folder.path().join("etcd/ca.key"), folder.path().join("ca.key")).unwrap();
        let failure = read_pki(folder.path(), &mut mk_console(Format::Table).0).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        assert!(failure.message.contains("ca.key"), "{failure}");
    }

    #[test]
    fn a_directory_without_a_ca_is_no_pki() {
        let folder = tempfile::tempdir().unwrap();
        let failure = read_pki(folder.path(), &mut mk_console(Format::Table).0).unwrap_err();
        assert!(failure.message.contains("ca.crt"), "{failure}");
    }
}
