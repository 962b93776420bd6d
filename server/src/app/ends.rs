//! Why a running server has to end by itself: the first reason counts.

use tokio::sync::watch;

/// Where tasks say that the server must end. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Ends(watch::Sender<Option<String>>);

impl Ends {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// The server must end, and what its operator should read.
    pub(super) fn end(&self, why: anyhow::Error) {
        self.0.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                *reason = Some(format!("{why:#}"));
            }
            first
        });
    }

    /// Waits for a reason.
    pub(super) async fn reason(&self) -> anyhow::Error {
        let mut watch = self.0.subscribe();
        let reason = watch.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => anyhow::anyhow!(reason),
            // This value holds a sender, so there is always one.
            None => std::future::pending().await,
        }
    }
}
