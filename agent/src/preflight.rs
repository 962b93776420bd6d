//! What the machine looks like before anything is done to it. No secret leaves a server before this has passed.

use serde::Serialize;

/// How far this machine is on its way, as its journal says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// It is a member.
    pub joined: bool,
    /// A join has changed it and was not undone, so what lies on it is this join's own.
    pub begun: bool,
}

/// One check that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Holds the join back.
    pub fatal: bool,
}

/// The report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preflight {
    /// As `kubeadm version -o short` prints it; empty if there is none.
    pub kubeadm_version: String,
    /// As `kubelet --version` prints it; empty if there is none.
    pub kubelet_version: String,
    /// As `kubectl version --client` prints it; empty if there is none.
    pub kubectl_version: String,
    /// e.g. `containerd 2.1.9`; empty if no socket answers.
    pub container_runtime: String,
    /// Path of the socket that answers.
    pub cri_socket: String,
    /// The kernel's release.
    pub kernel: String,
    /// The machine's clock, milliseconds since the Unix epoch.
    pub agent_unix_ms: u64,
    /// Any swap is in use.
    pub swap_on: bool,
    /// Ports of Kubernetes that somebody listens on.
    pub ports_in_use: Vec<u16>,
    /// Paths left from an earlier life.
    pub leftovers: Vec<String>,
    /// What did not pass.
    pub findings: Vec<Finding>,
    /// The machine is a member already, so leftovers are expected.
    pub joined: bool,
}

impl Preflight {
    /// Whether nothing holds the join back.
    pub fn passes(&self) -> bool {
        !self.findings.iter().any(|finding| finding.fatal)
    }

    /// Whether it tells a server something new: all but the clock.
    pub fn differs_from(&self, other: &Self) -> bool {
        let timeless = |report: &Self| Self { agent_unix_ms: 0, ..report.clone() };
        timeless(self) != timeless(other)
    }
}
