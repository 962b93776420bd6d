//! A rehearsal of kubeadm: the same steps, phases, reports and failures, and nothing done to the machine.
//!
//! What is "done" is a line in `<state>/rehearsal.log`, on the disk before the step ends: `<attempt> <step>` for a step and
//! `<attempt> <step> reset` for a reset before it. So a test can see that nothing was done twice.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::sleep;

use crate::executor::{Feed, Job};
use crate::instruction::{Key, Verb};
use crate::kubeadm::Cause;
use crate::phase::{Answer, Evidence, Membership, Mode};
use crate::preflight::Preflight;
use crate::report::{Ended, EtcdMember, EtcdMembers, Failure, NodeObservation, Progress, Seen};

/// A failure to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// In this attempt.
    pub attempt: u32,
    /// At this step.
    pub step: String,
    /// With this cause.
    pub cause: Cause,
    /// As if a reset had worked.
    pub clean: bool,
}

/// How to rehearse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Version that the preflight report claims until the cluster's is known.
    pub kubernetes_version: String,
    /// Shortest and longest time of a phase.
    pub phase: (Duration, Duration),
    /// Times are the same for the same seed; the node's name or id.
    pub seed: String,
    /// To play.
    pub failures: Vec<Injection>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kubernetes_version: "v1.36.2".to_owned(),
            phase: (Duration::from_millis(100), Duration::from_millis(400)),
            seed: String::new(),
            failures: Vec::new(),
        }
    }
}

/// Plays kubeadm.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    options: Arc<Options>,
}

impl Rehearsal {
    /// With these options.
    pub fn new(options: Options) -> Self {
        Self { options: Arc::new(options) }
    }

    /// A machine without fault, with the programs of the cluster's version.
    pub(crate) fn preflight(&self, joined: bool, kubernetes_version: Option<&str>) -> Preflight {
        let known = kubernetes_version.filter(|version| !version.is_empty());
        let version = known.unwrap_or(&self.options.kubernetes_version).to_owned();
        Preflight {
            kubeadm_version: version.clone(),
            kubelet_version: version.clone(),
            kubectl_version: version,
            container_runtime: "rehearsal 1.0.0".to_owned(),
            cri_socket: "/run/containerd/containerd.sock".to_owned(),
            kernel: "rehearsal".to_owned(),
            agent_unix_ms: crate::clock::unix_ms(),
            joined,
            ..Preflight::default()
        }
    }

    /// What the log says of an interrupted step, in the terms of a real machine.
    pub(crate) fn evidence(&self, key: &Key, verb: Verb, state_dir: &Path) -> Evidence {
        let done = is_logged(state_dir, &line_of(key));
        let prepared = done || matches!(verb, Verb::JoinEtcd | Verb::JoinFinish);
        let answer = if done { Answer::Yes } else { Answer::No };
        Evidence {
            admin_conf: prepared,
            kubelet_conf: done,
            manifests: prepared,
            traces: prepared,
            api_ready: answer,
            kubeadm_config: answer,
            node: answer,
            membership: if done { Membership::Voter } else { Membership::Absent },
            members: done.then(|| members(&self.options.seed)),
        }
    }

    /// Plays a call.
    pub(crate) async fn execute(&self, job: Job, feed: &Feed) -> Ended {
        if job.mode == Mode::GiveUp {
            return Ended::Failed(Failure::untouched(Cause::Interrupted, "rehearsed: interrupted and reset"));
        }
        if job.mode == Mode::ResetFirst
            && let Err(failure) = log(&job.state_dir, &format!("{} reset", line_of(&job.key)))
        {
            return Ended::Failed(failure);
        }
        let phases = phases(job.verb);
        let failure = self.options.failures.iter().find(|f| f.attempt == job.key.attempt && f.step == job.key.step);
        for (at, phase) in phases.iter().enumerate() {
            self.enter(phase, &job, feed);
            tokio::select! {
                () = sleep(self.length(&job.key, phase)) => {}
                () = job.stop.cancelled() => return Ended::Stopped,
            }
            if let Some(failure) = failure
                && at >= phases.len() / 2
            {
                let message = format!("rehearsed failure: {}", failure.cause);
                return Ended::Failed(Failure { clean: failure.clean, ..Failure::untouched(failure.cause, message) });
            }
        }
        self.finish(&job)
    }

