//! Clusters that exist: brought in with their PKI, with a kubeconfig, or both.

use std::mem;

use muster_proto::admin::v1::{Cluster, ImportClusterRequest, PkiFile, SetClusterCredentialsRequest};
use tonic::{Request, Response};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Answer, call::changing, clusters::view, resolve};
use crate::{
    api::{status::of_operation, wire},
    kubernetes,
    operations::{
        OperationError, Unsealed,
        create_cluster::PkiFiles,
        import_cluster::{self, Import},
        set_credentials,
    },
    pki::kubeconfig::Kubeconfig,
};

/// Files of an import: a kubeadm pki directory has 22, with those of one machine.
const PKI_FILES_MAX: usize = 64;
/// Bytes of one file: bundles of a few certificates fit.
const PKI_FILE_MAX: usize = 64 * 1024;
/// Bytes of a file's name.
const PKI_NAME_MAX: usize = 128;

pub(super) async fn cluster(server: &Unsealed, request: Request<ImportClusterRequest>) -> Answer<Cluster> {
    let (request, mut body) = changing(server, request)?;
    // First, so that they are wiped whatever else is wrong.
    let text = Zeroizing::new(mem::take(&mut body.kubeconfig));
    let files = pki_files(mem::take(&mut body.pki)).map_err(of_operation)?;
    let spec = wire::cluster::spec::parse(body.spec).map_err(of_operation)?;
    let kubeconfig = kubeconfig(&text).map_err(of_operation)?;
    let found = match &kubeconfig {
        Some(kubeconfig) => asked(kubeconfig).await.map_err(of_operation)?,
        None => None,
    };
    let import = Import { spec, files, kubeconfig, found };
    let id = import_cluster::run(server, request, import).await.map_err(of_operation)?;
    Ok(Response::new(view(server, &id)))
}

pub(super) async fn credentials(server: &Unsealed, request: Request<SetClusterCredentialsRequest>) -> Answer<Cluster> {
    let (request, mut body) = changing(server, request)?;
    let text = Zeroizing::new(mem::take(&mut body.kubeconfig));
    let id =
        server.ledger.read(|state| resolve::cluster(state, "cluster", &body.cluster).map(|found| found.id.clone()));
    let id = id.map_err(of_operation)?;
    let kubeconfig = kubeconfig(&text).map_err(of_operation)?;
    let kubeconfig = kubeconfig.ok_or_else(|| of_operation(OperationError::invalid("kubeconfig", "is needed")))?;
    asked(&kubeconfig).await.map_err(of_operation)?;
    set_credentials::run(server, request, &id, &kubeconfig).await.map_err(of_operation)?;
    Ok(Response::new(view(server, &id)))
}

fn kubeconfig(text: &str) -> Result<Option<Kubeconfig>, OperationError> {
    if text.is_empty() {
        return Ok(None);
    }
    Kubeconfig::parse(text).map(Some).map_err(|err| OperationError::invalid("kubeconfig", err))
}

/// What the cluster says of itself. Credentials that do not work are not taken.
async fn asked(
    kubeconfig: &Kubeconfig,
) -> Result<Option<crate::kubeadm::cluster_configuration::ClusterConfiguration>, OperationError> {
    kubernetes::survey(kubeconfig).await.map_err(|why| {
        OperationError::NotNow(format!("this server could not speak to the cluster's API by the kubeconfig: {why}"))
    })
}

fn pki_files(files: Vec<PkiFile>) -> Result<PkiFiles, OperationError> {
    let (given, mut kept, mut problem) = (files.len(), PkiFiles::default(), None);
    for PkiFile { name, content } in files {
        if name.is_empty() || name.len() > PKI_NAME_MAX {
            problem = Some(format!("a file's name must be 1 to {PKI_NAME_MAX} bytes"));
        } else if content.len() > PKI_FILE_MAX {
            problem = Some(format!("{name:?} is longer than {PKI_FILE_MAX} bytes"));
        } else if kept.0.contains_key(&name) {
            problem = Some(format!("{name:?} is given twice"));
        }
        // Kept even if refused, since what is kept is wiped; what it takes the place of is wiped here.
        if let Some(mut other) = kept.0.insert(name, content) {
            other.zeroize();
        }
    }
    if given > PKI_FILES_MAX {
        problem = Some(format!("has {given} files; at most {PKI_FILES_MAX} are taken"));
    }
    match problem {
        Some(problem) => Err(OperationError::invalid("pki", problem)),
        None => Ok(kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_file(name: &str, length: usize) -> PkiFile {
        PkiFile { name: name.into(), content: vec![b'x'; length] }
    }

    fn refusal(files: Vec<PkiFile>) -> String {
        pki_files(files).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_import_is_bounded_in_number_size_and_names() {
        assert!(pki_files(vec![mk_file("ca.crt", PKI_FILE_MAX), mk_file("ca.key", 1)]).is_ok());
        assert!(refusal(vec![mk_file("ca.crt", PKI_FILE_MAX + 1)]).contains("longer than"));
        assert!(refusal(vec![mk_file("", 1)]).contains("name"));
        assert!(refusal(vec![mk_file("a", 1), mk_file("a", 2)]).contains("given twice"));
        let many = (0..=PKI_FILES_MAX).map(|n| mk_file(&n.to_string(), 1)).collect();
        assert!(refusal(many).contains("at most"));
    }

    #[test]
    fn a_refusal_of_an_import_never_repeats_a_file() {
        let said = refusal(vec![mk_file("ca.key", PKI_FILE_MAX + 1)]);
        assert!(!said.contains("xx"), "{said}");
    }
}
