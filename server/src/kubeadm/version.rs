//! Kubernetes versions: which are supported, which configuration API they read, and which may be mixed.

use std::cmp::Ordering;
use std::fmt;

/// The oldest minor version that Muster renders for (kubeadm's `v1beta2`).
pub const OLDEST_MINOR: u32 = 20;
/// The newest minor version whose kubeadm was read and tried.
pub const NEWEST_MINOR: u32 = 36;
/// How many minor versions a kubelet may be older than kubeadm.
const KUBELET_SKEW: u32 = 3;
/// How many minor versions a cluster may be older than the kubeadm that joins it.
const CLUSTER_SKEW: u32 = 1;

/// A Kubernetes version such as `v1.36.2` or `v1.37.0-rc.1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KubernetesVersion {
    minor: u32,
    patch: u32,
    pre_release: Option<String>,
}

/// Why a text is no version that Muster can work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Not of the form.
    #[error("{0:?} is no Kubernetes version (expected the form v1.{NEWEST_MINOR}.2)")]
    Form(String),
    /// Well-formed, but too old.
    #[error("Kubernetes {0} is not supported; the oldest supported version is 1.{OLDEST_MINOR}")]
    TooOld(KubernetesVersion),
}

/// Something that works or may work, but that an operator should hear of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionWarning {
    /// Newer than what was tried.
    #[error("Kubernetes {0} is newer than 1.{NEWEST_MINOR}, the newest version that Muster was tried with")]
    Untried(KubernetesVersion),
    /// kubeadm says the same and goes on.
    #[error("kubeadm {kubeadm} is older than the cluster's {control_plane}")]
    KubeadmOlder {
        /// The machine's kubeadm.
        kubeadm: KubernetesVersion,
        /// The cluster.
        control_plane: KubernetesVersion,
    },
}

/// Versions that must not be mixed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkewError {
    /// Kubernetes does not support it, and `kubeadm join` does not notice.
    #[error("kubelet {kubelet} is newer than the control plane's {control_plane}")]
    KubeletNewer {
        /// The machine's kubelet.
        kubelet: KubernetesVersion,
        /// The cluster.
        control_plane: KubernetesVersion,
    },
    /// kubeadm's preflight refuses it.
    #[error("kubelet {kubelet} is more than {KUBELET_SKEW} minor versions older than kubeadm {kubeadm}")]
    KubeletTooOld {
        /// The machine's kubelet.
        kubelet: KubernetesVersion,
        /// The machine's kubeadm.
        kubeadm: KubernetesVersion,
    },
    /// kubeadm refuses to join or make a cluster that old.
    #[error(
        "kubeadm {kubeadm} cannot work with the cluster's {control_plane}: it reaches back {CLUSTER_SKEW} minor version"
    )]
    ClusterTooOld {
        /// The machine's kubeadm.
        kubeadm: KubernetesVersion,
        /// The cluster.
        control_plane: KubernetesVersion,
    },
}

impl KubernetesVersion {
    /// Parses `v1.36.2`; the `v` may be missing, a pre-release (`-rc.1`) is kept, build metadata (`+k0s`) is dropped.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        parse_parts(text).ok_or_else(|| VersionError::Form(text.to_owned()))
    }

    /// Parses a cluster's version and refuses what Muster cannot render for. A later minor is accepted with a warning.
    pub fn parse_supported(text: &str) -> Result<(Self, Option<VersionWarning>), VersionError> {
        let version = Self::parse(text)?;
        match version.minor {
            ..OLDEST_MINOR => Err(VersionError::TooOld(version)),
            OLDEST_MINOR..=NEWEST_MINOR => Ok((version, None)),
            _ => Ok((version.clone(), Some(VersionWarning::Untried(version)))),
        }
    }

    /// The minor version: 36 of `v1.36.2`.
    pub fn minor(&self) -> u32 {
        self.minor
    }

    /// The patch version: 2 of `v1.36.2`.
    pub fn patch(&self) -> u32 {
        self.patch
    }

    /// The configuration API that this kubeadm reads without complaint.
    pub fn config_api(&self) -> ConfigApi {
        match self.minor {
            ..=21 => ConfigApi::V1Beta2,
            22..=30 => ConfigApi::V1Beta3,
            _ => ConfigApi::V1Beta4,
        }
    }
}