    fn enter(&self, phase: &str, job: &Job, feed: &Feed) {
        feed.line(format!("[{phase}] rehearsed"));
        if job.verb != Verb::WaitReady {
            return feed.progress(Progress::Phase(phase.to_owned()));
        }
        feed.progress(Progress::Node(NodeObservation {
            found: true,
            reason: "KubeletNotReady".to_owned(),
            message: "rehearsed: network plugin not initialized".to_owned(),
            ..node(&self.options.seed)
        }));
    }

    /// Writes down that it is done, then says so.
    fn finish(&self, job: &Job) -> Ended {
        let line = line_of(&job.key);
        // What may be repeated is written once; what must not be repeated is written whenever it is done.
        let repeatable = job.mode == Mode::Remainder || !job.verb.makes_member();
        // A look leaves nothing behind.
        if job.verb != Verb::ObserveRequests
            && !(repeatable && is_logged(&job.state_dir, &line))
            && let Err(failure) = log(&job.state_dir, &line)
        {
            return Ended::Failed(failure);
        }
        Ended::Succeeded(match job.verb {
            Verb::JoinEtcd | Verb::JoinWhole | Verb::ListEtcdMembers => {
                Seen { members: Some(members(&self.options.seed)), ..Seen::default() }
            }
            Verb::ObserveRequests => Seen { requests: Some(Box::default()), ..Seen::default() },
            Verb::WaitReady => Seen {
                node: Some(NodeObservation { found: true, ready: true, ..node(&self.options.seed) }),
                ..Seen::default()
            },
            _ => Seen::default(),
        })
    }

    fn length(&self, key: &Key, phase: &str) -> Duration {
        let (shortest, longest) = self.options.phase;
        let digest = Sha256::digest(format!("{} {key} {phase}", self.options.seed).as_bytes());
        let share = u32::from(u16::from_be_bytes([digest[0], digest[1]]));
        shortest + longest.saturating_sub(shortest) * share / u32::from(u16::MAX)
    }
}

fn phases(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Init => {
            &["preflight", "certs", "kubeconfig", "etcd", "control-plane", "wait-control-plane", "upload-certs"]
        }
        Verb::JoinPrepare => &["preflight", "download-certs", "certs", "kubeconfig", "kubelet-start"],
        Verb::JoinEtcd => &["etcd"],
        Verb::JoinFinish => &["kubelet-start", "mark-control-plane"],
        Verb::JoinWhole => &["preflight", "certs", "kubelet-start", "etcd", "mark-control-plane"],
        Verb::JoinWorker => &["preflight", "kubelet-start"],
        Verb::WaitReady => &["wait"],
        Verb::Reset => &["reset"],
        Verb::Apply | Verb::Delete | Verb::UploadCerts | Verb::ListEtcdMembers => &["custodian"],
        // A rehearsed cluster has no certificate requests.
        Verb::ObserveRequests | Verb::ConcludeRequests => &[],
    }
}

fn node(seed: &str) -> NodeObservation {
    let digest = hex::encode(Sha256::digest(seed.as_bytes()));
    NodeObservation {
        uid: digest[..16].to_owned(),
        kubelet_version: "rehearsed".to_owned(),
        ..NodeObservation::default()
    }
}

/// An etcd in which this machine votes.
fn members(seed: &str) -> EtcdMembers {
    let id = hex::encode(&Sha256::digest(seed.as_bytes())[..8]);
    let own = EtcdMember {
        id: id.clone(),
        name: seed.to_owned(),
        peer_urls: vec![format!("https://{seed}:2380")],
        learner: false,
    };
    EtcdMembers { members: vec![own], self_id: id }
}

fn line_of(key: &Key) -> String {
    format!("{} {}", key.attempt, key.step)
}

fn is_logged(state_dir: &Path, line: &str) -> bool {
    let text = std::fs::read_to_string(state_dir.join("rehearsal.log")).unwrap_or_default();
    text.lines().any(|logged| logged == line)
}

fn log(state_dir: &Path, line: &str) -> Result<(), Failure> {
    let append = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(state_dir.join("rehearsal.log"))?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_all()
    };
    append().map_err(|error| Failure::unclean(Cause::FilesNotWritten, format!("cannot write rehearsal.log: {error}")))
}

#[cfg(test)]
mod tests;
