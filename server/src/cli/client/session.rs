//! Calls of one command, to whichever server of the context answers.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use muster_proto::admin::v1::admin_service_client::AdminServiceClient;
use rustls::ClientConfig;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use super::{address, connect};
#[cfg(test)]
use crate::cli::args::Globals;
use crate::cli::context;
#[cfg(test)]
use crate::cli::environment::Environment;
use crate::cli::exit::{Exit, Failure};

/// How long an answer may take if `--timeout` does not say.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Largest answer in bytes: ten thousand nodes with their facts and steps are about 30 MiB.
const MESSAGE_MAX: usize = 64 << 20;

/// What a server gets at least of that time: a fail-over takes about a second, an answer on a bad line a few.
const SHARE_MIN: Duration = Duration::from_secs(5);

/// A client of the admin API.
pub(crate) type Client = AdminServiceClient<Channel>;

/// A way to the servers of a context. One connection at a time; the next server is tried when one says that it cannot
/// serve now.
pub(crate) struct Session {
    servers: Vec<Server>,
    current: Cell<usize>,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

struct Server {
    uri: Uri,
    channel: tokio::sync::OnceCell<Channel>,
}

/// Why one server gave no answer.
enum Missed {
    /// It said why, or was not reached.
    Failed(Failure),
    /// It took the request and said nothing in time. Another server answers the same request id once.
    Silent(Failure),
}

/// A new name for a changing request. A repeat under the same name is done once.
pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl Session {
    /// For the context that options and environment choose. Nothing is connected yet.
    ///
    /// # Errors
    /// If there is no usable context.
    #[cfg(test)]
    pub(in crate::cli) fn open(globals: &Globals, environment: &Environment) -> Result<Self, Failure> {
        Self::of_context(&context::choose(globals, environment)?, globals.timeout)
    }

    /// For one context, whose paths are absolute.
    ///
    /// # Errors
    /// If its servers, certificate or key can't be used.
    pub(crate) fn of_context(context: &context::Context, timeout: Option<Duration>) -> Result<Self, Failure> {
        let servers = context.servers.iter().map(|server| address::parse(server)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(servers, Some(connect::tls_of(context)?), timeout))
    }

    pub(super) fn new(servers: Vec<Uri>, tls: Option<Arc<ClientConfig>>, timeout: Option<Duration>) -> Self {
        let server = |uri| Server { uri, channel: tokio::sync::OnceCell::new() };
        Self {
            servers: servers.into_iter().map(server).collect(),
            current: Cell::new(0),
            tls,
            timeout: timeout.unwrap_or(ANSWER_MAX),
        }
    }

    /// The server that answered last, or would be asked first.
    pub(crate) fn server(&self) -> String {
        self.servers.get(self.current.get()).map(|server| server.uri.to_string()).unwrap_or_default()
    }

    /// Makes one call, to each server in turn until one can serve it. For a stream this is its opening. A server that does not
    /// answer in its share of the time is left for the next one.
    ///
    /// `call` may be called several times and must then send the same request, its id included, so that a change whose
    /// answer was lost is not made twice.
    ///
    /// # Errors
    /// What the last server said, or why none was reached.
    pub(crate) async fn call<T>(
        &self,
        call: impl AsyncFn(Client) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let mut failures: Vec<Failure> = Vec::new();
        let mut silent = None;
        for _ in 0..self.servers.len() {
            match self.attempt(&call).await {
                Ok(answer) => return Ok(answer),
                Err(Missed::Silent(failure)) => silent = Some(failure),
                Err(Missed::Failed(failure)) if failure.exit != Exit::Unreachable => return Err(failure),
                Err(Missed::Failed(failure)) => failures.push(failure),
            }
            self.current.set((self.current.get() + 1) % self.servers.len());
        }
        Err(silent.unwrap_or_else(|| unreachable(failures)))
    }

    async fn attempt<T>(&self, call: &impl AsyncFn(Client) -> Result<Response<T>, Status>) -> Result<T, Missed> {
        let within = self.share();
        let channel = self.channel(within).await.map_err(Missed::Failed)?;
        let client = AdminServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
        match tokio::time::timeout(within, call(client)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Missed::Failed(self.refused(&status))),
            Err(_) => Err(Missed::Silent(
                Failure::new(
                    Exit::Failed,
                    format!("{} did not answer within {within:?}; whether it acted is not known", self.server()),
                )
                .with_next("look before you repeat a change: muster status"),
            )),
        }
    }

    /// The time that one server gets, so that one that stands still leaves some for the others.
    fn share(&self) -> Duration {
        let servers = u32::try_from(self.servers.len()).unwrap_or(u32::MAX).max(1);
        (self.timeout / servers).max(SHARE_MIN).min(self.timeout)
    }

    async fn channel(&self, within: Duration) -> Result<Channel, Failure> {
        let Some(server) = self.servers.get(self.current.get()) else {
            return Err(Failure::new(Exit::Invalid, "the context names no server"));
        };
        let connecting = async {
            match &self.tls {
                Some(tls) => connect::connect(&server.uri, Arc::clone(tls), within).await,
                None => plaintext(&server.uri).await,
            }
        };
        server.channel.get_or_try_init(|| connecting).await.cloned()
    }

    fn refused(&self, status: &Status) -> Failure {
        let failure = Failure::of_status(status);
        match status.code() {
            Code::Unavailable => Failure { message: format!("{}: {}", self.server(), failure.message), ..failure },
            _ => failure,
        }
    }
}

/// Without TLS nothing is sent: only the tests' own servers on loopback are called so.
#[cfg(not(test))]
async fn plaintext(server: &Uri) -> Result<Channel, Failure> {
    Err(Failure::new(Exit::Invalid, format!("{server} cannot be called without TLS")))
}

#[cfg(test)]
async fn plaintext(server: &Uri) -> Result<Channel, Failure> {
    let connected = tonic::transport::Endpoint::from(server.clone()).connect().await;
    connected.map_err(|error| Failure::new(Exit::Unreachable, format!("{server}: {error}")))
}

/// One failure out of those of all servers.
fn unreachable(mut failures: Vec<Failure>) -> Failure {
    let next = "check that `muster serve` runs there, that a majority of servers is up, and that no firewall is between; \
                servers are named in the context";
    match failures.len() {
        1 => {
            let only = failures.remove(0);
            Failure { next: Some(next.to_owned()), ..only }
        }
        _ => {
            let all: Vec<String> = failures.iter().map(|failure| format!("  {}", failure.message)).collect();
            Failure::new(Exit::Unreachable, format!("no server can be used:\n{}", all.join("\n"))).with_next(next)
        }
    }
}
