//! Clusters: made, brought in, applied, listed.

use std::mem;

use muster_proto::admin::v1::{
    ApplyClusterRequest, ApplyClusterResponse, Cluster, ClusterList, CreateClusterRequest, ImportClusterRequest,
    ListClustersRequest, PkiFile,
};
use muster_state::ClusterId;
use tonic::{Request, Response};
use zeroize::Zeroize as _;

use super::{
    Answer,
    call::{changing, reading},
    resolve,
};
use crate::{
    api::{status::of_operation, wire},
    clock::now_ms,
    operations::{
        OperationError, Unsealed,
        apply_cluster::{self, Applied, Outcome},
        create_cluster::{self, Pki, PkiFiles},
    },
};

/// Files of an import: a kubeadm pki directory has 22, with those of one machine.
const PKI_FILES_MAX: usize = 64;
/// Bytes of one file: bundles of a few certificates fit.
const PKI_FILE_MAX: usize = 64 * 1024;
/// Bytes of a file's name.
const PKI_NAME_MAX: usize = 128;

pub(super) async fn create(server: &Unsealed, request: Request<CreateClusterRequest>) -> Answer<Cluster> {
    let (request, body) = changing(server, request)?;
    let spec = wire::cluster::spec::parse(body.spec).map_err(of_operation)?;
    let id = create_cluster::run(server, request, spec, Pki::Made).await.map_err(of_operation)?;
    Ok(Response::new(view(server, &id)))
}

pub(super) async fn import(server: &Unsealed, request: Request<ImportClusterRequest>) -> Answer<Cluster> {
    let (request, mut body) = changing(server, request)?;
    // First, so that they are wiped whatever else is wrong.
    let files = pki_files(mem::take(&mut body.pki)).map_err(of_operation)?;
    let spec = wire::cluster::spec::parse(body.spec).map_err(of_operation)?;
    let id = create_cluster::run(server, request, spec, Pki::Imported(files)).await.map_err(of_operation)?;
    Ok(Response::new(view(server, &id)))
}

pub(super) async fn apply(server: &Unsealed, request: Request<ApplyClusterRequest>) -> Answer<ApplyClusterResponse> {
    let (request, ApplyClusterRequest { spec, dry_run, .. }) = changing(server, request)?;
    let spec = wire::cluster::spec::parse(spec).map_err(of_operation)?;
    let made = wire::cluster::spec::render(&spec);
    let applied = apply_cluster::run(server, request, spec, dry_run).await.map_err(of_operation)?;
    let Applied { cluster, outcome, changes } = applied;
    // What a dry run would have made has neither an id nor pins.
    let cluster = cluster.map_or_else(|| Cluster { spec: Some(made), ..Cluster::default() }, |id| view(server, &id));
    Ok(Response::new(ApplyClusterResponse { cluster: Some(cluster), outcome: word(outcome).into(), changes }))
}

pub(super) fn list(server: &Unsealed, request: Request<ListClustersRequest>) -> Answer<ClusterList> {
    let wanted = reading(request)?.cluster;
    let ids = server.ledger.read(|state| match wanted.as_str() {
        "" => Ok(state.clusters.keys().cloned().collect::<Vec<_>>()),
        text => {
            Ok(resolve::find_cluster(state, "cluster", text)?.map(|cluster| cluster.id.clone()).into_iter().collect())
        }
    });
    // One read each: applying waits for readers, and a view counts the cluster's nodes.
    let items = ids.map_err(of_operation)?.iter().map(|id| view(server, id)).collect();
    Ok(Response::new(ClusterList { items }))
}

/// The cluster as it is now; its id alone if it is gone.
fn view(server: &Unsealed, id: &ClusterId) -> Cluster {
    let now_ms = now_ms();
    let found =
        server.ledger.read(|state| state.clusters.get(id).map(|cluster| wire::cluster::render(state, cluster, now_ms)));
    found.unwrap_or_else(|| Cluster { id: id.to_string(), ..Cluster::default() })
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "created",
        Outcome::Configured => "configured",
        Outcome::Unchanged => "unchanged",
    }
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
