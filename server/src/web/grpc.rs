//! `grpc_server_*` for every call of a tonic server, with the names that existing dashboards know.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use metrics::{counter, histogram};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tonic::codegen::Bytes;
use tower::{Layer, Service};

use super::metrics::{GRPC_HANDLED, GRPC_HANDLING, GRPC_STARTED};

/// What a call to a method that does not exist is counted as: its name comes from outside and must not become a label.
const UNKNOWN: &str = "unknown";

/// Counts and times every call of the services below it.
#[derive(Clone, Debug)]
pub struct GrpcMetrics {
    /// `/package.Service/Method` of every RPC that exists.
    known: Arc<BTreeSet<String>>,
}

impl GrpcMetrics {
    /// For the services of Muster's own contracts.
    pub fn of_contracts() -> Self {
        let files = FileDescriptorSet::decode(muster_proto::FILE_DESCRIPTOR_SET)
            .expect("the build wrote these descriptors with the same library");
        let mut known = BTreeSet::new();
        for file in &files.file {
            for service in &file.service {
                let prefix = format!("/{}.{}/", file.package(), service.name());
                known.extend(service.method.iter().map(|method| prefix.clone() + method.name()));
            }
        }
        Self { known: Arc::new(known) }
    }
}

impl<S> Layer<S> for GrpcMetrics {
    type Service = Measured<S>;
    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner, known: self.known.clone() }
    }
}

/// A service whose calls are counted and timed.
#[derive(Clone, Debug)]
pub struct Measured<S> {
    inner: S,
    known: Arc<BTreeSet<String>>,
}

impl<S, Q, B> Service<Request<Q>> for Measured<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Response = Response<tonic::body::Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let call = Call::begin(self.known.get(request.uri().path()).map(String::as_str));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut call = call;
            let response = match answer.await {
                Ok(response) => response,
                Err(error) => {
                    call.end(Code::Unknown);
                    return Err(error);
                }
            };
            // An answer without a body carries its status in the header.
            if let Some(code) = code_in(response.headers()) {
                call.end(code);
            }
            Ok(response.map(|body| tonic::body::Body::new(MeasuredBody { body, call })))
        })
    }
}

/// A call from its first byte to its end; one that is dropped before its end was cancelled.
#[derive(Debug)]
struct Call {
    service: String,
    method: String,
    began: Instant,
    ended: bool,
}

impl Call {
    fn begin(path: Option<&str>) -> Self {
        let (service, method) =
            path.and_then(|path| path.trim_start_matches('/').split_once('/')).unwrap_or((UNKNOWN, UNKNOWN));
        let call = Self { service: service.to_owned(), method: method.to_owned(), began: Instant::now(), ended: false };
        counter!(GRPC_STARTED, "grpc_service" => call.service.clone(), "grpc_method" => call.method.clone())
            .increment(1);
        call
    }

    fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let (service, method) = (self.service.clone(), self.method.clone());
        histogram!(GRPC_HANDLING, "grpc_service" => service.clone(), "grpc_method" => method.clone())
            .record(self.began.elapsed().as_secs_f64());
        counter!(GRPC_HANDLED, "grpc_service" => service, "grpc_method" => method, "grpc_code" => word(code))
            .increment(1);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

struct MeasuredBody<B> {
    body: B,
    call: Call,
}

impl<B> Body for MeasuredBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.call.end(code_in(trailers).unwrap_or(Code::Unknown));
                }
            }
            Some(Err(_)) | None => self.call.end(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|status| Code::from_bytes(status.as_bytes()))
}

/// The spelling of Go's `codes.Code`, which is what dashboards ask for.
fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
