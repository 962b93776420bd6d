//! A crowd of operators at work on all servers of a fleet at once. Each makes changes one after the other and insists on every one of them,
//! under the same request id and at whichever server answers, as the command line does.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use muster_agent::client::connect_server;
use muster_proto::admin::v1::admin_service_client::AdminServiceClient;
use muster_proto::admin::v1::{CreateTokenRequest, ListTokensRequest, RenewTokenRequest};
use muster_trust::{Anchor, client_config};
use rustls::ClientConfig;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::raw::{self, Listener};
use crate::{ClusterFile, Fleet, Server};

/// The cluster that their tokens are for.
const CLUSTER: &str = "prod";
/// A server that has not answered for so long is left for the next one. A fail-over takes about a second.
const CALL_WITHIN: Duration = Duration::from_secs(5);
/// How long one change may take with all attempts.
const CHANGE_WITHIN: Duration = Duration::from_secs(60);
/// Before the next server is asked.
const PAUSE: Duration = Duration::from_millis(10);
/// A list of all tokens that a fleet keeps has about 20 MiB.
const MESSAGE_MAX: usize = 64 << 20;
/// Life of their tokens: longer than any run.
const TTL_SECONDS: u64 = 86_400;

/// How much they do.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Operators, spread over the servers.
    pub operators: usize,
    /// Each begins a change so long after the last, or when that is done.
    pub each: Duration,
    /// Changes for each new token; the others prolong the last one. A fleet keeps 50,000 tokens.
    pub per_token: u64,
}

/// What was acknowledged so far.
#[derive(Debug, Default)]
struct Acknowledged {
    tokens: BTreeSet<String>,
    /// When each change was, in order.
    times: Vec<Instant>,
}

#[derive(Default)]
struct Shared {
    done: AtomicBool,
    next: AtomicU64,
    acknowledged: Mutex<Acknowledged>,
}

impl Shared {
    fn acknowledged(&self) -> MutexGuard<'_, Acknowledged> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A crowd of operators at work; dropping it sends them home.
pub struct Crowd {
    shared: Arc<Shared>,
    doors: Arc<Doors>,
    working: JoinSet<Result<()>>,
}

impl Crowd {
    /// Makes their cluster and sends them to work.
    ///
    /// # Errors
    /// If the fleet does not take the cluster, or has no operator.
    pub fn start(fleet: &Fleet, pace: Pace) -> Result<Self> {
        ClusterFile::new(CLUSTER).pool("worker", "worker", "token", &[]).apply(&fleet.servers[0])?;
        let pin = fleet.door()?.pin.parse()?;
        let tls = client_config(Anchor::Pin(pin), None, Some(raw::operator(&fleet.servers[0])?))?;
        let addresses = fleet.servers.iter().map(Server::address).collect();
        let doors = Arc::new(Doors { addresses, tls: Arc::new(tls) });
        let (shared, mut working) = (Arc::new(Shared::default()), JoinSet::new());
        for number in 0..pace.operators {
            let operator = Operator::new(doors.clone(), number);
            working.spawn(operator.work(shared.clone(), pace));
        }
        Ok(Self { shared, doors, working })
    }

    /// Changes that were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged().times.len()
    }

    /// The longest time since `begin` in which nothing was acknowledged; one that had begun then counts whole, and so does one
    /// that has not ended yet.
    pub fn longest_silence(&self, begin: Instant) -> Duration {
        let now = Instant::now();
        let acknowledged = self.shared.acknowledged();
        let times = &acknowledged.times;
        let first = times.partition_point(|time| *time <= begin).saturating_sub(1);
        let later = times[first.min(times.len())..].iter().copied().chain([now]);
        let earlier = times[first.min(times.len())..].iter().copied();
        earlier.zip(later.skip(1)).map(|(earlier, later)| later - earlier).max().unwrap_or(now - begin)
    }

    /// Every token that was acknowledged is there when this server, which by then has acknowledged another, lists them. Gives how
    /// many there are.
    ///
    /// # Errors
    /// If one is lost, the server does not answer, or an operator was refused.
    pub async fn nothing_is_lost(&mut self, server: usize) -> Result<usize> {
        while let Some(ended) = self.working.try_join_next() {
            ended??;
        }
        let expected = self.shared.acknowledged().tokens.clone();
        let mut operator = Operator::new(self.doors.clone(), server);
        operator.stays = true;
        // What a server acknowledges it has applied, and all that came before.
        operator.make_token(&self.shared).await?;
        let listed = operator.client().await?.list_tokens(ListTokensRequest::default()).await?.into_inner();
        let there: BTreeSet<String> = listed.items.into_iter().map(|token| token.id).collect();
        let lost: Vec<_> = expected.difference(&there).collect();
        ensure!(lost.is_empty(), "{} of {} acknowledged tokens are lost: {lost:?}", lost.len(), expected.len());
        Ok(expected.len())
    }

