//! The Secret that makes a bootstrap token known to a cluster: `bootstrap-token-<id>` in `kube-system`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::group::BootstrapGroup;
use super::redacted::SecretManifest;
use super::token::BootstrapToken;

/// Where bootstrap tokens live.
pub const NAMESPACE: &str = "kube-system";

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usages {
    /// The bootstrap signer signs `cluster-info` with it: needed for discovery by token, and each such token adds a
    /// signature to `cluster-info`.
    pub signing: bool,
    /// The API server accepts it as a bearer token: needed for the TLS bootstrap.
    pub authentication: bool,
}

impl Usages {
    /// kubeadm's default.
    pub const BOTH: Self = Self { signing: true, authentication: true };
    /// Muster's default for a node's own token: discovery is by file, so nothing needs to be signed.
    pub const AUTHENTICATION: Self = Self { signing: false, authentication: true };
    /// No use at all: the owner of `kubeadm-certs`, whose expiry ends that Secret.
    pub const NONE: Self = Self { signing: false, authentication: false };

    /// The names in kubeadm's configuration files, in its order.
    pub fn names(self) -> Vec<&'static str> {
        let named = [(self.signing, "signing"), (self.authentication, "authentication")];
        named.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect()
    }
}

/// What a token's Secret says beside the token.
#[derive(Debug, Clone)]
pub struct TokenSecret {
    /// What the token is good for.
    pub usages: Usages,
    /// Groups it authenticates as, besides `system:bootstrappers`.
    pub groups: Vec<BootstrapGroup>,
    /// When the token cleaner deletes it; whole seconds count. `None` never expires.
    pub expires: Option<Timestamp>,
    /// For people who list tokens; never a secret.
    pub description: Option<String>,
}

/// A combination that the API server would not honour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("groups are of use only to a token with usage authentication")]
pub struct GroupsWithoutAuthentication;

impl TokenSecret {
    /// The Secret of `token`.
    pub fn manifest(&self, token: &BootstrapToken) -> Result<SecretManifest, GroupsWithoutAuthentication> {
        if !self.groups.is_empty() && !self.usages.authentication {
            return Err(GroupsWithoutAuthentication);
        }
        let mut data = Map::new();
        let mut put = |key: &str, value: &str| data.insert(key.to_owned(), STANDARD.encode(value).into());
        put("token-id", token.id());
        put("token-secret", token.expose_secret());
        if self.usages.signing {
            put("usage-bootstrap-signing", "true");
        }
        if self.usages.authentication {
            put("usage-bootstrap-authentication", "true");
        }
        if !self.groups.is_empty() {
            let groups: Vec<&str> = self.groups.iter().map(BootstrapGroup::as_str).collect();
            put("auth-extra-groups", &groups.join(","));
        }
        if let Some(expires) = self.expires {
            put("expiration", &rfc3339_seconds(expires));
        }
        if let Some(description) = &self.description {
            put("description", description);
        }
        Ok(SecretManifest::new(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": object_name(token.id()), "namespace": NAMESPACE },
            "type": "bootstrap.kubernetes.io/token",
            "data": Value::Object(data),
        })))
    }
}

/// The name of the Secret of the token with this id.
pub fn object_name(token_id: &str) -> String {
    format!("bootstrap-token-{token_id}")
}

/// `2026-11-23T02:40:23Z`: what kubeadm writes. The token cleaner parses RFC 3339, fractions would be noise.
fn rfc3339_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{certs_secret, vectors};
    use super::*;

    /// The vector without what the API server added.
    fn as_sent(name: &str) -> Value {
        let mut secret = vectors::yaml(name);
        let metadata = secret["metadata"].as_object_mut().unwrap();
        metadata.retain(|key, _| key == "name" || key == "namespace");
        secret
    }

    #[test]
    fn the_secret_equals_kubeadms_own() {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        let secret = TokenSecret {
            usages: Usages::BOTH,
            groups: vec![BootstrapGroup::of_kubeadm()],
            expires: Some("2026-11-23T02:40:23.7Z".parse().unwrap()),
            description: None,
        };
        assert_eq!(
            secret.manifest(&token).unwrap().expose(),
            &as_sent("cluster-rsa/bootstrap-token-abcdef.secret.yaml")
        );
    }

    #[test]
    fn the_owner_of_kubeadm_certs_has_no_usage() {
        let token = BootstrapToken::parse("66mrsb.n7b9etwqzlmv0jj2").unwrap();
        let secret = TokenSecret {
            usages: Usages::NONE,
            groups: vec![],
            expires: Some("2026-11-22T04:40:23Z".parse().unwrap()),
            description: Some(certs_secret::OWNER_DESCRIPTION.to_owned()),
        };
        assert_eq!(
            secret.manifest(&token).unwrap().expose(),
            &as_sent("cluster-rsa/bootstrap-token-66mrsb.secret.yaml")
        );
    }

    #[test]
    fn groups_need_the_authentication_usage() {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        let secret = TokenSecret {
            usages: Usages { signing: true, authentication: false },
            groups: vec![BootstrapGroup::of_kubeadm()],
            expires: None,
            description: None,
        };
        assert_eq!(secret.manifest(&token).unwrap_err(), GroupsWithoutAuthentication);
    }

    #[test]
    fn a_token_without_expiry_says_nothing_of_it() {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        let secret = TokenSecret { usages: Usages::AUTHENTICATION, groups: vec![], expires: None, description: None };
        let manifest = secret.manifest(&token).unwrap();
        let keys: Vec<&String> = manifest.expose()["data"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["token-id", "token-secret", "usage-bootstrap-authentication"]);
    }
}