/// `[v]1.MINOR.PATCH[-PRE][+BUILD]`.
fn parse_parts(text: &str) -> Option<KubernetesVersion> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, build) = text.split_once('+').unwrap_or((text, "0"));
    let (numbers, pre_release) = match text.split_once('-') {
        Some((numbers, pre)) => (numbers, Some(pre)),
        None => (text, None),
    };
    let identifiers = |list: &str| {
        list.split('.').all(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    };
    if !identifiers(build) || !pre_release.is_none_or(identifiers) {
        return None;
    }
    let mut parts = numbers.split('.').map(number);
    match [parts.next()??, parts.next()??, parts.next()??] {
        [1, minor, patch] if parts.next().is_none() => {
            Some(KubernetesVersion { minor, patch, pre_release: pre_release.map(str::to_owned) })
        }
        _ => None,
    }
}

/// A decimal number without sign or leading zeros.
fn number(text: &str) -> Option<u32> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1.{}.{}", self.minor, self.patch)?;
        match &self.pre_release {
            Some(pre) => write!(f, "-{pre}"),
            None => Ok(()),
        }
    }
}

impl PartialOrd for KubernetesVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KubernetesVersion {
    /// Semantic versioning's order: a pre-release comes before its release.
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = (self.minor, self.patch).cmp(&(other.minor, other.patch));
        numbers.then_with(|| match (&self.pre_release, &other.pre_release) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(two)) => one.split('.').map(identifier).cmp(two.split('.').map(identifier)),
        })
    }
}

/// An identifier of a pre-release in comparable form: numbers come before words, and compare as numbers. A number too
/// large for 64 bits compares as a word, and the text breaks ties, so that the order agrees with equality.
fn identifier(text: &str) -> (bool, u64, &str) {
    match text.parse() {
        Ok(number) => (false, number, text),
        Err(_) => (true, 0, text),
    }
}

/// A version of kubeadm's configuration files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigApi {
    /// Kubernetes 1.20 and 1.21.
    V1Beta2,
    /// Kubernetes 1.22 to 1.30.
    V1Beta3,
    /// Kubernetes 1.31 and later.
    V1Beta4,
}

impl ConfigApi {
    /// The `apiVersion` of a document.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V1Beta2 => "kubeadm.k8s.io/v1beta2",
            Self::V1Beta3 => "kubeadm.k8s.io/v1beta3",
            Self::V1Beta4 => "kubeadm.k8s.io/v1beta4",
        }
    }

    /// The minor version of Kubernetes that Muster starts to use it with.
    pub fn first_minor(self) -> u32 {
        match self {
            Self::V1Beta2 => OLDEST_MINOR,
            Self::V1Beta3 => 22,
            Self::V1Beta4 => 31,
        }
    }
}

/// Refuses a machine whose versions do not go with the cluster's; gives what is worth a warning otherwise. Only minor
/// versions count, as in Kubernetes' own policy.
pub fn check_skew(
    control_plane: &KubernetesVersion,
    kubeadm: &KubernetesVersion,
    kubelet: &KubernetesVersion,
) -> Result<Option<VersionWarning>, SkewError> {
    if kubelet.minor > control_plane.minor {
        return Err(SkewError::KubeletNewer { kubelet: kubelet.clone(), control_plane: control_plane.clone() });
    }
    if kubelet.minor + KUBELET_SKEW < kubeadm.minor {
        return Err(SkewError::KubeletTooOld { kubelet: kubelet.clone(), kubeadm: kubeadm.clone() });
    }
    if control_plane.minor + CLUSTER_SKEW < kubeadm.minor {
        return Err(SkewError::ClusterTooOld { kubeadm: kubeadm.clone(), control_plane: control_plane.clone() });
    }
    Ok((control_plane.minor > kubeadm.minor)
        .then(|| VersionWarning::KubeadmOlder { kubeadm: kubeadm.clone(), control_plane: control_plane.clone() }))
}

#[cfg(test)]
mod tests;
