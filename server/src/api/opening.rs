//! What operators are told while a server comes up: which servers there are, as far as it knows by itself. Everything else waits for
//! the server to serve, and hears after a moment that there is no leader.
//!
//! Without this nobody could ask a server that was started again without a majority whom it waits for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Layer, Service};

use super::status::no_leader_yet;

/// The one call that is answered from what this server has. If it asks for more than that, it says itself that nobody leads.
const LIST: &str = "/muster.admin.v1.AdminService/ListServers";

/// How long a call waits for the server to serve: longer than a start among others takes, shorter than a client's patience.
const WITHIN: Duration = Duration::from_secs(4);

/// Puts that before the services of a listener. The token is cancelled once the server serves.
#[derive(Clone, Debug)]
pub struct OpeningLayer(pub CancellationToken);

impl<S> Layer<S> for OpeningLayer {
    type Service = Opening<S>;
    fn layer(&self, inner: S) -> Opening<S> {
        Opening { inner, serves: self.0.clone() }
    }
}

/// Lets calls wait until the server serves.
#[derive(Clone, Debug)]
pub struct Opening<S> {
    inner: S,
    serves: CancellationToken,
}

impl<S, B> Service<http::Request<B>> for Opening<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if self.serves.is_cancelled() || request.uri().path() == LIST {
            return Box::pin(self.inner.call(request));
        }
        // The one that was polled ready goes; a clone takes its place.
        let next = self.inner.clone();
        let (mut inner, serves) = (std::mem::replace(&mut self.inner, next), self.serves.clone());
        Box::pin(async move {
            match tokio::time::timeout(WITHIN, serves.cancelled_owned()).await {
                Ok(()) => inner.call(request).await,
                Err(_) => Ok(no_leader_yet().into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    async fn ask(serves: &CancellationToken, path: &str) -> Option<String> {
        let service = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
        let request = Request::builder().uri(path).body(()).unwrap();
        let answer = OpeningLayer(serves.clone()).layer(service).oneshot(request).await.unwrap();
        answer.headers().get("muster-reason").map(|word| word.to_str().unwrap().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn before_it_serves_only_a_list_of_servers_is_answered() {
        let serves = CancellationToken::new();
        assert_eq!(ask(&serves, LIST).await, None);
        let refused = ask(&serves, "/muster.admin.v1.AdminService/GetStatus").await;
        assert_eq!(refused.as_deref(), Some("NoLeader"));
        serves.cancel();
        assert_eq!(ask(&serves, "/muster.admin.v1.AdminService/GetStatus").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_comes_early_is_answered_once_it_serves() {
        let serves = CancellationToken::new();
        let asked = tokio::spawn({
            let serves = serves.clone();
            async move { ask(&serves, "/muster.admin.v1.AdminService/GetStatus").await }
        });
        tokio::time::sleep(WITHIN / 2).await;
        serves.cancel();
        assert_eq!(asked.await.unwrap(), None);
    }
}
