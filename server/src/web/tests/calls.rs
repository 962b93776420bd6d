//! Calls of a real tonic server and what is counted of them. One thread, so that each test has a recorder of its own.

use metrics_exporter_prometheus::PrometheusRecorder;
use muster_proto::enrolment::v1::enrolment_service_client::EnrolmentServiceClient;
use muster_proto::enrolment::v1::enrolment_service_server::{EnrolmentService, EnrolmentServiceServer};
use muster_proto::enrolment::v1::{EnrolRequest, EnrolResponse, JoinServerResponse};
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, Streaming};

use super::super::grpc::GrpcMetrics;
use super::super::metrics;

/// Refuses at once, answers twice, or answers for ever: as the first metadata value says.
struct Scripted;

#[tonic::async_trait]
impl EnrolmentService for Scripted {
    type EnrolStream = ReceiverStream<Result<EnrolResponse, Status>>;

    async fn enrol(&self, asked: Request<Streaming<EnrolRequest>>) -> Result<Response<Self::EnrolStream>, Status> {
        let (answers, stream) = tokio::sync::mpsc::channel(4);
        match asked.metadata().get("script").and_then(|script| script.to_str().ok()) {
            Some("refuse") => return Err(Status::permission_denied("as told")),
            Some("twice") => {
                answers.send(Ok(EnrolResponse::default())).await.unwrap();
                answers.send(Err(Status::aborted("as told"))).await.unwrap();
            }
            _ => {
                tokio::spawn(async move { while answers.send(Ok(EnrolResponse::default())).await.is_ok() {} });
            }
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type JoinServerStream = ReceiverStream<Result<JoinServerResponse, Status>>;

    async fn join_server(
        &self,
        _: Request<Streaming<EnrolRequest>>,
    ) -> Result<Response<Self::JoinServerStream>, Status> {
        Err(Status::unimplemented("not in this script"))
    }
}

async fn mk_client() -> (Channel, PrometheusRecorder) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        Server::builder()
            .layer(GrpcMetrics::of_contracts())
            .add_service(EnrolmentServiceServer::new(Scripted))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    (channel, metrics::builder().unwrap().build_recorder())
}

fn scripted(script: &'static str) -> Request<tokio_stream::Empty<EnrolRequest>> {
    let mut request = Request::new(tokio_stream::empty());
    request.metadata_mut().insert("script", script.parse().unwrap());
    request
}

fn series(name: &str, code: &str) -> String {
    let labels = "grpc_service=\"muster.enrolment.v1.EnrolmentService\",grpc_method=\"Enrol\"";
    format!("{name}{{{labels},grpc_code=\"{code}\"}} 1\n")
}

#[tokio::test]
async fn a_refusal_without_a_body_is_counted_with_its_code() {
    let (channel, recorder) = mk_client().await;
    let _guard = ::metrics::set_default_local_recorder(&recorder);
    let refused = EnrolmentServiceClient::new(channel).enrol(scripted("refuse")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let text = recorder.handle().render();
    assert!(text.contains(&series("grpc_server_handled_total", "PermissionDenied")), "{text}");
    assert!(text.contains("grpc_server_handling_seconds_count{"), "{text}");
}

#[tokio::test]
async fn a_stream_is_counted_when_it_ends_with_the_code_of_its_trailers() {
    let (channel, recorder) = mk_client().await;
    let _guard = ::metrics::set_default_local_recorder(&recorder);
    let mut stream = EnrolmentServiceClient::new(channel).enrol(scripted("twice")).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Aborted);
    let text = recorder.handle().render();
    assert!(text.contains(&series("grpc_server_handled_total", "Aborted")), "{text}");
}

#[tokio::test]
async fn a_stream_that_the_caller_drops_is_cancelled() {
    let (channel, recorder) = mk_client().await;
    let _guard = ::metrics::set_default_local_recorder(&recorder);
    let mut stream = EnrolmentServiceClient::new(channel).enrol(scripted("for ever")).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let handle = recorder.handle();
    assert!(handle.render().contains("grpc_server_started_total{"), "{}", handle.render());
    assert!(!handle.render().contains("grpc_server_handled_total{"), "{}", handle.render());
    drop(stream);
    let wanted = series("grpc_server_handled_total", "Canceled");
    let seen = async {
        while !handle.render().contains(&wanted) {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(10), seen).await;
    assert!(in_time.is_ok(), "{}", handle.render());
}

#[tokio::test]
async fn a_name_from_outside_never_becomes_a_label() {
    let (channel, recorder) = mk_client().await;
    let _guard = ::metrics::set_default_local_recorder(&recorder);
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<EnrolRequest, EnrolResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/attacker.v1.Service/Chosen");
    let refused = client.unary(Request::new(EnrolRequest::default()), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let text = recorder.handle().render();
    assert!(!text.contains("attacker") && !text.contains("Chosen"), "{text}");
    let counted =
        "grpc_server_handled_total{grpc_service=\"unknown\",grpc_method=\"unknown\",grpc_code=\"Unimplemented\"} 1\n";
    assert!(text.contains(counted), "{text}");
}
