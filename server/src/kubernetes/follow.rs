//! Everything of one kind, and then every change of it: list, watch, and list again when the API server has forgotten.

use std::{
    convert::Infallible,
    fmt::Debug,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use kube::{
    Api, Resource, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, time::Instant};
use tokio_stream::{Stream, StreamExt as _};

use super::{call::answer, pace::Pace, trouble::Trouble};

/// Objects of one page: a Node has about 10 KiB.
const PAGE: u32 = 500;
/// The API server ends a watch after this; it is resumed where it was.
const WATCH_SECONDS: u32 = 240;
/// It may be late with that, but not by more.
const WATCH_GRACE: Duration = Duration::from_secs(20);

/// What is there, or has become of it.
pub(super) enum Told<K> {
    /// All there is.
    All(Vec<K>),
    /// This one is new or different.
    Changed(K),
    /// This one is gone.
    Gone(K),
}

/// Who is told.
pub(super) trait Follower<K> {
    /// Does what is to be done about it before the next is told.
    fn told(&mut self, told: Told<K>) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// How long after the last look at what time brings the next one is due; `None` while time brings nothing.
    fn looks_after(&self) -> Option<Duration> {
        None
    }

    /// Looks at what time has brought.
    fn look(&mut self) -> impl Future<Output = Result<(), Trouble>> + Send {
        std::future::ready(Ok(()))
    }
}

/// What is told of has been listed once: then a link is up.
#[derive(Default)]
pub(super) struct Listed {
    kinds: AtomicUsize,
    up: Notify,
}

impl Listed {
    /// One kind of object was listed for the first time.
    pub(super) fn note(&self) {
        self.kinds.fetch_add(1, Ordering::Relaxed);
        self.up.notify_one();
    }

    /// Waits until so many kinds were.
    pub(super) async fn wait(&self, kinds: usize) {
        while self.kinds.load(Ordering::Relaxed) < kinds {
            self.up.notified().await;
        }
    }
}

/// Tells of all objects and of every change, until something goes wrong.
pub(super) async fn follow<K>(
    api: &Api<K>,
    listed: &Listed,
    mut follower: impl Follower<K>,
) -> Result<Infallible, Trouble>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let (mut pace, mut first) = (Pace::new(), true);
    loop {
        let (all, version) = list(api).await?;
        follower.told(Told::All(all)).await?;
        if std::mem::take(&mut first) {
            listed.note();
        }
        match watch(api, version, &mut follower).await {
            // An API server that forgets at once must not be listed without end.
            Err(Trouble::Expired) => pace.wait(None).await,
            Err(other) => return Err(other),
            Ok(never) => match never {},
        }
    }
}

/// All objects as they are now, page by page, and the version from which to watch.
pub(super) async fn list<K>(api: &Api<K>) -> Result<(Vec<K>, String), Trouble>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut all = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    let mut pace = Pace::new();
    loop {
        let list = match answer("list", api.list(&page)).await {
            Ok(list) => list,
            // The rest of the list is too old: from the beginning.
            Err(Trouble::Expired) => {
                pace.wait(None).await;
                all.clear();
                page = ListParams::default().limit(PAGE);
                continue;
            }
            Err(other) => return Err(other),
        };
        all.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = ListParams::default().limit(PAGE).continue_token(&token),
            None => return Ok((all, list.metadata.resource_version.unwrap_or_default())),
        }
    }
}

async fn watch<K>(api: &Api<K>, mut version: String, follower: &mut impl Follower<K>) -> Result<Infallible, Trouble>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let params = WatchParams::default().timeout(WATCH_SECONDS);
    let (mut pace, mut looked) = (Pace::new(), Instant::now());
    loop {
        let stream = answer("watch", api.watch(&params, &version)).await?;
        let mut stream = pin!(stream);
        let mut heard = Instant::now();
        loop {
            let event = tokio::select! {
                event = next(&mut stream, heard) => event?,
                () = due(looked, follower.looks_after()) => {
                    follower.look().await?;
                    looked = Instant::now();
                    continue;
                }
            };
            let Some(event) = event else { break };
            heard = Instant::now();
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version = object.resource_version().unwrap_or(version);
                    follower.told(Told::Changed(object)).await?;
                }
                WatchEvent::Deleted(object) => {
                    version = object.resource_version().unwrap_or(version);
                    follower.told(Told::Gone(object)).await?;
                }
                WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            }
        }
        // It has ended in good order, which it does every few minutes; one that always ends at once is not asked at once.
        pace.wait(None).await;
    }
}

async fn due(looked: Instant, after: Option<Duration>) {
    match after {
        Some(after) => tokio::time::sleep_until(looked + after).await,
        None => std::future::pending().await,
    }
}

async fn next<K>(
    stream: &mut (impl Stream<Item = kube::Result<WatchEvent<K>>> + Unpin),
    heard: Instant,
) -> Result<Option<WatchEvent<K>>, Trouble> {
    let patience = Duration::from_secs(u64::from(WATCH_SECONDS)) + WATCH_GRACE;
    match tokio::time::timeout_at(heard + patience, stream.next()).await {
        Ok(event) => Ok(event.transpose()?),
        Err(_) => Err(Trouble::silence("watch")),
    }
}
