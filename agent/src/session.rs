//! Carries decisions out: connect, step, act, report; and back off and try the next server when that fails.

mod act;
mod backoff;
mod enrol;
mod link;
mod renew;
mod stop;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use muster_trust::sealing::SealingPrivateKey;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::error::{Error, LinkError, Outcome};
use crate::executor::{Executor, NEWS_WAITING, News};
use crate::facts::Facts;
use crate::identity::{Identity, Keyring};
use crate::instruction::{Key, Payload};
use crate::journal::JournalFile;
use crate::phase::{Input, Phase};
use crate::preflight::Preflight;
use crate::report::Ended;
use crate::settings::Settings;
use crate::wire;

use link::{Dialled, Heard, Link};

pub(crate) use link::first_instruction;

/// How often lines are sent and clocks are looked at.
const TICK: Duration = Duration::from_millis(500);

/// How often a machine that is no member yet is looked over again, so that a fault mended on it is noticed.
const PREFLIGHT_AGAIN: Duration = Duration::from_secs(30);

/// With `once`: how long a failed join may stand before the agent gives up. The server's longest pause between attempts is
/// five minutes; when none came by then, it is waiting for an operator.
const FAILED_PATIENCE: Duration = Duration::from_secs(6 * 60);

/// Something that a task of the session found out.
enum Event {
    Preflight(Preflight),
    Renewed(Result<Identity, String>),
}

/// Runs the agent until its node is Ready (with `once`), it is refused, or `shutdown` is cancelled. Several agents may run in
/// one process, each with a state directory of its own.
///
/// # Errors
/// [`Error`]; its [`Error::exit_code`] says which kind.
pub async fn run(settings: Settings, executor: Executor, shutdown: CancellationToken) -> Result<Outcome, Error> {
    let keyring = Keyring::open(&settings.state_dir)?;
    let stored = keyring.identity()?;
    let fingerprint = keyring.key(stored.as_ref().map_or(1, |identity| identity.key))?.fingerprint();
    let name =
        stored.as_ref().map_or_else(|| fingerprint.to_string()[7..19].to_owned(), |identity| identity.node_id.clone());
    let span = tracing::info_span!("agent", node = %name);
    let facts = settings.facts();
    let work = async {
        tracing::info!(key = %fingerprint, hostname = %facts.hostname, "this machine's key; compare it before approving");
        let settings = Arc::new(settings);
        executor.end_orphans().await;
        let identity = match stored {
            Some(identity) => identity,
            None => tokio::select! {
                identity = enrol::until_issued(&settings, &keyring, &facts, 1) => identity?,
                () = shutdown.cancelled() => return Ok(Outcome::Stopped),
            },
        };
        Session::new(settings, executor, keyring, identity, facts)?.run(shutdown).await
    };
    // Large, and moved only once.
    Box::pin(work.instrument(span)).await
}

struct Session {
    settings: Arc<Settings>,
    executor: Executor,
    keyring: Keyring,
    sealing: SealingPrivateKey,
    identity: Identity,
    facts: Facts,
    phase: Phase,
    journal: JournalFile,
    preflight: Preflight,
    link: Option<Link>,
    news: (mpsc::Sender<News>, mpsc::Receiver<News>),
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    tasks: TaskTracker,
    /// Of the running calls.
    stops: BTreeMap<Key, CancellationToken>,
    /// Opened and not yet taken by its call.
    opened: Option<(Key, Payload)>,
    lines: link::Lines,
    clocks: Clocks,
}

/// Moments that the session waits for or counts from.
struct Clocks {
    unreachable_since: Option<Instant>,
    last_error: String,
    failed_since: Option<Instant>,
    preflight_at: Instant,
    renew: renew::Schedule,
}

impl Session {
    fn new(
        settings: Arc<Settings>,
        executor: Executor,
        keyring: Keyring,
        identity: Identity,
        facts: Facts,
    ) -> Result<Self, Error> {
        let journal = JournalFile::in_dir(&settings.state_dir);
        let phase = Phase::new(journal.load()?);
        let renew = renew::Schedule::of(&identity)?;
        Ok(Self {
            sealing: keyring.sealing()?,
            settings,
            executor,
            keyring,
            identity,
            facts,
            phase,
            journal,
            preflight: Preflight::default(),
            link: None,
            news: mpsc::channel(NEWS_WAITING),
            events: mpsc::channel(8),
            tasks: TaskTracker::new(),
            stops: BTreeMap::new(),
            opened: None,
            lines: link::Lines::default(),
            clocks: Clocks {
                unreachable_since: Some(Instant::now()),
                last_error: String::new(),
                failed_since: None,
                preflight_at: Instant::now() + PREFLIGHT_AGAIN,
                renew,
            },
        })
    }

