//! `muster cluster import`: the PKI is brought in; there is no connection to the cluster.

use std::path::Path;

use muster_proto::admin::v1::{ClusterSpec, ImportClusterRequest, PkiFile};

use super::create::check_settings;
use super::{NEXT_MACHINES, default_pools, made};
use crate::cli::args::ImportArgs;
use crate::cli::client::{Session, request_id};
use crate::cli::console::Console;
use crate::cli::exit::{Exit, Failure};

/// What a new control plane needs of a cluster's PKI; everything else in the directory belongs to one machine.
const FILES: [&str; 8] =
    ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub", "etcd/ca.crt", "etcd/ca.key"];
/// Largest of them, in bytes; an RSA-4096 key is 3 KiB.
const FILE_MAX: u64 = 64 << 10;

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
    let pki = read_pki(&pki.unwrap_or_default())?;
    let missing: Vec<&str> = FILES.into_iter().filter(|name| !pki.iter().any(|file| file.name == *name)).collect();
    if !missing.is_empty() {
        console.say(&format!("not in the PKI: {}; what needs them will be refused", missing.join(", ")));
    }
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

/// The files that are there, of those that are needed.
fn read_pki(folder: &Path) -> Result<Vec<PkiFile>, Failure> {
    let unreadable = |path: &Path, why: &dyn std::fmt::Display| {
        Failure::new(Exit::Invalid, format!("cannot read {}: {why}", path.display()))
    };
    let mut pki = Vec::new();
    for name in FILES {
        let path = folder.join(name);
        let length = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&path, &error)),
        };
        if length > FILE_MAX {
            return Err(unreadable(&path, &format!("it is longer than {FILE_MAX} bytes")));
        }
        let content = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        pki.push(PkiFile { name: name.to_owned(), content });
    }
    if !pki.iter().any(|file| file.name == "ca.crt") {
        return Err(unreadable(&folder.join("ca.crt"), &"there is no such file, and without it there is no cluster"));
    }
    Ok(pki)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_the_cluster_is_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etcd")).unwrap();
        for name in ["ca.crt", "ca.key", "apiserver.key", "etcd/ca.key", "etcd/server.key"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let pki = read_pki(folder.path()).unwrap();
        let names: Vec<&str> = pki.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["ca.crt", "ca.key", "etcd/ca.key"]);
        assert_eq!(pki[2].content, b"etcd/ca.key");
    }

    #[test]
    fn a_directory_without_a_ca_is_no_pki() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_pki(folder.path()).unwrap_err().exit, Exit::Invalid);
    }

    #[test]
    fn a_file_that_cannot_be_a_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), vec![0; 65 << 10]).unwrap();
        assert!(read_pki(folder.path()).unwrap_err().message.contains("longer than"));
    }
}
