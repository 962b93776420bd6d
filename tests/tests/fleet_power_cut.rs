//! All servers of a fleet lose their power at the same instant: whatever any of them acknowledged is there afterwards.
//!
//! Operators make enrolment tokens on all three servers at once, through real mutual TLS and real Raft, until the power of all
//! three disks is cut at the same instant. What is left of the disks is what each had really synchronised, or that and a random
//! part of the rest; then all three start again, and every token that was acknowledged must be listed.
//!
//! More cuts: `FLEET_POWER_CUTS=1000`; `POWER_CUT_SEED` repeats a run's chance.
//! See it fail: `cargo test -p muster-tests --test fleet_power_cut --features planted-bug-no-fsync`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_proto::admin::v1::admin_service_client::AdminServiceClient;
use muster_proto::admin::v1::{CreateTokenRequest, ListTokensRequest};
use muster_server::storage::Engine;
use muster_tests::disk::{Chance, Cut, Fault, Mains};
use muster_tests::raw::{self, Listener};
use muster_tests::{ClusterFile, Fleet, SOON, Server, ServerSettings, eventually_async};
use tokio::task::JoinSet;
use tonic::transport::Channel;

const SERVERS: usize = 3;

/// Operators that make tokens at the same time, spread over the servers.
const OPERATORS: usize = 6;

/// Acknowledgements seen before the plug is pulled, at most; the actual number is random.
const ACKS_BEFORE_CUT_MAX: u64 = 60;

