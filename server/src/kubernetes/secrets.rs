//! Secrets by name: put and deleted, and never read but for the uid of what was just made.

use http::Method;
use kube::Client;
use muster_state::record::LinkCondition;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{call::raw, trouble::Trouble};
use crate::kubeadm::token_secret::NAMESPACE;

#[derive(Deserialize)]
struct Made {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    uid: String,
}

/// Makes the Secret, or replaces the one of that name; gives its uid.
pub(super) async fn put(client: &Client, name: &str, body: Zeroizing<Vec<u8>>) -> Result<String, Trouble> {
    let made = match call(client, Method::PUT, &one(name), body.clone()).await {
        Err(Trouble::Absent) => call(client, Method::POST, &all(), body).await,
        other => other,
    };
    let made: Result<Made, _> = serde_json::from_str(&made?);
    // Not the error itself: it may quote what could not be read.
    made.map(|made| made.metadata.uid)
        .map_err(|_| Trouble::down(LinkCondition::Failing, format!("the answer on Secret {name} can't be read")))
}

/// Deletes the Secret; one that is not there is fine.
pub(super) async fn delete(client: &Client, name: &str) -> Result<(), Trouble> {
    match call(client, Method::DELETE, &one(name), Zeroizing::default()).await {
        Ok(_) | Err(Trouble::Absent) => Ok(()),
        Err(other) => Err(other),
    }
}

/// Where Secrets are.
pub(super) fn all() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets")
}

/// Where the Secret of that name is.
pub(super) fn one(name: &str) -> String {
    format!("{}/{name}", all())
}

/// Asks about Secrets; the answer may hold one.
pub(super) async fn call(
    client: &Client,
    method: Method,
    path: &str,
    body: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<String>, Trouble> {
    raw(client, method, path, Some(("application/json", body))).await
}
