//! Takes over a cluster that exists: with its PKI, with a kubeconfig, or with both. What the cluster says of itself counts; what an
//! operator says otherwise is refused.

use muster_state::{
    ClusterId, Request,
    record::{Admission, ClusterSpec, CsrApproval, Link, Pool, Role},
};

use super::{
    OperationError, Unsealed,
    create_cluster::{self, Brought, Pki, PkiFiles},
};
use crate::{
    clock::now_ms,
    kubeadm::{cluster_configuration::ClusterConfiguration, version::KubernetesVersion},
    pki::{file, kubeconfig::Kubeconfig},
};

/// What an operator brings.
pub struct Import {
    /// What was written. Without pools, there are two: one of control planes, where those can be added, and one of workers.
    pub spec: ClusterSpec,
    /// The PKI, or nothing.
    pub files: PkiFiles,
    /// The way to the cluster's API.
    pub kubeconfig: Option<Kubeconfig>,
    /// What the cluster says of itself, if it was asked and lets its configuration be read.
    pub found: Option<ClusterConfiguration>,
}

/// Creates the record.
///
/// # Errors
/// If what was brought does not fit together, or the cluster says otherwise.
pub async fn run(server: &Unsealed, request: Request, import: Import) -> Result<ClusterId, OperationError> {
    let Import { mut spec, mut files, kubeconfig, found } = import;
    let mut workers_only = String::new();
    if let Some(kubeconfig) = &kubeconfig {
        kubeconfig.check_dates(now_ms()).map_err(|err| OperationError::invalid("kubeconfig", err))?;
        settle(&mut spec, kubeconfig, found.as_ref())?;
        workers_only = why_workers_only(&files, found.as_ref());
        authority(&mut files, kubeconfig)?;
        spec.link.get_or_insert(Link { csr_approval: CsrApproval::Muster });
    }
    if spec.pools.is_empty() {
        spec.pools = pools(workers_only.is_empty());
    }
    let brought = Brought { files, kubeconfig, workers_only };
    create_cluster::run(server, request, spec, Pki::Imported(brought)).await
}

/// Takes from the cluster what is not written, and refuses what is written otherwise.
fn settle(
    spec: &mut ClusterSpec,
    kubeconfig: &Kubeconfig,
    found: Option<&ClusterConfiguration>,
) -> Result<(), OperationError> {
    if let Some(found) = found {
        let endpoint = found.endpoint().unwrap_or_default();
        let networking = &found.networking;
        for (field, own, theirs) in [
            ("spec.kubernetes.version", &mut spec.kubernetes_version, &found.kubernetes_version),
            ("spec.kubernetes.endpoint", &mut spec.endpoint, &endpoint),
            ("spec.kubernetes.podSubnet", &mut spec.pod_subnet, &networking.pod_subnet),
            ("spec.kubernetes.serviceSubnet", &mut spec.service_subnet, &networking.service_subnet),
            ("spec.kubernetes.dnsDomain", &mut spec.dns_domain, &networking.dns_domain),
        ] {
            if theirs.is_empty() || is_same(own, theirs) {
                continue;
            }
            if !own.is_empty() {
                let problem = format!("is {own:?} here, but the cluster itself says {theirs:?}: leave it out");
                return Err(OperationError::invalid(field, problem));
            }
            own.clone_from(theirs);
        }
    }
    if spec.endpoint.is_empty() {
        spec.endpoint.clone_from(&kubeconfig.server);
    }
    if spec.kubernetes_version.is_empty() {
        let problem = "is needed: the kubeconfig's user can't read it from the cluster (ConfigMap kubeadm-config)";
        return Err(OperationError::invalid("spec.kubernetes.version", problem));
    }
    Ok(())
}

fn is_same(own: &str, theirs: &str) -> bool {
    let parsed = [own, theirs].map(|text| KubernetesVersion::parse(text).ok());
    own == theirs || (parsed[0].is_some() && parsed[0] == parsed[1])
}

fn why_workers_only(files: &PkiFiles, found: Option<&ClusterConfiguration>) -> String {
    if found.is_some_and(|found| found.endpoint().is_none()) {
        "the cluster has no controlPlaneEndpoint, without which kubeadm adds no control plane to it".into()
    } else if !files.0.contains_key(file::SA_KEY) {
        "the keys of its PKI were not brought in, which a control plane needs".into()
    } else {
        String::new()
    }
}

/// The kubeconfig's authority is the cluster's: in the PKI, or in place of one.
fn authority(files: &mut PkiFiles, kubeconfig: &Kubeconfig) -> Result<(), OperationError> {
    let known = files.0.entry(file::CA_CRT.to_owned()).or_insert_with(|| kubeconfig.authority.clone().into_bytes());
    if kubeconfig.is_of(&String::from_utf8_lossy(known)) {
        return Ok(());
    }
    let problem = "its certificate-authority-data is not in the PKI's ca.crt: the two are of different clusters";
    Err(OperationError::invalid("kubeconfig", problem))
}

/// Every machine of either is approved by an operator. Control planes get the PKI over their stream: the cluster is not given
/// another copy of its keys.
fn pools(control_planes: bool) -> Vec<Pool> {
    let pool = |role: Role| Pool {
        name: role.to_string(),
        role,
        count: 0,
        admission: Admission::Approve,
        selector: Default::default(),
        labels: Default::default(),
        taints: Vec::new(),
        nodes: Vec::new(),
        certificates_direct: role == Role::ControlPlane,
        discovery: "file".into(),
    };
    let control_planes = control_planes.then(|| pool(Role::ControlPlane));
    control_planes.into_iter().chain([pool(Role::Worker)]).collect()
}

#[cfg(test)]
mod tests;
