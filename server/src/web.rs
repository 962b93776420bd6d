//! What is public over plain HTTP: `/livez`, `/readyz`, `/healthz` and `/metrics`. Never a secret, never a name of a machine.
//!
//! Reading order: [`health`] (who says what is well), [`metrics`] (every name and how it is recorded), [`fleet`] (figures
//! taken from the replicated state), [`grpc`] (figures of each call), `process` (figures of this process), `connection` (HTTP on one
//! connection, which `discovery` speaks too).
//!
//! Absent on purpose: TLS and callers (whatever needs to know who asks belongs on another listener), and the fleet page,
//! which shows names and so lives with the operators.

pub(crate) mod connection;
pub mod fleet;
pub mod grpc;
pub mod health;
pub mod metrics;
mod process;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use connection::{GRACE, answer};
pub use health::{Check, Health, HealthReporter};

/// Connections at a time. A few scrapers and load balancers need a handful; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 128;
/// How often histograms are folded; without it they would grow until the next scrape.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// After a failed `accept`, which mostly means that descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves health and metrics on `listener` until `shutdown`; answers under way are finished within two seconds.
pub async fn serve(listener: TcpListener, health: Health, metrics: PrometheusHandle, shutdown: CancellationToken) {
    let router = router(health, metrics.clone());
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut upkeep = interval(UPKEEP_EVERY);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = upkeep.tick() => metrics.run_upkeep(),
            Some(_) = connections.join_next() => {}
            (stream, place) = next_connection(&listener, &places) => {
                let connection = answer(stream, router.clone(), shutdown.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    // Whatever is left after the grace is dropped with the set.
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn next_connection(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<tokio::sync::OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there always is a place in the end.
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(err = %error, "a connection for health or metrics could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn router(health: Health, metrics: PrometheusHandle) -> Router {
    let live = health.clone();
    let alias = health.clone();
    Router::new()
        .route("/livez", get(move |query| told("livez", live.liveness(), query)))
        // What probed this before there were two restarts on failure, so it means the same as livez.
        .route("/healthz", get(move |query| told("livez", alias.liveness(), query)))
        .route("/readyz", get(move |query| told("readyz", health.readiness(), query)))
        .route("/metrics", get(move || scraped(metrics.clone())))
}

/// The answer in Kubernetes' form: `ok`, or a line per check when one failed or `?verbose` asks for it.
async fn told(name: &'static str, checks: Vec<Check>, query: RawQuery) -> Result<Response, Infallible> {
    let RawQuery(query) = query;
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part == "verbose" || part == "verbose=true"));
    let well = checks.iter().all(|check| check.result.is_ok());
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = match (well, verbose) {
        (true, false) => "ok".to_owned(),
        _ => {
            let mut lines: String = checks.iter().map(|check| format!("{check}\n")).collect();
            lines.push_str(&format!("{name} check {}\n", if well { "passed" } else { "failed" }));
            lines
        }
    };
    Ok((status, [(header::CACHE_CONTROL, "no-store")], body).into_response())
}

async fn scraped(metrics: PrometheusHandle) -> Response {
    // Rendering walks every series: not on a thread that also answers agents.
    let text = tokio::task::spawn_blocking(move || metrics.render() + &process::render()).await;
    let Ok(text) = text else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
