//! The five messages and three calls of etcd's API that are used here: field numbers as in its rpc.proto and kv.proto.

use anyhow::{Context as _, Result};
use http::uri::PathAndQuery;
use prost::Message;
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    pub(crate) member_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PutResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<ResponseHeader>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WatchRequest {
    #[prost(oneof = "watch_request::Request", tags = "1")]
    pub(crate) request: Option<watch_request::Request>,
}

pub(crate) mod watch_request {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Request {
        #[prost(message, tag = "1")]
        Create(super::WatchCreateRequest),
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WatchCreateRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WatchResponse {
    #[prost(bool, tag = "3")]
    pub(crate) created: bool,
    #[prost(bool, tag = "4")]
    pub(crate) canceled: bool,
    #[prost(message, repeated, tag = "11")]
    pub(crate) events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Event {
    #[prost(message, optional, tag = "2")]
    pub(crate) kv: Option<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    pub(crate) leader: u64,
}

pub(crate) async fn put(channel: Channel, request: PutRequest) -> Result<()> {
    unary::<_, PutResponse>(channel, "/etcdserverpb.KV/Put", request).await.map(|_| ())
}

pub(crate) async fn status(channel: Channel) -> Result<StatusResponse> {
    unary(channel, "/etcdserverpb.Maintenance/Status", StatusRequest {}).await
}

pub(crate) async fn watch(
    channel: Channel,
    asked: impl Stream<Item = WatchRequest> + Send + 'static,
) -> Result<Streaming<WatchResponse>> {
    let mut client = ready(channel).await?;
    let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
    let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
    Ok(client.streaming(Request::new(asked), path, codec).await?.into_inner())
}

async fn unary<Q, A>(channel: Channel, path: &'static str, request: Q) -> Result<A>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let mut client = ready(channel).await?;
    let codec = ProstCodec::<Q, A>::default();
    Ok(client.unary(Request::new(request), PathAndQuery::from_static(path), codec).await?.into_inner())
}

async fn ready(channel: Channel) -> Result<Grpc<Channel>> {
    let mut client = Grpc::new(channel);
    client.ready().await.context("etcd hung up")?;
    Ok(client)
}
