//! What a cluster that kubeadm made says of itself: `ClusterConfiguration`, as it stands in its ConfigMap `kubeadm-config`.

use serde::Deserialize;

use super::endpoint::{DEFAULT_PORT, Endpoint};

/// Namespace of the ConfigMap.
pub const NAMESPACE: &str = "kube-system";
/// Name of the ConfigMap.
pub const CONFIG_MAP: &str = "kubeadm-config";
/// Its entry.
pub const KEY: &str = "ClusterConfiguration";

/// The part of it that joins depend on. Fields are named as kubeadm names them; what is not there is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterConfiguration {
    /// Such as `v1.36.2`.
    pub kubernetes_version: String,
    /// Such as `k8s.example.org:6443`; empty: kubeadm adds no further control plane.
    pub control_plane_endpoint: String,
    /// Addresses.
    pub networking: Networking,
}

/// Addresses and names inside of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Networking {
    /// Of pods.
    pub pod_subnet: String,
    /// Of services.
    pub service_subnet: String,
    /// DNS domain.
    pub dns_domain: String,
}

/// It can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its ClusterConfiguration can't be read")]
pub struct Unreadable;

impl ClusterConfiguration {
    /// Reads it, of any version of kubeadm's API: these fields are called the same in all.
    ///
    /// # Errors
    /// If it is not YAML of that form.
    pub fn parse(yaml: &str) -> Result<Self, Unreadable> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(yaml, options).map_err(|_| Unreadable)
    }

    /// The stable endpoint with its port, which kubeadm lets one leave out.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        let text = self.control_plane_endpoint.trim();
        if text.is_empty() {
            return None;
        }
        let with_port = format!("{text}:{DEFAULT_PORT}");
        let parsed = text.parse::<Endpoint>().or_else(|_| with_port.parse());
        Some(parsed.map_or_else(|_| text.to_owned(), |endpoint| endpoint.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "apiServer: {}\napiVersion: kubeadm.k8s.io/v1beta4\ncontrolPlaneEndpoint: 192.0.2.11:6443\n\
        etcd:\n  local:\n    dataDir: /var/lib/etcd\nkind: ClusterConfiguration\nkubernetesVersion: v1.36.2\n\
        networking:\n  dnsDomain: cluster.local\n  podSubnet: 198.19.0.0/16\n  serviceSubnet: 198.18.0.0/20\nproxy: {}\n";

    #[test]
    fn what_kubeadm_stores_is_read() {
        let read = ClusterConfiguration::parse(YAML).unwrap();
        assert_eq!(
            (read.kubernetes_version.as_str(), read.endpoint().as_deref()),
            ("v1.36.2", Some("192.0.2.11:6443"))
        );
        assert_eq!(read.networking.pod_subnet, "198.19.0.0/16");
        let bare = ClusterConfiguration::parse("kubernetesVersion: v1.31.0\n").unwrap();
        assert_eq!((bare.endpoint(), bare.networking.dns_domain.as_str()), (None, ""));
        assert!(ClusterConfiguration::parse("kubernetesVersion: [").is_err());
    }

    #[test]
    fn an_endpoint_without_a_port_has_kubeadms() {
        let with = |text: &str| {
            let endpoint = text.to_owned();
            ClusterConfiguration { control_plane_endpoint: endpoint, ..ClusterConfiguration::default() }.endpoint()
        };
        assert_eq!(with("k8s.example.org").unwrap(), "k8s.example.org:6443");
        assert_eq!(with("[2001:db8::1]").unwrap(), "[2001:db8::1]:6443");
        assert_eq!(with("2001:db8::1").unwrap(), "2001:db8::1", "what can't be read is shown as it is");
        assert_eq!(with(" "), None);
    }
}
