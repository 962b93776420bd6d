//! Secrets and `cluster-info` of the double: what the admission policy of the link lets pass, dry runs, and the signer.

use axum::{
    http::Method,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::double::{Double, SECRETS, shown, status};
use crate::kubeadm::{certs_secret::NAME as CERTIFICATES, jws, token::BootstrapToken};

pub(super) const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
const GROUP_PREFIX: &str = "system:bootstrappers:muster:prod:";
const CONTENT: &str = "apiVersion: v1\nkind: Config\n";

/// The controller manager's bootstrap signer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Signer {
    /// Signs.
    #[default]
    On,
    /// Does not run.
    Off,
    /// Signs something else.
    Wrong,
    /// Signs, and the link may not see it.
    Hidden,
}

pub(super) fn answer(double: &Double, method: &Method, path: &str, query: &str, body: &[u8]) -> Response {
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = match *method {
        Method::POST => sent["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        _ => path.strip_prefix(SECRETS).unwrap_or_default().trim_start_matches('/').to_owned(),
    };
    let before = double.get(SECRETS, &name);
    let denied = || status(422, "Muster touches bootstrap tokens of its own groups and no other Secret");
    match (method, before) {
        (&Method::POST, Some(_)) => status(409, "already exists"),
        (&Method::PUT | &Method::DELETE, None) => status(404, "not found"),
        (&Method::PUT | &Method::DELETE, Some(before)) if !is_own(&before) => denied(),
        (&Method::POST | &Method::PUT, _) if !is_own(&sent) || !ends(&sent) => denied(),
        (&Method::POST | &Method::PUT, _) => {
            double.put(SECRETS, sent);
            shown(&double.get(SECRETS, &name).unwrap())
        }
        (&Method::DELETE, Some(before)) => {
            if !query.contains("dryRun=All") {
                double.remove(SECRETS, &name);
            }
            shown(&before)
        }
        _ => status(403, "secrets can't be seen"),
    }
}

fn text(secret: &Value, field: &str) -> String {
    let encoded = secret["data"][field].as_str().unwrap_or_default();
    String::from_utf8(STANDARD.decode(encoded).unwrap_or_default()).unwrap_or_default()
}

fn ends(secret: &Value) -> bool {
    secret["metadata"]["name"] == CERTIFICATES || !secret["data"]["expiration"].is_null()
}

fn is_own(secret: &Value) -> bool {
    let name = secret["metadata"]["name"].as_str().unwrap_or_default();
    let groups = text(secret, "auth-extra-groups");
    let is_useless = || {
        let fields = secret["data"].as_object();
        groups.is_empty() && fields.is_some_and(|all| all.keys().all(|key| !key.starts_with("usage-bootstrap-")))
    };
    let is_token = secret["type"] == "bootstrap.kubernetes.io/token" && name.starts_with("bootstrap-token-");
    name == CERTIFICATES || (is_token && (groups.starts_with(GROUP_PREFIX) || is_useless()))
}

/// With a signature of each token that wants one, as it is now.
pub(super) fn cluster_info(double: &Double, signer: Signer) -> Response {
    if signer == Signer::Hidden {
        return status(403, "forbidden").into_response();
    }
    let mut data = json!({ "kubeconfig": CONTENT });
    for name in double.names(SECRETS) {
        let Some(secret) = double.get(SECRETS, &name) else { continue };
        let token = BootstrapToken::parse(&format!("{}.{}", text(&secret, "token-id"), text(&secret, "token-secret")));
        if let Ok(token) = token
            && text(&secret, "usage-bootstrap-signing") == "true"
        {
            let content = if signer == Signer::Wrong { "something else" } else { CONTENT };
            data[jws::data_key(token.id())] = jws::sign_detached(content, &token).into();
        }
    }
    if signer == Signer::Off {
        data = json!({ "kubeconfig": CONTENT });
    }
    let metadata = json!({ "name": "cluster-info", "namespace": "kube-public" });
    shown(&json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": data }))
}
