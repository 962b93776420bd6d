//! The one stream to a server: dialled, read, written, and given up.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use muster_proto::join::v1 as proto;
use muster_proto::join::v1::agent_message::Message as Said;
use muster_proto::join::v1::join_service_client::JoinServiceClient;
use muster_proto::join::v1::server_message::Message as Got;
use muster_trust::{Anchor, client_config};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::Instrument;

use crate::client;
use crate::clock::unix_ms;
use crate::error::{Error, LinkError};
use crate::executor::Executor;
use crate::facts::Facts;
use crate::identity::{Identity, Keyring};
use crate::instruction::Key;
use crate::preflight::{Preflight, Standing};
use crate::report::{Report, clip};
use crate::session::Session;
use crate::session::backoff::{pause, random_share};
use crate::session::enrol;
use crate::settings::Settings;
use crate::url::ServerUrl;
use crate::wire;

/// Messages that wait for the server. Reports are resent on the next stream, so a full queue means: give this one up.
const SAY_WAITING: usize = 256;

/// Port of the node listener, taken where the enrolment reply named none.
const NODE_PORT: u16 = 9444;

/// A server that took the connection answers the stream within this, or is stuck.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// So many answers, and none that is better, that do not accept the certificate, and the machine proves itself anew with the same key: its
/// certificate has expired, or the fleet was restored under a new id.
const REJECTIONS_MAX: u32 = 3;

/// Lines of one message, and bytes of one line, at most: what a server takes.
const LINES_PER_MESSAGE: usize = 100;
const LINE_BYTES_MAX: usize = 1024;

/// Lines kept while no server is attached, the newest.
const LINES_KEPT: usize = 400;

/// What a server says.
pub(super) enum Heard {
    Instruction(proto::Instruction),
    Ack(u64),
    Welcome { node_urls: Vec<String>, offset_ms: i64 },
}

/// An open stream.
pub(super) struct Link {
    pub(super) server: ServerUrl,
    pub(super) channel: Channel,
    say: mpsc::Sender<proto::AgentMessage>,
    stream: tonic::Streaming<proto::ServerMessage>,
    given_up: bool,
}

impl Link {
    /// The next thing that the server says.
    pub(super) async fn next(&mut self) -> Result<Heard, LinkError> {
        loop {
            if self.given_up {
                return Err(LinkError::Closed);
            }
            let message = self.stream.message().await?.ok_or(LinkError::Closed)?;
            match message.message {
                Some(Got::Instruction(instruction)) => return Ok(Heard::Instruction(instruction)),
                Some(Got::Ack(ack)) => return Ok(Heard::Ack(ack.sequence)),
                Some(Got::Welcome(welcome)) => {
                    let [own, server] =
                        [unix_ms(), welcome.server_unix_ms].map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
                    return Ok(Heard::Welcome { node_urls: welcome.node_urls, offset_ms: own.saturating_sub(server) });
                }
                // A message of a newer server, of which this agent needs nothing.
                None => {}
            }
        }
    }

    /// Says a report. `false`: the server does not read.
    pub(super) fn tell(&self, report: Report) -> bool {
        self.say(Said::Report(wire::report(report)))
    }

    pub(super) fn tell_preflight(&self, report: &Preflight) -> bool {
        self.say(Said::Preflight(wire::preflight(report)))
    }

    fn say(&self, message: Said) -> bool {
        self.say.try_send(proto::AgentMessage { message: Some(message) }).is_ok()
    }

    /// The next read ends the stream.
    pub(super) const fn give_up(&mut self) {
        self.given_up = true;
    }
}

/// Lines of output that wait to be sent.
#[derive(Default)]
pub(super) struct Lines {
    waiting: VecDeque<(Key, String)>,
}

impl Lines {
    pub(super) fn push(&mut self, key: Key, line: String) {
        if self.waiting.len() >= LINES_KEPT {
            self.waiting.pop_front();
        }
        self.waiting.push_back((key, clip(&line, LINE_BYTES_MAX)));
    }

    /// Sends what waits. Lines are a courtesy: what does not fit into the queue is dropped.
    pub(super) fn send(&mut self, link: &Link) {
        while let Some((key, line)) = self.waiting.pop_front() {
            let mut lines = vec![line];
            while lines.len() < LINES_PER_MESSAGE && self.waiting.front().is_some_and(|(next, _)| *next == key) {
                lines.extend(self.waiting.pop_front().map(|(_, line)| line));
            }
            let message = proto::LogLines { attempt: key.attempt, step: key.step, lines };
            // Half of the queue is left for reports.
            if link.say.capacity() > SAY_WAITING / 2 {
                link.say(Said::Log(message));
            }
        }
    }
}

/// How an attempt to reach a server went.
pub(super) struct Dialled {
    /// The stream, and the preflight report that was sent over it.
    pub(super) link: Result<(Link, Preflight), LinkError>,
    /// Set when the machine proved itself anew, whether or not the server was reached after that.
    pub(super) identity: Option<Identity>,
}

/// An attempt to reach a server. Its error ends the agent.
pub(super) type Dialling = Pin<Box<dyn Future<Output = Result<Dialled, Error>> + Send>>;

/// Chooses which server to dial, and when.
pub(super) struct Dialler {
    offset: usize,
    tries: u32,
    rejections: u32,
}

impl Default for Dialler {
    fn default() -> Self {
        // So that a fleet's machines spread over its servers.
        Self { offset: usize::from(random_share()), tries: 0, rejections: 0 }
    }
}

impl Dialler {
    /// A server spoke.
    pub(super) const fn reached(&mut self) {
        self.tries = 0;
        self.rejections = 0;
    }

