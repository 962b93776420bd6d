//! Looks a machine over for what kubeadm will need.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::host::{Call, Host};
use crate::kubeadm::Kubeadm;
use crate::preflight::{Finding, Preflight, Standing};

/// Ports of a control plane and a kubelet.
const PORTS: &[u16] = &[2379, 2380, 6443, 10250, 10257, 10259];

/// Sockets of container runtimes, in kubeadm's order.
const SOCKETS: &[(&str, &str)] = &[
    ("containerd", "/run/containerd/containerd.sock"),
    ("cri-o", "/run/crio/crio.sock"),
    ("cri-dockerd", "/run/cri-dockerd.sock"),
];

/// Programs that print their version do so at once.
const LIMIT: Duration = Duration::from_secs(20);

impl Kubeadm {
    /// The machine as it is.
    pub async fn preflight(&self, standing: Standing) -> Preflight {
        let host = self.host.as_ref();
        let mut report = Preflight {
            kubeadm_version: first_line(host, "kubeadm", &["version", "-o", "short"]).await,
            kubelet_version: last_word(&first_line(host, "kubelet", &["--version"]).await),
            kubectl_version: last_word(&first_line(host, "kubectl", &["version", "--client"]).await),
            kernel: read(host, "/proc/sys/kernel/osrelease"),
            agent_unix_ms: host.unix_ms(),
            // The first line is the heading.
            swap_on: read(host, "/proc/swaps").lines().count() > 1,
            ports_in_use: PORTS.iter().copied().filter(|port| host.port_in_use(*port)).collect(),
            leftovers: self.traces(),
            joined: standing.joined,
            ..Preflight::default()
        };
        if let Some((name, socket)) = SOCKETS.iter().find(|(_, socket)| host.answers(socket)) {
            report.cri_socket = (*socket).to_owned();
            report.container_runtime = runtime_version(host, name).await;
        }
        report.findings = findings(&report, standing, host.has_program("kubectl"));
        report
    }
}

/// What of it does not pass.
fn findings(report: &Preflight, standing: Standing, has_kubectl: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let stranger = !standing.joined && !standing.begun;
    let mut find = |found: bool, check, fatal, message: &str| {
        if found {
            findings.push(Finding { check, message: message.to_owned(), fatal });
        }
    };
    find(
        report.kubeadm_version.is_empty(),
        "KubeadmMissing",
        true,
        "kubeadm is not on this machine, or does not run: install it",
    );
    find(
        report.kubelet_version.is_empty(),
        "KubeletMissing",
        true,
        "the kubelet is not on this machine, or does not run: install it",
    );
    find(
        !has_kubectl,
        "KubectlMissing",
        false,
        "kubectl is not on this machine: it cannot be a custodian, nor watch its own Node",
    );
    find(
        report.container_runtime.is_empty(),
        "ContainerRuntimeMissing",
        true,
        "no container runtime answers: start containerd, CRI-O or cri-dockerd",
    );
    find(
        report.swap_on,
        "Swap",
        false,
        "swap is on: turn it off, or set failSwapOn and memorySwap in the kubelet's configuration",
    );
    let leftovers =
        format!("left from an earlier life: {}; `kubeadm reset -f` removes it", report.leftovers.join(", "));
    find(!report.leftovers.is_empty() && stranger, "Leftovers", true, &leftovers);
    let ports: Vec<String> = report.ports_in_use.iter().map(u16::to_string).collect();
    let taken = format!("somebody listens on {}", ports.join(", "));
    find(!ports.is_empty() && stranger, "PortsInUse", false, &taken);
    findings
}

async fn runtime_version(host: &dyn Host, name: &str) -> String {
    let line = match name {
        "containerd" => first_line(host, "containerd", &["--version"]).await,
        "cri-o" => first_line(host, "crio", &["--version"]).await,
        _ => first_line(host, "cri-dockerd", &["--version"]).await,
    };
    let is_version =
        |word: &&str| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    let version = line.split_whitespace().find(is_version).map(|word| word.trim_start_matches('v')).unwrap_or_default();
    format!("{name} {version}").trim_end().to_owned()
}

async fn first_line(host: &dyn Host, program: &'static str, arguments: &[&str]) -> String {
    let call = Call {
        program,
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        stdin: None,
        limit: LIMIT,
        stop: CancellationToken::new(),
    };
    match host.run(call, &mut |_| {}).await {
        Ok(output) if output.succeeded() => output.stdout.into_iter().next().unwrap_or_default().trim().to_owned(),
        _ => String::new(),
    }
}

fn last_word(line: &str) -> String {
    line.split_whitespace().last().unwrap_or_default().to_owned()
}

fn read(host: &dyn Host, path: &str) -> String {
    let bytes = host.read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_report() -> Preflight {
        Preflight {
            kubeadm_version: "v1.36.2".to_owned(),
            kubelet_version: "v1.36.2".to_owned(),
            container_runtime: "containerd 2.1.9".to_owned(),
            ..Preflight::default()
        }
    }

    fn names(report: &Preflight) -> Vec<(&'static str, bool)> {
        names_of(report, Standing::default())
    }

    fn names_of(report: &Preflight, standing: Standing) -> Vec<(&'static str, bool)> {
        findings(report, standing, true).into_iter().map(|finding| (finding.check, finding.fatal)).collect()
    }

    #[test]
    fn a_good_machine_has_no_findings() {
        assert_eq!(names(&mk_report()), []);
    }

    #[test]
    fn what_is_missing_is_fatal_and_what_kubeadm_may_tolerate_is_not() {
        let bare = Preflight { swap_on: true, ports_in_use: vec![6443], ..Preflight::default() };
        assert_eq!(
            names(&bare),
            [
                ("KubeadmMissing", true),
                ("KubeletMissing", true),
                ("ContainerRuntimeMissing", true),
                ("Swap", false),
                ("PortsInUse", false)
            ]
        );
    }

    #[test]
    fn leftovers_are_fatal_unless_they_are_of_this_machines_own_join() {
        let left = Preflight { leftovers: vec!["/etc/kubernetes/kubelet.conf".to_owned()], ..mk_report() };
        assert_eq!(names(&left), [("Leftovers", true)]);
        assert_eq!(names_of(&left, Standing { joined: true, begun: false }), []);
        assert_eq!(names_of(&left, Standing { joined: false, begun: true }), []);
    }
}
