//! The closed list of causes, and which words of kubeadm stand for which.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! causes {
    ($($(#[$doc:meta])+ $cause:ident,)+) => {
        /// Why a call failed. The server decides by this word what follows; people read it everywhere.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Cause {
            $($(#[$doc])+ $cause,)+
        }

        impl Cause {
            /// Every cause.
            pub const ALL: &[Cause] = &[$(Cause::$cause,)+];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Cause::$cause => stringify!($cause),)+
                }
            }
        }
    };
}

causes! {
    /// The API server knows no such token, or no longer.
    TokenExpired,
    /// The API server knows the token but does not accept it for this, or its secret part is another.
    TokenRejected,
    /// The token has not the form of a token.
    MalformedToken,
    /// The CA pin has not the form of a pin.
    MalformedPin,
    /// The cluster's CA is not the pinned one.
    PinMismatch,
    /// Nobody answers at the control-plane endpoint.
    ApiServerUnreachable,
    /// Somebody answers with a certificate that does not fit.
    ApiServerUntrusted,
    /// The `kubeadm-certs` Secret is gone.
    CertificateKeyGone,
    /// `kubeadm-certs` was encrypted with another key.
    CertificateKeyMismatch,
    /// The certificate key is not 32 bytes in hexadecimal.
    MalformedCertificateKey,
    /// The cluster has no `controlPlaneEndpoint`, so it takes no second control plane.
    NoStableEndpoint,
    /// The certificates that control planes share are not on the machine.
    CertificatesMissing,
    /// kubeadm does not accept its configuration.
    InvalidConfiguration,
    /// kubeadm and the cluster are too far apart.
    UnsupportedVersion,
    /// The kubelet is newer than the control plane.
    KubeletTooNew,
    /// Nobody signed the kubelet's certificate request in time.
    CsrNotApproved,
    /// The kubelet did not come up.
    KubeletUnhealthy,
    /// The API server, controller manager or scheduler did not come up.
    ControlPlaneUnhealthy,
    /// A Ready Node of this name exists.
    NameTaken,
    /// etcd's learner never caught up; often a member of an earlier life is still listed.
    LearnerNotInSync,
    /// etcd takes no further learner now.
    TooManyLearners,
    /// etcd has no quorum or answers no one.
    EtcdUnhealthy,
    /// An image could not be pulled.
    ImagePull,
    /// The machine is a member already.
    AlreadyJoined,
    /// Files of an earlier life are in the way.
    Leftovers,
    /// A port of Kubernetes is taken.
    PortInUse,
    /// The kernel or its cgroups do not suit.
    SystemVerification,
    /// Swap is on.
    Swap,
    /// The container runtime does not answer.
    ContainerRuntime,
    /// Another check of kubeadm's preflight.
    PreflightFailed,
    /// The cluster's CA has no key here, so there is nothing to upload.
    ExternalCa,
    /// There is no kubeadm on the machine.
    KubeadmMissing,
    /// There is no kubelet on the machine.
    KubeletMissing,
    /// There is no kubectl on the machine.
    KubectlMissing,
    /// The API server refused for lack of rights.
    Forbidden,
    /// The disk is full.
    DiskFull,
    /// The call took longer than its limit.
    TimedOut,
    /// The agent died during the call, and what it left could not be continued.
    Interrupted,
    /// `kubeadm reset` itself failed.
    ResetFailed,
    /// The payload was not for this machine and step, or made no sense.
    PayloadUnreadable,
    /// A file could not be laid down.
    FilesNotWritten,
    /// The Node did not become Ready within the limit.
    NotReady,
    /// None of these; the message has kubeadm's last error.
    Unknown,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kubeadm's output says about its failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// From the closed list.
    pub cause: Cause,
    /// kubeadm's last error, without stack and framing.
    pub message: String,
    /// The phase that failed, if kubeadm named it.
    pub phase: Option<String>,
}

impl Diagnosis {
    /// Whether the failure came before kubeadm changed anything: in its checks, or before its first phase.
    pub fn left_untouched(&self) -> bool {
        self.phase.as_deref().is_none_or(|phase| phase == "preflight")
    }
}

/// kubeadm's checks (`[ERROR Name]: …`), the most telling first.
const CHECKS: &[(&str, Cause)] = &[
    ("FileAvailable--etc-kubernetes-kubelet.conf", Cause::AlreadyJoined),
    ("FileAvailable-", Cause::Leftovers),
    ("DirAvailable-", Cause::Leftovers),
    ("Port-", Cause::PortInUse),
    ("ImagePull", Cause::ImagePull),
    ("CRI", Cause::ContainerRuntime),
    ("ContainerRuntimeVersion", Cause::ContainerRuntime),
    ("Swap", Cause::Swap),
    ("SystemVerification", Cause::SystemVerification),
    ("KubeletVersion", Cause::KubeletTooNew),
    ("KubernetesVersion", Cause::UnsupportedVersion),
];

