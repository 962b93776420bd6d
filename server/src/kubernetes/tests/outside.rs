//! A cluster that Muster did not make: what an administrator's kubeconfig may do there, in the double's manner.

use axum::{
    http::{HeaderMap, Method},
    response::Response,
};
use serde_json::{Value, json};

use super::double::{Double, shown, status};

/// Members may do anything.
pub(super) const ADMINS: &str = "kubeadm:cluster-admins";
/// Members may do anything but give rights away.
pub(super) const OPERATORS: &str = "operators";
/// The bearer token of an administrator.
pub(super) const TOKEN: &str = "a-token-of-an-administrator";

pub(super) const CONFIG_MAPS: &str = "/api/v1/namespaces/kube-system/configmaps";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/";

/// Whoever is not let in by a certificate may be by a token.
pub(super) fn groups_of_token(headers: &HeaderMap) -> Option<Vec<String>> {
    let shown = headers.get("authorization")?.to_str().ok()?;
    (shown == format!("Bearer {TOKEN}")).then(|| vec![ADMINS.to_owned()])
}

/// What the double does for those groups alone.
pub(super) fn answer(double: &Double, groups: &[String], method: &Method, path: &str, body: &[u8]) -> Option<Response> {
    let is_in = |group: &str| groups.iter().any(|own| own == group);
    if !is_in(ADMINS) && !is_in(OPERATORS) {
        return None;
    }
    let (collection, name) = path.rsplit_once('/')?;
    if *method == Method::GET && (path.starts_with(RBAC) || collection == CONFIG_MAPS) {
        return Some(double.get(collection, name).map_or_else(|| status(404, "not found"), |object| shown(&object)));
    }
    if *method != Method::PATCH || !path.starts_with(RBAC) {
        return None;
    }
    if !is_in(ADMINS) {
        return Some(status(403, "is attempting to grant RBAC permissions not currently held"));
    }
    let sent: Value = serde_json::from_slice(body).unwrap();
    let before = double.get(collection, name);
    if before.is_some_and(|before| before["roleRef"] != sent["roleRef"]) {
        return Some(status(422, "cannot change roleRef"));
    }
    double.put(collection, sent);
    Some(shown(&double.get(collection, name).unwrap()))
}

/// The ConfigMap that kubeadm leaves behind.
pub(super) fn kubeadm_config(endpoint: &str) -> Value {
    let configuration = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.36.2\n\
         controlPlaneEndpoint: {endpoint}\nnetworking:\n  podSubnet: 198.19.0.0/16\n"
    );
    json!({ "metadata": { "name": "kubeadm-config" }, "data": { "ClusterConfiguration": configuration } })
}
