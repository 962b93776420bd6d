//! What a machine found of itself.

use muster_proto::join::v1::{Finding as WireFinding, Preflight as Wire};
use muster_state::{
    facts::{Finding, Preflight},
    limits::clip,
};

const LIST_MAX: usize = 64;

/// Parses a report; the clock offset is the agent's time against ours at this moment.
pub fn parse(wire: Wire, now_ms: u64) -> Preflight {
    let offset = i128::from(wire.agent_unix_ms) - i128::from(now_ms);
    let finding =
        |found: WireFinding| Finding { check: clip(&found.check), message: clip(&found.message), fatal: found.fatal };
    Preflight {
        kubeadm_version: clip(&wire.kubeadm_version),
        kubelet_version: clip(&wire.kubelet_version),
        kubectl_version: clip(&wire.kubectl_version),
        container_runtime: clip(&wire.container_runtime),
        cri_socket: clip(&wire.cri_socket),
        kernel: clip(&wire.kernel),
        clock_offset_ms: i64::try_from(offset).unwrap_or(i64::MAX),
        swap_on: wire.swap_on,
        ports_in_use: wire.ports_in_use.into_iter().take(LIST_MAX).collect(),
        leftovers: wire.leftovers.iter().take(LIST_MAX).map(|path| clip(path)).collect(),
        findings: wire.findings.into_iter().take(LIST_MAX).map(finding).collect(),
        joined: wire.joined,
    }
}

/// A report as it is shown.
pub fn render(report: &Preflight) -> Wire {
    let finding = |found: &Finding| WireFinding {
        check: found.check.clone(),
        message: found.message.clone(),
        fatal: found.fatal,
    };
    Wire {
        kubeadm_version: report.kubeadm_version.clone(),
        kubelet_version: report.kubelet_version.clone(),
        kubectl_version: report.kubectl_version.clone(),
        container_runtime: report.container_runtime.clone(),
        cri_socket: report.cri_socket.clone(),
        kernel: report.kernel.clone(),
        agent_unix_ms: 0,
        swap_on: report.swap_on,
        ports_in_use: report.ports_in_use.clone(),
        leftovers: report.leftovers.clone(),
        findings: report.findings.iter().map(finding).collect(),
        joined: report.joined,
    }
}