/// How long one call may take. A server that lost its power never answers.
const CALL_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_on_sled_that_loses_its_power_as_a_whole_keeps_what_it_acknowledged() {
    cut_all_again_and_again(Engine::Sled).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_on_redb_that_loses_its_power_as_a_whole_keeps_what_it_acknowledged() {
    cut_all_again_and_again(Engine::Redb).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_fsync_fails_ends_at_once_and_the_others_carry_on() {
    fail_one_disk_after_another().await.unwrap();
}

/// What the operators know.
#[derive(Default)]
struct Known {
    acknowledged: BTreeSet<String>,
    /// Numbers of tokens, so that each has an id of its own.
    next: Arc<AtomicU64>,
}

/// A fleet on disks that can lose their power.
struct Plugged {
    fleet: Fleet,
    mains: Mains,
    pin: String,
    known: Known,
}

impl Plugged {
    async fn new(engine: Engine) -> Result<Self> {
        tokio::task::spawn_blocking(move || {
            let settings = ServerSettings { engine: engine.name(), ..ServerSettings::default() };
            let mut fleet = Fleet::with(SERVERS, &settings)?;
            ClusterFile::new("prod").pool("worker", "worker", "token", &[]).apply(&fleet.servers[0])?;
            let (mut mains, pin) = (Mains::new()?, fleet.door()?.pin);
            for server in &mut fleet.servers {
                server.stop()?;
                server.plug_into(&mut mains)?;
                server.start()?;
            }
            Ok(Self { fleet, mains, pin, known: Known::default() })
        })
        .await?
    }

    async fn operator(&self, number: usize) -> Result<AdminServiceClient<Channel>> {
        let identity = raw::operator(&self.fleet.servers[0])?;
        let server = &self.fleet.servers[number];
        let channel = raw::connect_pinned(server, Listener::Operators, Some(identity), self.pin.parse()?).await?;
        Ok(AdminServiceClient::new(channel))
    }

    /// Every token that was acknowledged is listed by each of these servers, once it has acknowledged another.
    async fn nothing_is_lost(&mut self, servers: &[usize], when: &str) -> Result<()> {
        for &number in servers {
            let mut operator = eventually_async("a server that answers", SOON, async || {
                self.operator(number).await.map_err(|error| format!("{error:#}"))
            })
            .await
            .with_context(|| self.last_words(number, when))?;
            // What a server acknowledges it has applied, and all that came before.
            let token = eventually_async("a server that takes commands", SOON, async || {
                make_token(&mut operator, &self.known.next).await.map_err(|error| format!("{error:#}"))
            })
            .await
            .with_context(|| self.last_words(number, when))?;
            self.known.acknowledged.insert(token);
            let listed = operator.list_tokens(ListTokensRequest::default()).await?.into_inner();
            let there: BTreeSet<String> = listed.items.into_iter().map(|token| token.id).collect();
            let lost: Vec<_> = self.known.acknowledged.difference(&there).collect();
            let all = self.known.acknowledged.len();
            ensure!(lost.is_empty(), "{} of {all} acknowledged tokens are lost {when}: {lost:?}", lost.len());
        }
        Ok(())
    }

    fn last_words(&self, number: usize, when: &str) -> String {
        let log = self.fleet.servers[number].log();
        let lines: Vec<&str> = log.lines().collect();
        format!("server {number} {when}; its log ends with:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"))
    }

    /// Operators at work on all servers; they end when theirs no longer answers.
    async fn operators(&self, acknowledge: &tokio::sync::mpsc::UnboundedSender<String>) -> Result<JoinSet<()>> {
        let mut working = JoinSet::new();
        for number in 0..OPERATORS {
            let server = number % SERVERS;
            let mut operator = self.operator(server).await.with_context(|| self.last_words(server, "under load"))?;
            let (next, acknowledge) = (self.known.next.clone(), acknowledge.clone());
            working.spawn(async move {
                while let Ok(token) = make_token(&mut operator, &next).await {
                    // Whoever counted may have seen enough; this one is acknowledged all the same.
                    let _ = acknowledge.send(token);
                }
            });
        }
        Ok(working)
    }
}

/// Gives the id of the token once it is acknowledged.
async fn make_token(operator: &mut AdminServiceClient<Channel>, next: &AtomicU64) -> Result<String> {
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
    tokio::time::timeout(CALL_WITHIN, operator.create_token(request)).await??;
    Ok(id)
}

async fn cut_all_again_and_again(engine: Engine) -> Result<()> {
    let cuts = std::env::var("FLEET_POWER_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(25);
    let mut chance = Chance::new();
    let mut plugged = Plugged::new(engine).await?;
    for round in 0..cuts {
        let when = format!("after cut {round}");
        plugged.nothing_is_lost(&[round % SERVERS], &when).await?;
        let (acknowledge, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
        let mut working = plugged.operators(&acknowledge).await?;
        drop(acknowledge);
        for _ in 0..=chance.below(ACKS_BEFORE_CUT_MAX) {
            let token = tokio::time::timeout(SOON, acknowledged.recv()).await?;
            plugged.known.acknowledged.insert(token.context("all operators gave up")?);
        }
        plugged.mains.cut()?;
        plugged.fleet.servers.iter().try_for_each(Server::kill_process)?;
        while working.join_next().await.is_some() {}
        while let Some(token) = acknowledged.recv().await {
            plugged.known.acknowledged.insert(token);
        }
        for server in &mut plugged.fleet.servers {
            server.kill()?;
        }
        let cut = if chance.coin() { Cut::Strict } else { Cut::Torn };
        plugged.mains.restore(cut, &mut chance)?;
        for server in &mut plugged.fleet.servers {
            server.start()?;
        }
    }
    plugged.nothing_is_lost(&[0, 1, 2], "after the last cut").await?;
    let acknowledged = plugged.known.acknowledged.len();
    println!("{engine}: {cuts} cuts of {SERVERS} servers at once, {acknowledged} acknowledged tokens, none lost");
    Ok(())
}

async fn fail_one_disk_after_another() -> Result<()> {
    let mut chance = Chance::new();
    let mut plugged = Plugged::new(Engine::Sled).await?;
    for number in 0..SERVERS {
        let others: Vec<usize> = (0..SERVERS).filter(|other| *other != number).collect();
        plugged.nothing_is_lost(&[0, 1, 2], "before a disk fails").await?;
        let failing = &mut plugged.fleet.servers[number];
        failing.kill()?;
        failing.break_disk(&Fault::FailAt(60 + chance.below(60)));
        failing.start()?;
        let (acknowledge, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
        eventually_async("the server is back", SOON, async || {
            plugged.operator(number).await.map_err(|_| String::new())
        })
        .await?;
        let working = plugged.operators(&acknowledge).await?;
        eventually_async("its disk fails and it ends", SOON, async || match plugged.fleet.servers[number].ended() {
            Ok(Some(code)) if code != 0 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await?;
        drop((working, acknowledge));
        while let Some(token) = acknowledged.recv().await {
            plugged.known.acknowledged.insert(token);
        }
        plugged.nothing_is_lost(&others, "while a server is gone").await?;
        let failing = &mut plugged.fleet.servers[number];
        failing.kill()?;
        failing.mend_disk();
        failing.start()?;
    }
    plugged.nothing_is_lost(&[0, 1, 2], "in the end").await
}