    /// Lets each finish what it has begun, and gives how many changes were acknowledged.
    ///
    /// # Errors
    /// If one was refused.
    pub async fn finish(&mut self) -> Result<usize> {
        self.shared.done.store(true, Ordering::Relaxed);
        while let Some(ended) = self.working.join_next().await {
            ended??;
        }
        Ok(self.acknowledged())
    }
}

/// Where servers listen, and who calls.
struct Doors {
    addresses: Vec<Ipv4Addr>,
    tls: Arc<ClientConfig>,
}

struct Operator {
    doors: Arc<Doors>,
    at: usize,
    /// It does not go to another server.
    stays: bool,
    client: Option<AdminServiceClient<Channel>>,
}

impl Operator {
    fn new(doors: Arc<Doors>, number: usize) -> Self {
        let at = number % doors.addresses.len();
        Self { doors, at, stays: false, client: None }
    }

    async fn work(mut self, shared: Arc<Shared>, pace: Pace) -> Result<()> {
        let (mut token, mut begin) = (String::new(), Instant::now());
        for number in 0_u64.. {
            if shared.done.load(Ordering::Relaxed) {
                break;
            }
            if number % pace.per_token == 0 {
                token = self.make_token(&shared).await?;
            } else {
                self.prolong(&shared, &token).await?;
            }
            begin = (begin + pace.each).max(Instant::now().checked_sub(pace.each).unwrap_or(begin));
            sleep_until(begin).await;
        }
        Ok(())
    }

    async fn make_token(&mut self, shared: &Shared) -> Result<String> {
        let (number, request_id) = request_id(shared);
        let id = format!("{number:08}");
        let request = CreateTokenRequest {
            request_id,
            id: id.clone(),
            sha256: vec![7; 32],
            cluster: CLUSTER.to_owned(),
            pool: "worker".to_owned(),
            ttl_seconds: TTL_SECONDS,
            uses: 1,
            ..CreateTokenRequest::default()
        };
        self.insist(&Change::Token(Box::new(request))).await?;
        let mut acknowledged = shared.acknowledged();
        acknowledged.tokens.insert(id.clone());
        acknowledged.times.push(Instant::now());
        Ok(id)
    }

    async fn prolong(&mut self, shared: &Shared, token: &str) -> Result<()> {
        let (_, request_id) = request_id(shared);
        let request = RenewTokenRequest { request_id, id: token.to_owned(), ttl_seconds: TTL_SECONDS };
        self.insist(&Change::Life(request)).await?;
        shared.acknowledged().times.push(Instant::now());
        Ok(())
    }

    /// Makes one change until it is answered, at one server after the other.
    async fn insist(&mut self, change: &Change) -> Result<()> {
        let deadline = Instant::now() + CHANGE_WITHIN;
        loop {
            let attempt = timeout(CALL_WITHIN, async { anyhow::Ok(change.make(self.client().await?).await) });
            let why = match attempt.await {
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(Ok(Err(status))) if is_final(&status) => bail!("a change was refused: {status}"),
                Ok(Ok(Err(status))) => status.to_string(),
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "no answer".to_owned(),
            };
            ensure!(Instant::now() < deadline, "a change was not made within {CHANGE_WITHIN:?}; last: {why}");
            self.client = None;
            self.at = if self.stays { self.at } else { (self.at + 1) % self.doors.addresses.len() };
            sleep(PAUSE).await;
        }
    }

    async fn client(&mut self) -> Result<AdminServiceClient<Channel>> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let url = format!("{}:{}", self.doors.addresses[self.at], Listener::Operators.port()).parse()?;
        let channel = connect_server(&url, self.doors.tls.clone()).await.context("no connection")?;
        let client = AdminServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
        Ok(self.client.insert(client).clone())
    }
}

/// A change that an operator insists on.
enum Change {
    /// A new token.
    Token(Box<CreateTokenRequest>),
    /// A longer life for one.
    Life(RenewTokenRequest),
}

impl Change {
    async fn make(&self, mut client: AdminServiceClient<Channel>) -> Result<(), Status> {
        match self {
            Self::Token(request) => client.create_token(CreateTokenRequest::clone(request)).await.map(drop),
            Self::Life(request) => client.renew_token(request.clone()).await.map(drop),
        }
    }
}

fn request_id(shared: &Shared) -> (u64, String) {
    let number = shared.next.fetch_add(1, Ordering::Relaxed);
    (number, format!("00000000-0000-4000-8000-{number:012}"))
}

/// A server's no, after which no other needs to be asked. What tonic makes of a broken connection has a source.
fn is_final(status: &Status) -> bool {
    let for_now = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled);
    !for_now && std::error::Error::source(status).is_none()
}
