//! One run, from an empty disk to the judgement.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_server::consensus::Peer;
use muster_state::{Command, State};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::Client;
use super::commands;
use super::conductor;
use super::group::Group;
use super::history::History;
use super::journal::Journal;
use super::objects::{Ask, Object};
use super::oracle;
use super::plan::{COUNTS, Plan, Step, TOKENS, TROUBLE_MS};
use super::server::Asked;
use super::trouble;

/// How long a fresh group may take to be ready for its clients.
const SETUP_WITHIN: Duration = Duration::from_secs(60);

/// After the last fault everything must be as it was within this time.
pub const HEALED_WITHIN: Duration = Duration::from_secs(10);

/// Virtual time after which a run is given up.
const RUN_WITHIN: Duration = Duration::from_secs(600);

/// How long the last operations may take, when nothing is wrong any more.
const LAST_WITHIN_MS: u64 = 5_000;

/// Turns of tasks before the event loop looks at its timers although others could run.
const EVENTS: u32 = 1_000_000;

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run.
    pub plan: Plan,
    /// What must never be and was; empty if all is well.
    pub violations: Vec<String>,
    /// What clients saw.
    pub history: History,
    /// What happened, in order.
    pub lines: Vec<String>,
    /// A number of all that happened, messages too: equal for two equal runs.
    pub trace: u64,
    /// Virtual time from the last fault's end until the group was whole.
    pub healed_after: Duration,
    /// Virtual time of the whole run.
    pub lasted: Duration,
}

/// Runs a plan. Everything happens on this thread.
///
/// # Panics
/// If the machine gives no event loop.
#[must_use]
pub fn run(plan: &Plan) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // The driver has its turn when nothing else can run, so that nothing depends on how much was done before.
    let runtime = builder.enable_time().start_paused(true).event_interval(EVENTS).build().expect("a runtime");
    runtime.block_on(async {
        let journal = Arc::new(Journal::new());
        let run = Run {
            began: Instant::now(),
            group: Group::new(plan, journal.clone()),
            history: Arc::default(),
            healed_after: Duration::ZERO,
        };
        run.live(plan).await
    })
}

struct Run {
    began: Instant,
    group: Arc<Group>,
    history: Arc<Mutex<History>>,
    healed_after: Duration,
}

impl Run {
    async fn live(mut self, plan: &Plan) -> Outcome {
        let group = self.group.clone();
        tokio::spawn(group.turnstile.clone().keep());
        let broken = async { group.broken.notified().await };
        tokio::select! {
            biased;
            () = broken => {}
            () = tokio::time::sleep(RUN_WITHIN) => group.violated(format!("the run does not end within {RUN_WITHIN:?}")),
            () = self.stages(plan) => {}
        }
        self.judged(plan)
    }

    async fn stages(&mut self, plan: &Plan) {
        let mut watchers = JoinSet::new();
        if !self.set_up(plan).await {
            return self.group.violated(format!("the group is not ready after {SETUP_WITHIN:?}"));
        }
        watchers.spawn(self.group.clone().watch());
        watchers.spawn(self.group.clone().change_members());
        self.trouble(plan).await;
        if self.heal().await {
            self.last_looks(plan).await;
        }
    }

    /// Founds the group with server 1, brings the others in, and makes the objects.
    async fn set_up(&self, plan: &Plan) -> bool {
        let ready = async {
            for server in self.group.servers() {
                self.group.start(&server).await;
            }
            let first = self.group.at(0);
            let peer = Peer { address: "server-1.example:9446".to_owned() };
            first.ask(SETUP_WITHIN, |consensus| async move { consensus.initialize(peer).await.is_ok() }).await;
            let members = tokio::spawn(self.group.clone().change_members());
            while !self.group.is_whole() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            members.abort();
            for verb in commands::setup(COUNTS) {
                let command = Command { request: None, verb };
                let proposed = |command: Command| {
                    let within = Duration::from_secs(5);
                    first.ask(within, move |consensus| async move { consensus.propose(command, within).await })
                };
                while !matches!(proposed(command.clone()).await, Asked::Answered(Ok(_))) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        let within = tokio::time::timeout(SETUP_WITHIN, ready).await;
        self.group.journal.note(format_args!("{} voters and {} learners are ready", plan.voters, plan.learners));
        within.is_ok()
    }

    /// Clients and faults, until both are through.
    async fn trouble(&self, plan: &Plan) {
        let mut doing = JoinSet::new();
        let until = Instant::now() + Duration::from_millis(TROUBLE_MS);
        for (number, steps) in (0..).zip(&plan.clients) {
            let client = Client::new(self.group.clone(), self.history.clone(), number);
            doing.spawn(client.run(steps.clone(), until));
        }
        for (number, fault) in (0..).zip(&plan.faults) {
            doing.spawn(trouble::bring(self.group.clone(), number, fault.clone()));
        }
        while doing.join_next().await.is_some() {}
    }

    /// Waits until the group is whole again, which it must be soon.
    async fn heal(&mut self) -> bool {
        self.group.network.calm();
        let since = Instant::now();
        self.group.journal.note(format_args!("the last fault has ended"));
        while !self.group.is_whole() {
            if since.elapsed() > HEALED_WITHIN {
                let states: Vec<_> = self.group.servers().iter().map(|server| (server.id, server.status())).collect();
                self.group.violated(format!("the group is not whole after {HEALED_WITHIN:?}: {states:?}"));
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.healed_after = since.elapsed();
        self.group.journal.note(format_args!("the group is whole"));
        true
    }

    /// Every server takes a write and shows every object.
    async fn last_looks(&self, plan: &Plan) {
        let mut client = Client::new(self.group.clone(), self.history.clone(), u32::MAX);
        let objects = (0..TOKENS).map(Object::Token).chain((0..COUNTS.permits).map(Object::Permit));
        let registers = (0..COUNTS.registers).map(Object::Register);
        let objects: Vec<Object> = objects.chain(registers).chain((0..COUNTS.counters).map(Object::Counter)).collect();
        let serials = plan.clients.iter().map(Vec::len).sum::<usize>();
        for place in 0..self.group.servers().len() {
            let serial = u32::try_from(serials + place + 1).unwrap_or(u32::MAX);
            let step = |object, ask| Step {
                wait_ms: 0,
                object,
                ask,
                request: ask != Ask::Look,
                echo: false,
                server: place,
                within_ms: LAST_WITHIN_MS,
            };
            client.take(&step(Object::Counter(0), Ask::Add { serial })).await;
            for object in &objects {
                client.take(&step(*object, Ask::Look)).await;
            }
        }
        while !self.group.is_whole() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn judged(self, plan: &Plan) -> Outcome {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut violations = self.group.violations();
        if violations.is_empty() {
            let states: BTreeMap<u64, State> = self
                .group
                .servers()
                .iter()
                .filter_map(|server| Some((server.id, server.consensus()?.read(State::clone))))
                .collect();
            violations = oracle::judge(&states, &history);
            let deeds = self.group.deeds.lock().unwrap_or_else(PoisonError::into_inner);
            violations.extend(states.values().next().map(|state| conductor::judge(state, &deeds)).unwrap_or_default());
        } else if let Err(unlawful) = history.judge() {
            violations.push(unlawful.to_string());
        }
        let journal = self.group.journal.clone();
        Outcome {
            plan: plan.clone(),
            violations,
            history,
            lines: journal.lines(),
            trace: journal.hash(),
            healed_after: self.healed_after,
            lasted: self.began.elapsed(),
        }
    }
}