    async fn run(mut self, shutdown: CancellationToken) -> Result<Outcome, Error> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut dialler = link::Dialler::default();
        let mut dialling = Some(dialler.dial(&self));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return self.stop().await,
                Some(news) = self.news.1.recv() => self.on_news(news)?,
                Some(event) = self.events.1.recv() => self.on_event(event)?,
                heard = next_heard(&mut self.link) => match heard {
                    Ok(heard) => {
                        dialler.reached();
                        self.on_heard(heard)?;
                    }
                    Err(error) => {
                        self.lose_link(&error)?;
                        dialler.failed(&error);
                    }
                },
                dialled = finished(&mut dialling) => {
                    dialling = None;
                    if let Some(error) = self.on_dialled(dialled?)? {
                        dialler.failed(&error);
                    }
                }
                _ = tick.tick() => self.on_tick()?,
            }
            if self.link.is_none() && dialling.is_none() {
                dialling = Some(dialler.dial(&self));
            }
            if self.settings.once && self.phase.is_complete() {
                let node_name =
                    self.phase.instruction().map(|instruction| instruction.node_name.clone()).unwrap_or_default();
                self.end_tasks().await;
                return Ok(Outcome::Ready { node_name });
            }
        }
    }

    fn on_dialled(&mut self, dialled: Dialled) -> Result<Option<LinkError>, Error> {
        if let Some(identity) = dialled.identity {
            self.adopt(identity)?;
        }
        match dialled.link {
            Ok((link, preflight)) => {
                tracing::info!(server = %link.server, "attached");
                self.preflight = preflight;
                self.clocks.unreachable_since = None;
                self.link = Some(link);
                self.step(Input::Attached).map(|()| None)
            }
            Err(error) => {
                // The pauses grow to half a minute, so this is no flood; and a machine that hangs must say why.
                tracing::warn!(%error, "no server takes this machine's stream yet; trying on");
                self.clocks.last_error = error.to_string();
                Ok(Some(error))
            }
        }
    }

    fn lose_link(&mut self, error: &LinkError) -> Result<(), Error> {
        if let Some(link) = self.link.take() {
            tracing::warn!(server = %link.server, %error, "lost the server; trying the next");
            self.clocks.last_error = error.to_string();
            self.clocks.unreachable_since = Some(Instant::now());
        }
        self.step(Input::Detached)
    }

    fn on_heard(&mut self, heard: Heard) -> Result<(), Error> {
        match heard {
            Heard::Welcome { node_urls, offset_ms } => {
                if offset_ms.abs() > 30_000 {
                    tracing::warn!(offset_ms, "this machine's clock is off; certificates and tokens depend on it");
                }
                // The stream is open, so the certificate in use was accepted.
                self.keyring.drop_older(self.identity.key);
                self.learn_urls(node_urls)
            }
            Heard::Ack(sequence) => self.step(Input::Acknowledged(sequence)),
            Heard::Instruction(message) => match wire::instruction(message) {
                Ok(instruction) => {
                    self.show(&instruction);
                    self.step(Input::Instruction(instruction))
                }
                Err(error) => {
                    tracing::error!(%error, "the instruction cannot be followed");
                    Ok(())
                }
            },
        }
    }

    fn learn_urls(&mut self, node_urls: Vec<String>) -> Result<(), Error> {
        if !node_urls.is_empty() && node_urls != self.identity.node_urls {
            self.identity.node_urls = node_urls;
            self.keyring.keep(&self.identity)?;
        }
        Ok(())
    }

    /// Tells people on the console what has changed.
    fn show(&mut self, next: &crate::instruction::Instruction) {
        let last = self.phase.instruction();
        if last.is_none_or(|last| (&last.phase, &last.message) != (&next.phase, &next.message)) {
            tracing::info!(phase = %next.phase, cluster = %next.cluster, name = %next.node_name, attempt = next.attempt, "{}", next.message);
        }
        if last.is_none_or(|last| last.kubernetes_version != next.kubernetes_version) {
            // A rehearsal takes on the cluster's version.
            self.clocks.preflight_at = Instant::now();
        }
        if next.phase != "Failed" {
            self.clocks.failed_since = None;
        } else if self.clocks.failed_since.is_none() {
            self.clocks.failed_since = Some(Instant::now());
        }
    }

    pub(super) fn on_news(&mut self, news: News) -> Result<(), Error> {
        match news {
            News::Line(key, line) => {
                tracing::debug!(step = %key, "{line}");
                self.lines.push(key, line);
                Ok(())
            }
            News::Progress(key, progress, elapsed_ms) => self.step(Input::Progress(key, progress, elapsed_ms)),
            News::Probed(evidence) => self.step(Input::Probed(evidence)),
            News::Ended(key, ended, elapsed_ms) => {
                self.stops.remove(&key);
                // What it printed is with the server before its end is.
                if let Some(link) = &self.link {
                    self.lines.send(link);
                }
                match &ended {
                    Ended::Failed(failure) => {
                        tracing::error!(step = %key, cause = %failure.cause, clean = failure.clean, elapsed_ms, "step failed: {}", failure.message);
                    }
                    _ => tracing::info!(step = %key, elapsed_ms, "step ended"),
                }
                self.step(Input::Ended(key, ended, elapsed_ms))
            }
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Preflight(report) => {
                if report.differs_from(&self.preflight)
                    && let Some(link) = &self.link
                    && link.tell_preflight(&report)
                {
                    self.preflight = report;
                }
                Ok(())
            }
            Event::Renewed(Ok(identity)) => {
                tracing::info!(generation = identity.generation, "certificate renewed");
                self.adopt(identity)?;
                // The new certificate counts from its first use.
                self.link = None;
                self.step(Input::Detached)
            }
            Event::Renewed(Err(error)) => {
                tracing::warn!(error, "the certificate could not be renewed; trying again");
                self.clocks.renew.failed();
                Ok(())
            }
        }
    }

    fn adopt(&mut self, identity: Identity) -> Result<(), Error> {
        self.keyring.keep(&identity)?;
        self.clocks.renew = renew::Schedule::of(&identity)?;
        self.identity = identity;
        Ok(())
    }

    fn on_tick(&mut self) -> Result<(), Error> {
        if let Some(link) = &self.link {
            self.lines.send(link);
        }
        let now = Instant::now();
        if now >= self.clocks.preflight_at && self.phase.is_idle() && !self.phase.journal().joined {
            self.clocks.preflight_at = now + PREFLIGHT_AGAIN;
            self.look_over();
        }
        if self.clocks.renew.is_due()
            && let Some(link) = &self.link
        {
            self.clocks.renew.begun();
            renew::begin(link, &self.keyring, &self.identity, self.events.0.clone(), &self.tasks);
        }
        let waited = |since: Option<Instant>| since.map(|since| now.saturating_duration_since(since));
        if let (Some(limit), Some(after)) = (self.settings.give_up_after, waited(self.clocks.unreachable_since))
            && after >= limit
        {
            return Err(Error::Unreachable { after, last: self.clocks.last_error.clone() });
        }
        let failed = waited(self.clocks.failed_since).is_some_and(|after| after >= FAILED_PATIENCE);
        if self.settings.once && failed && self.phase.is_idle() && self.phase.is_told() {
            let message = self.phase.instruction().map(|instruction| instruction.message.clone()).unwrap_or_default();
            return Err(Error::Failed { message });
        }
        Ok(())
    }

    fn look_over(&self) {
        let (executor, events) = (self.executor.clone(), self.events.0.clone());
        let standing = self.phase.journal().standing();
        let version = self.phase.instruction().map(|instruction| instruction.kubernetes_version.clone());
        let look = async move {
            let report = executor.preflight(standing, version.as_deref()).await;
            drop(events.send(Event::Preflight(report)).await);
        };
        self.tasks.spawn(look.in_current_span());
    }
}

async fn next_heard(link: &mut Option<Link>) -> Result<Heard, LinkError> {
    match link {
        Some(link) => link.next().await,
        None => pending().await,
    }
}

async fn finished(dialling: &mut Option<link::Dialling>) -> Result<Dialled, Error> {
    match dialling {
        Some(dialling) => dialling.await,
        None => pending().await,
    }
}
