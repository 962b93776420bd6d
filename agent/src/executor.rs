//! Who does the steps: stock kubeadm on a machine, or a rehearsal of it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::host::SharedHost;
use crate::instruction::{Key, Payload, RequestsTask, Verb};
use crate::kubeadm::Kubeadm;
use crate::phase::{Evidence, Mode};
use crate::preflight::{Preflight, Standing};
use crate::rehearsal::Rehearsal;
use crate::report::{Ended, Progress};

/// News that wait for the session. Lines beyond are dropped, ends never.
pub const NEWS_WAITING: usize = 1024;

/// One call, with all that it needs.
#[derive(Debug)]
pub struct Job {
    /// Its name.
    pub key: Key,
    /// What.
    pub verb: Verb,
    /// How.
    pub mode: Mode,
    /// Frozen name of the node.
    pub node_name: String,
    /// Opened.
    pub payload: Payload,
    /// For calls about certificate requests.
    pub requests: RequestsTask,
    /// Where this attempt's kubeadm configuration was laid down before, if it was.
    pub config_path: Option<String>,
    /// From the step; `None`: the default of the verb.
    pub limit: Option<Duration>,
    /// The agent's own directory.
    pub state_dir: PathBuf,
    /// Ends the call early.
    pub stop: CancellationToken,
}

/// What a call tells while it runs and when it has ended.
#[derive(Debug)]
pub enum News {
    /// It made progress.
    Progress(Key, Progress, u64),
    /// It printed a line, scrubbed.
    Line(Key, String),
    /// It ended.
    Ended(Key, Ended, u64),
    /// An interrupted call was looked into.
    Probed(Evidence),
}

/// Where a call tells its news.
#[derive(Debug, Clone)]
pub struct Feed {
    key: Key,
    began: Instant,
    news: mpsc::Sender<News>,
}

impl Feed {
    /// For the call `key`, which begins now.
    pub fn new(key: Key, news: mpsc::Sender<News>) -> Self {
        Self { key, began: Instant::now(), news }
    }

    /// Tells of progress. With the queue full it is dropped: the next one says more.
    pub fn progress(&self, progress: Progress) {
        drop(self.news.try_send(News::Progress(self.key.clone(), progress, self.elapsed_ms())));
    }

    /// Tells a scrubbed line, or drops it when the queue is full.
    pub fn line(&self, line: String) {
        drop(self.news.try_send(News::Line(self.key.clone(), line)));
    }

    /// Tells the end.
    pub async fn ended(self, ended: Ended) {
        let elapsed_ms = self.elapsed_ms();
        // Nobody listens when the agent itself has ended; the journal then says that the call is unfinished.
        drop(self.news.send(News::Ended(self.key, ended, elapsed_ms)).await);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Does the steps.
#[derive(Clone)]
pub enum Executor {
    /// With the machine's own kubeadm and kubectl.
    Kubeadm(Kubeadm),
    /// With all the same steps and reports, and no kubeadm.
    Rehearsal(Rehearsal),
}

impl Executor {
    /// Stock kubeadm on `host`.
    pub fn kubeadm(host: SharedHost) -> Self {
        Self::Kubeadm(Kubeadm::new(host))
    }

    /// Whether results are rehearsed.
    pub const fn is_rehearsal(&self) -> bool {
        matches!(self, Self::Rehearsal(_))
    }

    /// Looks the machine over. `kubernetes_version` is the cluster's, once it is known.
    pub async fn preflight(&self, standing: Standing, kubernetes_version: Option<&str>) -> Preflight {
        match self {
            Self::Kubeadm(kubeadm) => kubeadm.preflight(standing).await,
            Self::Rehearsal(rehearsal) => rehearsal.preflight(standing.joined, kubernetes_version),
        }
    }

    /// Ends what an earlier life left running.
    pub async fn end_orphans(&self) {
        if let Self::Kubeadm(kubeadm) = self {
            kubeadm.end_orphans().await;
        }
    }

    /// Looks into an interrupted call.
    pub async fn evidence(&self, key: &Key, verb: Verb, node_name: &str, state_dir: &std::path::Path) -> Evidence {
        match self {
            Self::Kubeadm(kubeadm) => kubeadm.evidence(node_name).await,
            Self::Rehearsal(rehearsal) => rehearsal.evidence(key, verb, state_dir),
        }
    }

    /// Makes a call.
    pub async fn execute(&self, job: Job, feed: &Feed) -> Ended {
        match self {
            Self::Kubeadm(kubeadm) => kubeadm.execute(job, feed).await,
            Self::Rehearsal(rehearsal) => rehearsal.execute(job, feed).await,
        }
    }

    /// Removes files with credentials.
    pub fn sweep(&self, paths: &[String]) {
        if let Self::Kubeadm(kubeadm) = self {
            kubeadm.sweep(paths);
        }
    }
}
