//! A client: does what its plan says, one operation after the other, and writes down what it saw.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_server::consensus::ProposeError;
use muster_state::{Command, Digest, Refusal, Reply, Request};
use tokio::time::Instant;

use super::commands;
use super::group::Group;
use super::history::{Ended, History, Operation};
use super::objects::{Answer, Ask, Object, Value};
use super::plan::Step;
use super::server::Asked;

/// Servers that a client asks before it gives up.
const ATTEMPTS: usize = 8;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// How much longer a client waits than the server was told to.
const PATIENCE: Duration = Duration::from_millis(500);

/// One client of a group.
#[derive(Debug)]
pub struct Client {
    group: Arc<Group>,
    history: Arc<Mutex<History>>,
    number: u32,
    requests: u32,
    /// The revision of each register that it saw last.
    seen: BTreeMap<Object, u64>,
}

/// What became of one attempt.
enum Attempt {
    Answered(Result<Reply, Refusal>),
    /// Surely nothing was done.
    Nothing,
    Unknown,
}

impl Client {
    /// A client that has done nothing yet.
    #[must_use]
    pub fn new(group: Arc<Group>, history: Arc<Mutex<History>>, number: u32) -> Self {
        Self { group, history, number, requests: 0, seen: BTreeMap::new() }
    }

    /// Does one after the other of it, and begins none after `until`.
    pub async fn run(mut self, steps: Vec<Step>, until: Instant) {
        for step in steps {
            tokio::time::sleep(Duration::from_millis(step.wait_ms)).await;
            if Instant::now() >= until {
                return;
            }
            self.take(&step).await;
        }
    }

    /// One operation, from its call to the end of its last attempt.
    pub async fn take(&mut self, step: &Step) {
        let (object, ask) = (step.object, self.filled_in(step));
        let called = self.group.journal.moment();
        self.group.journal.note(format_args!("client {} calls {called} {object:?} {ask:?}", self.number));
        let ended = if ask == Ask::Look { self.look(step).await } else { self.propose(step, ask).await };
        self.remember(object, ended);
        self.group.journal.note(format_args!("client {} ended {called} {ended:?}", self.number));
        let operation = Operation { client: self.number, object, ask, called, ended };
        self.history.lock().unwrap_or_else(PoisonError::into_inner).operations.push(operation);
    }

    fn filled_in(&self, step: &Step) -> Ask {
        match step.ask {
            Ask::Replace { value, .. } => {
                Ask::Replace { seen: self.seen.get(&step.object).copied().unwrap_or(1), value }
            }
            ask => ask,
        }
    }

    fn remember(&mut self, object: Object, ended: Ended) {
        if let Ended::Answered(
            _,
            Answer::Revision(revision) | Answer::Changed(revision) | Answer::Seen(Value::Register(revision, _)),
        ) = ended
        {
            self.seen.insert(object, revision);
        }
    }

    async fn look(&self, step: &Step) -> Ended {
        let (object, within) = (step.object, Duration::from_millis(step.within_ms));
        for attempt in 0..ATTEMPTS {
            let server = self.group.at(step.server + attempt);
            let seen = server.ask(within + PATIENCE, move |consensus| async move {
                consensus.linearizable_read(within, |state| commands::look(state, object)).await
            });
            if let Asked::Answered(Ok(value)) = seen.await {
                return Ended::Answered(self.group.journal.moment(), Answer::Seen(value));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ended::Nothing
    }

    async fn propose(&mut self, step: &Step, ask: Ask) -> Ended {
        let request = step.request.then(|| self.next_request());
        let Some(command) = commands::command(step.object, ask, request) else { return Ended::Nothing };
        // A machine that comes again with the same key is known; nothing else tells a repetition from something new.
        let may_repeat = step.request || matches!(ask, Ask::Redeem { .. });
        let mut doubtful = false;
        for attempt in 0..ATTEMPTS {
            match self.attempt(step, attempt, command.clone()).await {
                Attempt::Answered(reply) => {
                    let ended = self.answered(step, &command, reply).await;
                    // Whatever this attempt was told, an earlier one that is not the same request may still be carried out.
                    let is_settled = !doubtful || step.request || matches!(ended, Ended::Answered(_, Answer::Done));
                    return if is_settled { ended } else { Ended::Unknown };
                }
                Attempt::Nothing => {}
                Attempt::Unknown => doubtful = true,
            }
            if doubtful && !may_repeat {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if doubtful { Ended::Unknown } else { Ended::Nothing }
    }

    async fn attempt(&self, step: &Step, attempt: usize, command: Command) -> Attempt {
        let within = Duration::from_millis(step.within_ms);
        let server = self.group.at(step.server + attempt);
        let (object, ask) = (step.object, step.ask);
        let asked = server.ask(within + PATIENCE, move |consensus| async move {
            let reply = consensus.propose(command, within).await?;
            let is_done = commands::answer(&reply) == Some(Answer::Done);
            let shows = !is_done || consensus.read(|state| commands::shows(state, object, ask));
            Ok((reply, shows))
        });
        match asked.await.map(|answer| self.seen_in(step, answer)) {
            Asked::Down => Attempt::Nothing,
            Asked::Silent => Attempt::Unknown,
            // Refused before anything is looked at, and not remembered: the proposing server's clock is wrong.
            Asked::Answered(Ok(Err(Refusal::ClockJumped))) => Attempt::Nothing,
            Asked::Answered(Ok(reply)) => Attempt::Answered(reply),
            Asked::Answered(Err(ProposeError::TimedOut)) => Attempt::Unknown,
            Asked::Answered(Err(error)) => {
                if !error.may_retry() {
                    self.group.violated(format!("a client is told: {error}"));
                }
                Attempt::Nothing
            }
        }
    }

    /// Whoever has a reply reads what it wrote, on that server.
    fn seen_in<R>(&self, step: &Step, answer: Result<(R, bool), ProposeError>) -> Result<R, ProposeError> {
        let (reply, shows) = answer?;
        if !shows {
            self.group.violated(format!(
                "{:?} of {:?} was answered by a server that does not show it",
                step.ask, step.object
            ));
        }
        Ok(reply)
    }

    async fn answered(&self, step: &Step, command: &Command, reply: Result<Reply, Refusal>) -> Ended {
        let at = self.group.journal.moment();
        if step.echo {
            let again = self.attempt(step, ATTEMPTS, command.clone()).await;
            if let Attempt::Answered(again) = again
                && again != reply
            {
                let request = command.request.as_ref().map_or("", |request| request.id.as_str());
                self.group.violated(format!("request {request} was answered {reply:?}, and then {again:?}"));
            }
        }
        match commands::answer(&reply) {
            Some(answer) => Ended::Answered(at, answer),
            None => {
                self.group.violated(format!("{:?} of {:?} was answered {reply:?}", step.ask, step.object));
                Ended::Nothing
            }
        }
    }

    fn next_request(&mut self) -> Request {
        self.requests += 1;
        Request {
            caller: format!("spiffe://fleet/operator/{}", self.number),
            id: format!("{}-{}", self.number, self.requests),
            digest: Digest([0; 32]),
        }
    }
}