    /// A server could not be reached, or was lost.
    pub(super) fn failed(&mut self, error: &LinkError) {
        self.tries = self.tries.saturating_add(1);
        self.offset = self.offset.wrapping_add(1);
        self.rejections = self.rejections.saturating_add(u32::from(error.is_rejection()));
        tracing::debug!(%error, tries = self.tries, "no stream");
    }

    /// Begins to dial the next server.
    pub(super) fn dial(&mut self, session: &Session) -> Dialling {
        let anew = session.clocks.renew.has_expired() || self.rejections >= REJECTIONS_MAX;
        if anew {
            self.rejections = 0;
        }
        let urls = node_urls(&session.identity, &session.settings);
        let call = Dial {
            wait: pause(self.tries, urls.len(), random_share()),
            offset: self.offset,
            anew,
            settings: Arc::clone(&session.settings),
            executor: session.executor.clone(),
            keyring: session.keyring.clone(),
            identity: session.identity.clone(),
            facts: session.facts.clone(),
            standing: session.phase.journal().standing(),
            kubernetes_version: session.phase.instruction().map(|instruction| instruction.kubernetes_version.clone()),
        };
        Box::pin(call.dial().in_current_span())
    }
}

/// Node listeners: those that the fleet named, then the given servers at the usual port, in case the fleet has moved.
fn node_urls(identity: &Identity, settings: &Settings) -> Vec<ServerUrl> {
    let mut urls: Vec<ServerUrl> = identity.node_urls.iter().filter_map(|url| url.parse().ok()).collect();
    for guess in settings.servers.iter().map(|server| server.with_port(NODE_PORT)) {
        if !urls.contains(&guess) {
            urls.push(guess);
        }
    }
    urls
}

struct Dial {
    wait: Duration,
    offset: usize,
    anew: bool,
    settings: Arc<Settings>,
    executor: Executor,
    keyring: Keyring,
    identity: Identity,
    facts: Facts,
    standing: Standing,
    kubernetes_version: Option<String>,
}

impl Dial {
    async fn dial(mut self) -> Result<Dialled, Error> {
        sleep(self.wait).await;
        let mut identity = None;
        if self.anew {
            tracing::warn!("this machine's certificate is not accepted any more; proving who it is anew");
            // Its token let it in long ago, and would be refused as spent, or as of a fleet that was lost: the key speaks.
            let settings = Settings { token: None, ..Settings::clone(&self.settings) };
            let found = enrol::until_issued(&settings, &self.keyring, &self.facts, self.identity.key).await?;
            self.identity = found.clone();
            identity = Some(found);
        }
        let urls = node_urls(&self.identity, &self.settings);
        let Some(server) = urls.get(self.offset % urls.len().max(1)) else {
            let link = Err(LinkError::Protocol("the fleet named no node listener".to_owned()));
            return Ok(Dialled { link, identity });
        };
        let preflight = self.executor.preflight(self.standing, self.kubernetes_version.as_deref()).await;
        let config = tls(&self.identity, &self.keyring)?;
        let hello = hello(&self.facts, &preflight, self.identity.generation, self.executor.is_rehearsal());
        let link = attach(server, config, hello).await;
        Ok(Dialled { link: link.map(|link| (link, preflight)), identity })
    }
}

/// TLS with the machine's certificate, to servers of its fleet alone.
fn tls(identity: &Identity, keyring: &Keyring) -> Result<Arc<ClientConfig>, Error> {
    let shown = keyring.key(identity.key)?.with_chain(identity.chain()?);
    let config = client_config(Anchor::Root(identity.root()?), Some(&identity.fleet), Some(shown));
    config.map(Arc::new).map_err(|error| Error::Identity(error.to_string()))
}

fn hello(facts: &Facts, preflight: &Preflight, generation: u64, rehearsed: bool) -> proto::Hello {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    proto::Hello {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: boot_id.trim().to_owned(),
        facts: Some(wire::facts(facts)),
        preflight: Some(wire::preflight(preflight)),
        generation,
        rehearsed,
    }
}

async fn attach(server: &ServerUrl, config: Arc<ClientConfig>, hello: proto::Hello) -> Result<Link, LinkError> {
    let channel = client::connect_server(server, config).await?;
    let (say, said) = mpsc::channel(SAY_WAITING);
    say.try_send(proto::AgentMessage { message: Some(Said::Hello(hello)) }).map_err(|_| LinkError::Closed)?;
    let mut client = JoinServiceClient::new(channel.clone());
    let answer = timeout(ANSWER_LIMIT, client.attach(ReceiverStream::new(said)));
    let stream = answer.await.map_err(|_| LinkError::Closed)??.into_inner();
    Ok(Link { server: server.clone(), channel, say, stream, given_up: false })
}

/// The current instruction of an enrolled machine, for people to read; nothing is done about it.
pub(crate) async fn first_instruction(
    settings: &Settings,
    keyring: &Keyring,
    identity: &Identity,
    preflight: &Preflight,
) -> Result<proto::Instruction, Error> {
    let config = tls(identity, keyring)?;
    let hello = hello(&settings.facts(), preflight, identity.generation, false);
    let mut last = "no server was given".to_owned();
    for server in node_urls(identity, settings) {
        let read = async {
            let mut link = attach(&server, Arc::clone(&config), hello.clone()).await?;
            loop {
                if let Heard::Instruction(instruction) = link.next().await? {
                    return Ok::<_, LinkError>(instruction);
                }
            }
        };
        match timeout(ANSWER_LIMIT, read).await {
            Ok(Ok(instruction)) => return Ok(instruction),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = format!("{server} sent no instruction"),
        }
    }
    Err(Error::Unreachable { after: ANSWER_LIMIT, last })
}
