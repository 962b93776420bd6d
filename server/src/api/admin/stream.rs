//! Streams to operators: bounded, and over when the reader is gone or the server stops.

use std::pin::Pin;

use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

/// Messages that wait for one reader's connection: a page of a terminal. What is sent is looked up when there is room, so
/// a slow reader makes nothing grow.
const TO_READER: usize = 64;

/// A stream as tonic takes it.
pub(super) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The sending end of a stream.
pub(super) struct Reader<T> {
    out: mpsc::Sender<Result<T, Status>>,
}

/// The reader is gone.
#[derive(Debug)]
pub(super) struct Gone;

impl<T> Reader<T> {
    /// Sends one item once there is room.
    pub(super) async fn send(&self, item: T) -> Result<(), Gone> {
        self.out.send(Ok(item)).await.map_err(|_| Gone)
    }

    /// Ends the stream with a reason.
    pub(super) async fn fail(&self, status: Status) -> Gone {
        let _ = self.out.send(Err(status)).await;
        Gone
    }
}

/// Starts a stream that `feed` fills. Dropped where it stands once the reader is gone or the server stops.
pub(super) fn start<T, F>(stopping: &CancellationToken, feed: impl FnOnce(Reader<T>) -> F) -> Response<Streamed<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (out, stream) = mpsc::channel(TO_READER);
    let (reader, stopping) = (out.clone(), stopping.clone());
    let feed = feed(Reader { out });
    tokio::spawn(async move {
        tokio::select! {
            () = stopping.cancelled() => {
                let _ = reader.try_send(Err(Status::unavailable("the server is stopping; watch again elsewhere")));
            }
            () = reader.closed() => {}
            _ = feed => {}
        }
    });
    Response::new(Box::pin(ReceiverStream::new(stream)))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio_stream::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_stream_ends_when_its_feed_does() {
        let feed = |reader: Reader<u8>| async move { reader.send(7).await };
        let mut stream = start(&CancellationToken::new(), feed).into_inner();
        assert!(matches!(stream.next().await, Some(Ok(7))));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_stream_ends_when_the_server_stops_though_nothing_happens() {
        let stopping = CancellationToken::new();
        let mut stream = start::<u8, _>(&stopping, |reader| async move {
            pending::<()>().await;
            reader.send(1).await
        })
        .into_inner();
        stopping.cancel();
        let Some(Err(status)) = stream.next().await else { panic!("it went on") };
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_feed_is_dropped_when_its_reader_is_gone_though_nothing_happens() {
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let stream = start::<u8, _>(&CancellationToken::new(), |_reader| async move {
            let _alive = alive;
            pending().await
        });
        drop(stream);
        assert!(ended.await.is_err());
    }
}
