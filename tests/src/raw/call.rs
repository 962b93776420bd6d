//! Any RPC of any listener, with an empty message.

use anyhow::{Context as _, Result};
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::soon;

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It got through to the service, whatever that said.
    Served(Code),
    /// The access table refused it.
    NotServedHere,
    /// The connection did not stand: the identity was not let in.
    NotLetIn(String),
}

/// Every RPC of our own services, as a path.
///
/// # Errors
/// If our own descriptors don't decode.
pub fn rpcs() -> Result<Vec<String>> {
    let set = FileDescriptorSet::decode(muster_proto::FILE_DESCRIPTOR_SET)?;
    let mut paths = Vec::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("muster.")) {
        for service in &file.service {
            for method in &service.method {
                paths.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    Ok(paths)
}

/// Sends one empty message to `path` and gives the first thing that comes back.
///
/// # Errors
/// If `path` is none.
pub async fn call(channel: Channel, path: &str) -> Result<Outcome> {
    let path: PathAndQuery = path.parse().context("no path")?;
    let mut grpc = Grpc::new(channel);
    if let Err(error) = grpc.ready().await {
        return Ok(Outcome::NotLetIn(format!("{:#}", anyhow::Error::from(error))));
    }
    // Every message decodes from no bytes, and a unary call is a stream of one message on the wire.
    let one = tokio_stream::once(());
    let first = soon("a call", async {
        let answer = grpc.streaming(Request::new(one), path, ProstCodec::<(), ()>::default()).await;
        answer?.into_inner().message().await
    });
    Ok(first.await?.map_or_else(outcome_of, |_| Outcome::Served(Code::Ok)))
}

fn outcome_of(status: Status) -> Outcome {
    // A status that tonic made of a broken connection has a source; one that a server sent has none.
    if let Some(source) = std::error::Error::source(&status) {
        return Outcome::NotLetIn(format!("{source:?}"));
    }
    match status.code() {
        Code::PermissionDenied if status.message() == "not served here" => Outcome::NotServedHere,
        Code::Unimplemented => Outcome::NotServedHere,
        code => Outcome::Served(code),
    }
}
