//! Carries out the actions of a step, strictly in order.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::error::Error;
use crate::executor::{Feed, Job, News};
use crate::instruction::{Key, Payload, Verb};
use crate::kubeadm::Cause;
use crate::phase::{Action, Input, Mode};
use crate::report::{Ended, Failure, Report};
use crate::session::Session;
use crate::session::link::Link;
use crate::wire;

/// Between two looks at an interrupted call whose state was unclear.
const PROBE_AGAIN: Duration = Duration::from_secs(5);

impl Session {
    /// One step of the phase, and all that follows from it.
    pub(super) fn step(&mut self, input: Input) -> Result<(), Error> {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let (phase, actions) = std::mem::take(&mut self.phase).on(input);
            self.phase = phase;
            for action in actions {
                match action {
                    Action::Save => self.journal.save(self.phase.journal())?,
                    Action::Probe { key, verb, again } => self.probe(key, verb, again),
                    // Always the last action of its step.
                    Action::Open(key) => next = Some(self.open(&key)),
                    Action::Run { key, verb, mode } => self.call(key, verb, mode),
                    Action::Send(report) => self.tell(report),
                    Action::Cancel(key) => {
                        if let Some(stop) = self.stops.remove(&key) {
                            stop.cancel();
                        }
                    }
                    Action::Sweep(paths) => self.executor.sweep(&paths),
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, report: Report) {
        if self.link.as_ref().is_some_and(|link| !link.tell(report)) {
            // The server reads nothing any more. The next stream gets everything again.
            tracing::warn!("the server does not read; trying the next");
            self.link.as_mut().into_iter().for_each(Link::give_up);
        }
    }

    pub(super) fn node_name(&self) -> String {
        self.phase.instruction().map(|instruction| instruction.node_name.clone()).unwrap_or_default()
    }

    fn probe(&self, key: Key, verb: Verb, again: bool) {
        tracing::info!(step = %key, "finding out what became of a call that was interrupted");
        let (executor, news, node_name) = (self.executor.clone(), self.news.0.clone(), self.node_name());
        let state_dir = self.settings.state_dir.clone();
        let look = async move {
            if again {
                sleep(PROBE_AGAIN).await;
            }
            let evidence = executor.evidence(&key, verb, &node_name, &state_dir).await;
            drop(news.send(News::Probed(evidence)).await);
        };
        self.tasks.spawn(look.in_current_span());
    }

    fn open(&mut self, key: &Key) -> Input {
        let sealed = self
            .phase
            .instruction()
            .and_then(|instruction| instruction.step(key))
            .and_then(|step| step.payload.clone());
        let opened = match &sealed {
            None => Ok(Payload::default()),
            Some(sealed) => wire::payload(sealed, &self.sealing, &self.identity.fleet, &self.identity.node_id, key),
        };
        match opened {
            Ok(payload) => {
                let input =
                    Input::Opened { config_path: payload.config_path.clone(), transient: payload.transient_paths() };
                self.opened = Some((key.clone(), payload));
                input
            }
            Err(error) => {
                let failure = Failure::untouched(Cause::PayloadUnreadable, error.to_string());
                Input::Ended(key.clone(), Ended::Failed(failure), 0)
            }
        }
    }

    fn call(&mut self, key: Key, verb: Verb, mode: Mode) {
        let payload = self.opened.take_if(|(opened, _)| *opened == key).map(|(_, payload)| payload).unwrap_or_default();
        let step = self.phase.instruction().and_then(|instruction| instruction.step(&key));
        let (limit, requests) = step.map(|step| (step.limit, step.requests.clone())).unwrap_or_default();
        let stop = CancellationToken::new();
        self.stops.insert(key.clone(), stop.clone());
        tracing::info!(step = %key, ?verb, ?mode, "step begins");
        let job = Job {
            key: key.clone(),
            verb,
            mode,
            node_name: self.node_name(),
            payload,
            requests,
            config_path: self.phase.journal().config_path.clone(),
            limit,
            state_dir: self.settings.state_dir.clone(),
            stop,
        };
        let (executor, feed) = (self.executor.clone(), Feed::new(key, self.news.0.clone()));
        let work = async move {
            let ended = executor.execute(job, &feed).await;
            feed.ended(ended).await;
        };
        self.tasks.spawn(work.in_current_span());
    }
}
