//! Discovery files over HTTPS, for `kubeadm join --discovery-file https://…` on machines without an agent.
//!
//! Who asks shows nothing, and gets what `cluster-info` says; or shows a token of a join line as user and password, and gets the file
//! with this token. Whoever serves it is verified by the asking machine with its own trust store: kubeadm knows no other way.
//!
//! Absent on purpose: anything that changes something, lists something, or tells a wrong cluster from a wrong token; a log of who asks
//! for what (a token that was used is in the events).

mod certificate;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{Extension, Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

pub use certificate::WebCertificate;

use crate::{
    kubeadm::token::BootstrapToken,
    operations::{
        discovery_file::{DiscoveryFiles, NoFile},
        urls::DISCOVERY_PATH,
    },
    web::{
        connection::{GRACE, answer},
        metrics::{self, AuthenticationFailure},
    },
};

/// Where a request comes from.
#[derive(Clone, Copy)]
struct From(IpAddr);

/// Answers on connections whose handshake is done, which `incoming` bounds, until it ends or `shutdown`.
pub async fn serve<S>(
    mut incoming: impl Stream<Item = (S, IpAddr)> + Unpin,
    files: DiscoveryFiles,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = router(Arc::new(files));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            next = incoming.next() => {
                let Some((stream, from)) = next else { break };
                let router = router.clone().layer(Extension(From(from.to_canonical())));
                connections.spawn(answer(stream, router, shutdown.clone()));
            }
        }
    }
    // Whatever is left after the grace is dropped with the set.
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

fn router(files: Arc<DiscoveryFiles>) -> Router {
    Router::new()
        .route(&format!("{DISCOVERY_PATH}{{cluster}}"), get(file))
        .fallback(async || refused(&NoFile::Unknown))
        .method_not_allowed_fallback(async || {
            said(StatusCode::METHOD_NOT_ALLOWED, "discovery files can only be fetched (GET)")
        })
        .with_state(files)
}

async fn file(
    State(files): State<Arc<DiscoveryFiles>>,
    Extension(From(from)): Extension<From>,
    cluster: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(Path(cluster)) = cluster else { return refused(&NoFile::Unknown) };
    let given = match headers.get(header::AUTHORIZATION) {
        None => files.give(&cluster, None, from).await,
        Some(shown) => {
            let given = match token(shown.as_bytes()) {
                Some(token) => files.give(&cluster, Some(&token), from).await,
                None => Err(NoFile::Unknown),
            };
            if matches!(given, Err(NoFile::Unknown)) {
                metrics::authentication_failed(AuthenticationFailure::Token);
            }
            given
        }
    };
    match given {
        Ok(file) => closing(StatusCode::OK, file.expose().to_owned()),
        Err(why) => refused(&why),
    }
}

/// The token whose id is the user and whose secret is the password.
fn token(authorization: &[u8]) -> Option<BootstrapToken> {
    let (scheme, shown) = authorization.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(shown).ok()?);
    let (id, secret) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    let whole = Zeroizing::new(format!("{id}.{secret}"));
    BootstrapToken::parse(&whole).ok()
}

fn refused(why: &NoFile) -> Response {
    let (status, sentence) = match why {
        NoFile::Unknown => (
            StatusCode::NOT_FOUND,
            format!(
                "{why}: the name may be misspelt, or the line has run out; `muster join-command --discovery https` prints another"
            ),
        ),
        NoFile::NotAVoter(_) | NoFile::Busy | NoFile::Record(_) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
        NoFile::Internal => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}; the log of this server has more")),
    };
    said(status, &sentence)
}

/// A sentence for people, in a form that kubeadm repeats: it takes whatever comes, with whatever status, for a kubeconfig, and says
/// no more than that it knows no object of this kind.
fn said(status: StatusCode, sentence: &str) -> Response {
    let kind = serde_json::Value::from(format!("muster: {sentence}"));
    closing(status, format!("apiVersion: v1\nkind: {kind}\n"))
}

/// One request a connection: whoever guesses pays a handshake for each.
fn closing(status: StatusCode, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/yaml; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONNECTION, "close"),
    ];
    (status, headers, body).into_response()
}
