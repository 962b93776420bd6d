//! Kubeconfigs by which a joining machine finds its cluster: the file that Muster gives to a node, and the public
//! `cluster-info`.
//!
//! They are written out by hand instead of through a YAML serialiser: `cluster-info` is signed byte for byte, and
//! every value in them is base64, an endpoint or a token, none of which needs quoting beyond what is shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::endpoint::Endpoint;
use super::token::BootstrapToken;
use crate::seal::SecretText;

/// Name of the public ConfigMap that says where the cluster is.
pub const CLUSTER_INFO: &str = "cluster-info";
/// Where it is.
pub const CLUSTER_INFO_NAMESPACE: &str = "kube-public";
/// kubeadm's binding by which everybody may read it (kubeadm cmd/phases/bootstraptoken/clusterinfo).
pub const CLUSTER_INFO_BINDING: &str = "kubeadm:bootstrap-signer-clusterinfo";
/// Which of its data is signed.
pub const CLUSTER_INFO_KEY: &str = "kubeconfig";

/// Where a joining machine finds its cluster.
#[derive(Debug, Clone, Copy)]
pub struct Discovery<'a> {
    /// The cluster's CA certificates in PEM; embedded, so that nothing needs to be verified by pin.
    pub ca_pem: &'a str,
    /// The API server.
    pub endpoint: &'a Endpoint,
}

impl Discovery<'_> {
    /// A discovery file with the token as credential: works with anonymous requests turned off, and needs no
    /// `tlsBootstrapToken` beside it.
    pub fn file_with_token(&self, token: &BootstrapToken) -> SecretText {
        SecretText::from(format!(
            "apiVersion: v1\nkind: Config\n{}  name: cluster\n\
             contexts:\n- context:\n    cluster: cluster\n    user: token-bootstrap-client\n  name: bootstrap\n\
             current-context: bootstrap\n\
             users:\n- name: token-bootstrap-client\n  user:\n    token: \"{}\"\n",
            self.clusters(),
            token.expose().expose(),
        ))
    }

    /// The kubeconfig of the `cluster-info` ConfigMap, byte for byte as kubeadm 1.36 writes it. It is a discovery file without credentials,
    /// too: kubeadm takes one without contexts, and refuses a context without a user. The join must bring a `tlsBootstrapToken`, and the
    /// API server must answer anonymous requests (403 is enough, 401 is not).
    pub fn cluster_info(&self) -> String {
        format!(
            "apiVersion: v1\n{}  name: \"\"\ncontexts: null\ncurrent-context: \"\"\nkind: Config\nusers: null\n",
            self.clusters()
        )
    }

    fn clusters(&self) -> String {
        format!(
            "clusters:\n- cluster:\n    certificate-authority-data: {}\n    server: {}\n",
            STANDARD.encode(self.ca_pem),
            self.endpoint.url(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors;
    use super::*;
    use serde_json::{Value, json};

    fn with_discovery<T>(see: impl Fn(Discovery<'_>) -> T) -> T {
        let ca_pem = vectors::text("cluster-rsa/pki/ca.crt");
        let endpoint = "127.0.0.1:26443".parse().unwrap();
        see(Discovery { ca_pem: &ca_pem, endpoint: &endpoint })
    }

    #[test]
    fn cluster_info_equals_kubeadms_byte_for_byte() {
        let expected = &vectors::json("cluster-rsa/cm-cluster-info.json")["data"]["kubeconfig"];
        assert_eq!(with_discovery(|d| d.cluster_info()), expected.as_str().unwrap());
    }

    #[test]
    fn the_file_with_a_token_names_it_in_the_current_context() {
        let token = BootstrapToken::parse("123456.0123456789012345").unwrap();
        let file = with_discovery(|d| d.file_with_token(&token));
        let tree: Value = serde_saphyr::from_str(file.expose()).unwrap();
        let ca = STANDARD.encode(vectors::bytes("cluster-rsa/pki/ca.crt"));
        assert_eq!(tree["clusters"][0]["cluster"]["certificate-authority-data"], json!(ca));
        assert_eq!(tree["clusters"][0]["cluster"]["server"], "https://127.0.0.1:26443");
        assert_eq!(tree["current-context"], tree["contexts"][0]["name"]);
        assert_eq!(tree["contexts"][0]["context"]["cluster"], tree["clusters"][0]["name"]);
        assert_eq!(tree["contexts"][0]["context"]["user"], tree["users"][0]["name"]);
        // All digits and one dot: a number, were it not quoted.
        assert_eq!(tree["users"][0]["user"]["token"], "123456.0123456789012345");
    }
}
