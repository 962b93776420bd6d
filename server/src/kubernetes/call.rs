//! Calls to an API server, each with a limit of time.

use std::{future::Future, time::Duration};

use http::{Method, Request};
use kube::Client;
use muster_state::record::LinkCondition;
use serde_json::Value;
use zeroize::Zeroizing;

use super::trouble::Trouble;

/// How long any one answer may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// An answer of the API server, in time.
pub(super) async fn answer<T>(what: &str, asked: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::silence(what)),
    }
}

/// A call of its own, with a body and what that is, and its answer as it came: either may hold a secret, so both are wiped, and
/// neither is quoted where it can't be read.
pub(super) async fn raw(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<(&str, Zeroizing<Vec<u8>>)>,
) -> Result<Zeroizing<String>, Trouble> {
    let what = format!("{method} {path}");
    let mut request = Request::builder().method(method).uri(path);
    let mut bytes = Vec::new();
    if let Some((kind, body)) = body {
        request = request.header("content-type", kind);
        bytes = body.to_vec();
    }
    let request = request.body(bytes).map_err(|err| Trouble::down(LinkCondition::Failing, err.to_string()))?;
    Ok(Zeroizing::new(answer(&what, client.request_text(request)).await?))
}

/// The object there, in which nothing is secret.
pub(super) async fn object(client: &Client, path: &str) -> Result<Value, Trouble> {
    let text = raw(client, Method::GET, path, None).await?;
    serde_json::from_str(&text).map_err(|err| kube::Error::SerdeError(err).into())
}