/// Words of the error and what they stand for; the first row that fits wins, so the more telling come first.
const WORDS: &[(&str, Cause)] = &[
    ("no space left on device", Cause::DiskFull),
    ("none of the public keys", Cause::PinMismatch),
    ("failed to verify JWS signature", Cause::TokenRejected),
    ("could not find a JWS signature", Cause::TokenExpired),
    ("invalid discovery token CA certificate hash", Cause::MalformedPin),
    ("certificate key decoding error", Cause::MalformedCertificateKey),
    ("invalid certificate key size", Cause::MalformedCertificateKey),
    ("the bootstrap token is invalid", Cause::MalformedToken),
    ("Secret \"kubeadm-certs\" was not found", Cause::CertificateKeyGone),
    ("message authentication failed", Cause::CertificateKeyMismatch),
    ("doesn't have a stable controlPlaneEndpoint", Cause::NoStableEndpoint),
    ("conditions for hosting a new control plane instance", Cause::CertificatesMissing),
    ("failed while waiting for TLS bootstrap", Cause::CsrNotApproved),
    ("failed while waiting for the kubelet", Cause::KubeletUnhealthy),
    ("kubelet is not healthy", Cause::KubeletUnhealthy),
    ("already exists in the cluster", Cause::NameTaken),
    ("in sync with leader", Cause::LearnerNotInSync),
    ("too many learner members", Cause::TooManyLearners),
    ("etcdserver: unhealthy cluster", Cause::EtcdUnhealthy),
    ("etcd cluster is not healthy", Cause::EtcdUnhealthy),
    ("error execution phase check-etcd", Cause::EtcdUnhealthy),
    ("failed to pull image", Cause::ImagePull),
    ("upload-certs with an external CA", Cause::ExternalCa),
    ("this version of kubeadm only supports", Cause::UnsupportedVersion),
    ("uses an old API spec", Cause::InvalidConfiguration),
    ("could not find authentication credentials", Cause::InvalidConfiguration),
    ("can not mix", Cause::InvalidConfiguration),
    ("Invalid value:", Cause::InvalidConfiguration),
    ("strict decoding error", Cause::InvalidConfiguration),
    ("invalid configuration", Cause::InvalidConfiguration),
    ("invalid phase name", Cause::InvalidConfiguration),
    ("Unauthorized", Cause::TokenRejected),
    ("orbidden", Cause::Forbidden),
    ("x509:", Cause::ApiServerUntrusted),
    ("error execution phase wait-control-plane", Cause::ControlPlaneUnhealthy),
    ("connection refused", Cause::ApiServerUnreachable),
    ("no route to host", Cause::ApiServerUnreachable),
    ("network is unreachable", Cause::ApiServerUnreachable),
    ("no such host", Cause::ApiServerUnreachable),
    ("i/o timeout", Cause::ApiServerUnreachable),
    ("Client.Timeout", Cause::ApiServerUnreachable),
    ("was refused - did you specify the right host", Cause::ApiServerUnreachable),
    ("Unable to connect to the server", Cause::ApiServerUnreachable),
    ("context deadline exceeded", Cause::ApiServerUnreachable),
];

/// What `output` (both streams, in the order of lines) says about a failure; `None` if it holds no error.
pub fn diagnose<'a>(output: impl IntoIterator<Item = &'a str>) -> Option<Diagnosis> {
    let lines: Vec<&str> = output.into_iter().collect();
    let error = last_error(&lines)?;
    let checks: Vec<&str> = lines.iter().filter_map(|line| line.trim_start().strip_prefix("[ERROR ")).collect();
    let phase = error.split("error execution phase ").nth(1).and_then(|rest| rest.split(':').next());
    let failed_checks = error.contains("preflight") && !checks.is_empty();
    let cause = if failed_checks { of_checks(&checks) } else { of_words(&error) };
    let message = if failed_checks { checks.join("; ") } else { error.clone() };
    Some(Diagnosis {
        cause,
        message: message.trim_start_matches("error: ").trim().to_owned(),
        phase: phase.map(|phase| phase.trim().to_owned()),
    })
}

fn of_checks(checks: &[&str]) -> Cause {
    let known = CHECKS.iter().find(|(name, _)| checks.iter().any(|check| check.starts_with(name)));
    known.map_or(Cause::PreflightFailed, |(_, cause)| *cause)
}

fn of_words(error: &str) -> Cause {
    WORDS.iter().find(|(words, _)| error.contains(words)).map_or(Cause::Unknown, |(_, cause)| *cause)
}

/// The last block that begins like an error of kubeadm or kubectl, up to the stack trace or the advice to ask for one.
fn last_error(lines: &[&str]) -> Option<String> {
    let start = lines.iter().rposition(|line| begins_error(line))?;
    let block = lines[start..].iter().enumerate().take_while(|(at, line)| *at == 0 || !ends_error(line));
    Some(block.map(|(_, line)| line.trim_end()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"))
}

fn begins_error(line: &str) -> bool {
    [
        "error: ",
        "error execution phase ",
        "Error from server",
        "Unable to connect to the server",
        "The connection to the server",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

fn ends_error(line: &str) -> bool {
    line.starts_with("To see the stack trace") || line.starts_with("k8s.io/") || line.starts_with("real\t")
}

#[cfg(test)]
mod tests;
