//! What a machine's own preflight can't see: whether its versions go with its cluster's, and its clock with ours.

use muster_state::{facts::Preflight, record::ClusterSpec};

use crate::kubeadm::version::{KubernetesVersion, check_skew};

/// kubelet certificates are backdated by five minutes; beyond that a new one is not valid yet on the machine.
const CLOCK_OFFSET_MAX_MS: i64 = 4 * 60 * 1000;

/// The problem that holds a machine back, or an empty text.
pub fn problem(spec: &ClusterSpec, report: &Preflight) -> String {
    if report.clock_offset_ms.abs() > CLOCK_OFFSET_MAX_MS {
        let seconds = report.clock_offset_ms / 1000;
        return format!(
            "its clock is {seconds} s off the server's: certificates would not be valid; set up time synchronisation"
        );
    }
    match skew(spec, report) {
        Ok(()) => String::new(),
        Err(problem) => problem,
    }
}

fn skew(spec: &ClusterSpec, report: &Preflight) -> Result<(), String> {
    let parse = |what: &str, text: &str| {
        KubernetesVersion::parse(text).map_err(|err| format!("{what} version {text:?}: {err}"))
    };
    let cluster = parse("cluster", &spec.kubernetes_version)?;
    let kubeadm = parse("kubeadm", &report.kubeadm_version)?;
    let kubelet = parse("kubelet", &report.kubelet_version)?;
    check_skew(&cluster, &kubeadm, &kubelet).map(|_| ()).map_err(|err| err.to_string())
}
