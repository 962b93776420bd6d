//! Operators at work: they make enrolment tokens on servers of a fleet, and know which were acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use muster_proto::admin::v1::admin_service_client::AdminServiceClient;
use muster_proto::admin::v1::{CreateTokenRequest, ListTokensRequest};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use crate::raw::{self, Listener};
use crate::{ClusterFile, Fleet, SOON, Server, eventually_async};

/// Operators that work on one server at the same time.
const PER_SERVER: usize = 2;

/// How long one call may take. A server that lost its power never answers.
const CALL_WITHIN: Duration = Duration::from_secs(5);

/// Lines of a server's log that an error shows.
const LOG_LINES: usize = 30;

/// What all operators of a fleet know together.
#[derive(Debug, Default)]
pub struct Operators {
    acknowledged: BTreeSet<String>,
    /// Numbers of tokens, so that each has an id of its own.
    next: Arc<AtomicU64>,
}

impl Operators {
    /// Operators of a fleet, whose first token is still to come: gives the fleet a cluster `prod` with a pool `worker`.
    ///
    /// # Errors
    /// If the fleet does not take it.
    pub fn of(fleet: &Fleet) -> Result<Self> {
        ClusterFile::new("prod").pool("worker", "worker", "token", &[]).apply(&fleet.servers[0])?;
        Ok(Self::default())
    }

    /// How many tokens were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Makes one token.
    ///
    /// # Errors
    /// If it is not acknowledged; it may be there all the same.
    pub async fn make_one(&mut self, server: &Server) -> Result<String> {
        let token = make_token(&mut connected(server).await?, &self.next).await?;
        self.acknowledged.insert(token.clone());
        Ok(token)
    }

    /// Asks a server that cannot acknowledge for a token, and waits until it has given up; gives the token's id and the reason.
    ///
    /// # Errors
    /// If it acknowledges, or says nothing.
    pub async fn be_refused(&mut self, server: &Server) -> Result<(String, Status)> {
        let (id, request) = next_token(&self.next);
        let asked = connected(server).await?.create_token(request).await;
        let Err(status) = asked else { bail!("{id} was acknowledged by a server that is cut off") };
        Ok((id, status))
    }

    /// Whether a server lists a token.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn lists(&self, server: &Server, id: &str) -> Result<bool> {
        Ok(listed(server).await?.contains(id))
    }

    /// Waits until each of these servers has acknowledged another token, and looks whether it lists every token that was ever
    /// acknowledged by any.
    ///
    /// # Errors
    /// If it does not.
    pub async fn nothing_is_lost(&mut self, fleet: &Fleet, servers: &[usize], when: &str) -> Result<()> {
        for &number in servers {
            let server = &fleet.servers[number];
            // What a server acknowledges it has applied, and all that came before.
            eventually_async("a server that acknowledges", SOON, async || {
                self.make_one(server).await.map_err(|error| format!("{error:#}"))
            })
            .await
            .with_context(|| last_words(server, number, when))?;
            let there = listed(server).await?;
            let lost: Vec<_> = self.acknowledged.difference(&there).collect();
            let all = self.acknowledged.len();
            ensure!(lost.is_empty(), "{} of {all} acknowledged tokens are lost {when}: {lost:?}", lost.len());
        }
        Ok(())
    }

    /// Waits until these servers let operators in.
    ///
    /// # Errors
    /// If one does not soon.
    pub async fn all_answer(&self, fleet: &Fleet, servers: &[usize]) -> Result<()> {
        for &number in servers {
            let server = &fleet.servers[number];
            eventually_async("a server that lets operators in", SOON, async || {
                connected(server).await.map(drop).map_err(|error| format!("{error:#}"))
            })
            .await
            .with_context(|| last_words(server, number, "should be back"))?;
        }
        Ok(())
    }

    /// Sets operators to work on these servers. Each goes on until a call of its own fails.
    ///
    /// # Errors
    /// If a server lets none in.
    pub async fn work(&self, fleet: &Fleet, servers: &[usize]) -> Result<Work> {
        let (acknowledge, acknowledged) = mpsc::unbounded_channel();
        let mut working = JoinSet::new();
        for &number in servers.iter().cycle().take(servers.len() * PER_SERVER) {
            let server = &fleet.servers[number];
            let mut operator =
                connected(server).await.with_context(|| last_words(server, number, "as operators come"))?;
            let (next, acknowledge) = (self.next.clone(), acknowledge.clone());
            working.spawn(async move {
                while let Ok(token) = make_token(&mut operator, &next).await {
                    if acknowledge.send(token).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Work { working, acknowledged })
    }

    /// Waits until so many more tokens were acknowledged.
    ///
    /// # Errors
    /// If they take too long, or all operators gave up.
    pub async fn count(&mut self, work: &mut Work, acks: u64) -> Result<()> {
        for _ in 0..acks {
            let token = tokio::time::timeout(SOON, work.acknowledged.recv()).await.context("no acknowledgement")?;
            self.acknowledged.insert(token.context("all operators gave up")?);
        }
        Ok(())
    }

    /// Waits until all operators have given up, because their servers answer no more, and counts what was acknowledged.
    pub async fn until_all_gave_up(&mut self, mut work: Work) {
        while work.working.join_next().await.is_some() {}
        while let Some(token) = work.acknowledged.recv().await {
            self.acknowledged.insert(token);
        }
    }

    /// Calls the operators off, and counts what was acknowledged.
    pub async fn call_off(&mut self, mut work: Work) {
        work.working.abort_all();
        self.until_all_gave_up(work).await;
    }
}

/// Operators at work.
#[derive(Debug)]
pub struct Work {
    working: JoinSet<()>,
    acknowledged: mpsc::UnboundedReceiver<String>,
}

async fn connected(server: &Server) -> Result<AdminServiceClient<Channel>> {
    let channel = raw::connect(server, Listener::Operators, Some(raw::operator(server)?)).await?;
    Ok(AdminServiceClient::new(channel))
}

/// Ids of the tokens that a server lists.
async fn listed(server: &Server) -> Result<BTreeSet<String>> {
    let listed = connected(server).await?.list_tokens(ListTokensRequest::default()).await?.into_inner();
    Ok(listed.items.into_iter().map(|token| token.id).collect())
}

/// Gives the id of the token once it is acknowledged.
async fn make_token(operator: &mut AdminServiceClient<Channel>, next: &AtomicU64) -> Result<String> {
    let (id, request) = next_token(next);
    tokio::time::timeout(CALL_WITHIN, operator.create_token(request)).await??;
    Ok(id)
}

fn next_token(next: &AtomicU64) -> (String, CreateTokenRequest) {
    let number = next.fetch_add(1, Ordering::Relaxed);
    let id = format!("{number:08}");
    let request = CreateTokenRequest {
        request_id: format!("00000000-0000-4000-8000-{number:012}"),
        id: id.clone(),
        sha256: vec![7; 32],
        cluster: "prod".to_owned(),
        pool: "worker".to_owned(),
        ttl_seconds: 3600,
        uses: 1,
        ..CreateTokenRequest::default()
    };
    (id, request)
}

fn last_words(server: &Server, number: usize, when: &str) -> String {
    let log = server.log();
    let lines: Vec<&str> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
    format!("server {number} {when}; its log ends with:\n{last}")
}
