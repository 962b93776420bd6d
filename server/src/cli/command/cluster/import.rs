//! `muster cluster import`: the PKI is brought in; there is no connection to the cluster.

use std::path::Path;

use muster_proto::admin::v1::{ClusterSpec, ImportClusterRequest, PkiFile};

use super::create::check_settings;
use super::{NEXT_MACHINES, default_pools, made};
use crate::cli::args::ImportArgs;
use crate::cli::client::{Session, request_id};
use crate::cli::console::{Console, plain};
use crate::cli::exit::{Exit, Failure};
use crate::pki;

/// What can be wrong with the arguments alone.
pub(super) fn check(args: &ImportArgs) -> Result<(), Failure> {
    if args.kubeconfig.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "--kubeconfig is refused: Muster cannot link to the API of an imported cluster yet",
        )
        .with_next("bring in its PKI with --pki DIR (a copy of /etc/kubernetes/pki); it is then extended detached"));
    }
    if args.pki.is_none() {
        return Err(Failure::new(
            Exit::Usage,
            "--pki DIR is needed: the cluster's /etc/kubernetes/pki, or a copy of it",
        ));
    }
    check_settings(&args.name, &args.endpoint, &args.kubernetes, [&args.pod_subnet, &args.service_subnet])
}

pub(super) async fn run(args: ImportArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let ImportArgs { name, pki, kubeconfig: _, endpoint, kubernetes, pod_subnet, service_subnet, dns_domain } = args;
    let pki = read_pki(&pki.unwrap_or_default(), console)?;
    let spec = ClusterSpec {
        name,
        kubernetes_version: kubernetes,
        endpoint,
        pod_subnet: pod_subnet.unwrap_or_default(),
        service_subnet: service_subnet.unwrap_or_default(),
        dns_domain: dns_domain.unwrap_or_default(),
        pools: default_pools(),
        ..ClusterSpec::default()
    };
    let request = ImportClusterRequest { request_id: request_id(), spec: Some(spec), pki };
    let imported = session.call(async |mut client| client.import_cluster(request.clone()).await).await?;
    made(&imported, "imported", console)?;
    console.next(NEXT_MACHINES);
    Ok(())
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
