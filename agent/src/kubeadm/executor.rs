//! Makes the calls on a real machine.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::executor::{Feed, Job};
use crate::host::SharedHost;
use crate::instruction::{FileToLay, Verb};
use crate::kubeadm::call::{self, CallEnd};
use crate::kubeadm::{Cause, Diagnosis, Scrubber, init_remainder, join_arguments, skip_phases, upload_certs};
use crate::kubectl::{self, Kubectl};
use crate::phase::Mode;
use crate::report::{Ended, EtcdMembers, Failure, Progress, Seen, clip};

/// Slowest success seen: a control plane with one dead etcd member, 247 s. kubeadm's own limits add up to 23 min.
const JOIN_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Reset waits for the runtime to remove pods.
const RESET_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Uploading and the custodian's calls take a second.
const SHORT_LIMIT: Duration = Duration::from_secs(2 * 60);

/// After kubeadm says that the member was promoted its own etcd must show it; it applies the log within seconds.
const VOTE_LIMIT: Duration = Duration::from_secs(60);

/// Between two looks at something that changes by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What kubeadm leaves on a machine, and the preflight report looks for.
pub(super) const TRACES: &[&str] = &[
    "/etc/kubernetes/admin.conf",
    "/etc/kubernetes/kubelet.conf",
    "/etc/kubernetes/bootstrap-kubelet.conf",
    "/etc/kubernetes/pki/ca.crt",
    "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "/etc/kubernetes/manifests/etcd.yaml",
    "/var/lib/etcd/member",
];

/// Stock kubeadm and kubectl on a machine.
#[derive(Clone)]
pub struct Kubeadm {
    pub(super) host: SharedHost,
}

impl Kubeadm {
    /// On this machine.
    pub fn new(host: SharedHost) -> Self {
        Self { host }
    }

    /// Makes a call and, where it failed half-way, cleans up after it.
    pub async fn execute(&self, job: Job, feed: &Feed) -> Ended {
        match job.verb {
            verb if verb.makes_member() => self.join(job, feed).await,
            Verb::WaitReady => kubectl::wait_ready(self.host.as_ref(), &job, feed).await,
            Verb::Reset => self.reset_on_demand(&job, feed).await,
            Verb::UploadCerts => self.upload_certs(&job, feed).await,
            Verb::ListEtcdMembers => self.list_members().await,
            _ => self.custodian_call(&job, feed).await,
        }
    }

    /// Ends what an earlier life left running.
    pub async fn end_orphans(&self) {
        self.host.end_orphans().await;
    }

    /// Removes files with credentials. What cannot be removed is told; nothing else can be done about it.
    pub fn sweep(&self, paths: &[String]) {
        for path in paths {
            if let Err(error) = self.host.remove(path) {
                tracing::error!(%path, %error, "a file with a credential could not be removed; remove it by hand");
            }
        }
    }

    async fn join(&self, job: Job, feed: &Feed) -> Ended {
        let scrubber = Scrubber::new(&job.payload.scrub);
        if matches!(job.mode, Mode::ResetFirst | Mode::GiveUp) && !self.reset(&job, &scrubber, feed).await {
            if job.stop.is_cancelled() {
                return Ended::Stopped;
            }
            let message =
                "what an interrupted call left could not be reset; run `kubeadm reset -f` on the machine and look why";
            return Ended::Failed(Failure::unclean(Cause::ResetFailed, message));
        }
        if job.mode == Mode::GiveUp {
            let message = "the agent was ended during the call, and what it rests on is gone; the machine was reset";
            return Ended::Failed(Failure::untouched(Cause::Interrupted, message));
        }
        let calls = match self.prepare(&job) {
            Ok(calls) => calls,
            Err(diagnosis) => return self.clean_up(&job, diagnosis, &scrubber, feed).await,
        };
        let deadline = Instant::now() + job.limit.unwrap_or(JOIN_LIMIT);
        for arguments in calls {
            let left = deadline.saturating_duration_since(Instant::now());
            match call::kubeadm(self.host.as_ref(), arguments, left, &job.stop, &scrubber, feed).await {
                CallEnd::Done => {}
                CallEnd::Stopped => return Ended::Stopped,
                CallEnd::Failed(diagnosis) => {
                    return self.clean_up(&job, diagnosis, &scrubber, feed).await;
                }
            }
        }
        match self.evidence_of_success(job.verb).await {
            Ok(seen) => Ended::Succeeded(seen),
            Err(diagnosis) => self.clean_up(&job, diagnosis, &scrubber, feed).await,
        }
    }

    /// Lays the files down and composes the calls.
    fn prepare(&self, job: &Job) -> Result<Vec<Vec<String>>, Diagnosis> {
        self.lay(&job.payload.files)?;
        let config = job.payload.config_path.as_ref().or(job.config_path.as_ref());
        let config = config.ok_or_else(|| refuse("the server sent no kubeadm configuration for this step"))?;
        let text = self.host.read(config).map_err(|error| refuse(&format!("cannot read {config}: {error}")))?;
        let theirs = skip_phases(&String::from_utf8_lossy(&text))
            .map_err(|_| refuse("the kubeadm configuration from the server is no YAML"))?;
        Ok(match (job.mode, job.verb) {
            (Mode::Remainder, Verb::Init) => init_remainder(config, &theirs),
            // All but the last part is done, and that may be repeated.
            (Mode::Remainder, _) => join_arguments(Verb::JoinFinish, config, &theirs).into_iter().collect(),
            (_, verb) => join_arguments(verb, config, &theirs).into_iter().collect(),
        })
    }

    fn lay(&self, files: &[FileToLay]) -> Result<(), Diagnosis> {
        for file in files {
            self.host.lay(&file.path, file.mode, &file.content).map_err(|error| Diagnosis {
                cause: Cause::FilesNotWritten,
                message: format!("cannot write {}: {error}", file.path),
                phase: None,
            })?;
        }
        Ok(())
    }

    /// kubeadm says that it is done: where etcd was joined, etcd must say so too.
    async fn evidence_of_success(&self, verb: Verb) -> Result<Seen, Diagnosis> {
        if !matches!(verb, Verb::JoinEtcd | Verb::JoinWhole) || !self.host.exists("/etc/kubernetes/manifests/etcd.yaml")
        {
            return Ok(Seen::default());
        }
        let deadline = Instant::now() + VOTE_LIMIT;
        loop {
            let answer = self.host.etcd_members(true).await;
            let why = match answer {
                Ok(members) if members.self_votes() => return Ok(seen(members)),
                Ok(_) => "the own etcd does not list this machine as a voter".to_owned(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                let message = format!("kubeadm joined etcd, but after {} s {why}", VOTE_LIMIT.as_secs());
                return Err(Diagnosis { cause: Cause::LearnerNotInSync, message, phase: Some("etcd-join".to_owned()) });
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// After a failure: leaves the machine as it was before the join, where that can be done.
    async fn clean_up(&self, job: &Job, diagnosis: Diagnosis, scrubber: &Scrubber, feed: &Feed) -> Ended {
        let untouched = diagnosis.left_untouched() && job.verb.begins_join() && job.mode != Mode::Remainder;
        let clean = if untouched {
            // Among them may be CA keys: they stay on no machine that is no control plane.
            let laid: Vec<String> = job.payload.files.iter().map(|file| file.path.clone()).collect();
            self.sweep(&laid);
            true
        } else {
            self.reset(job, scrubber, feed).await
        };
        // The next life resets what this one could not.
        if !clean && job.stop.is_cancelled() {
            return Ended::Stopped;
        }
        let message = clip(&diagnosis.message, crate::report::MESSAGE_BYTES_MAX);
        Ended::Failed(Failure { cause: diagnosis.cause, message, clean })
    }

    /// Whether the machine is clean after `kubeadm reset`.
    async fn reset(&self, job: &Job, scrubber: &Scrubber, feed: &Feed) -> bool {
        feed.progress(Progress::Phase("reset".to_owned()));
        let arguments = vec!["reset".to_owned(), "-f".to_owned()];
        let end = call::kubeadm(self.host.as_ref(), arguments, RESET_LIMIT, &job.stop, scrubber, feed).await;
        let laid: Vec<String> = job.payload.files.iter().map(|file| file.path.clone()).collect();
        self.sweep(&laid);
        end == CallEnd::Done && self.traces().is_empty()
    }

    /// What kubeadm left, of the things it leaves.
    pub(super) fn traces(&self) -> Vec<String> {
        let exists = |path: &&&str| self.host.exists(path);
        TRACES.iter().filter(exists).map(|path| (*path).to_owned()).collect()
    }

    async fn reset_on_demand(&self, job: &Job, feed: &Feed) -> Ended {
        let scrubber = Scrubber::new(&job.payload.scrub);
        if !self.host.has_program("kubeadm") {
            let message = "there is no kubeadm on this machine to reset it with";
            return Ended::Failed(Failure {
                clean: self.traces().is_empty(),
                ..Failure::untouched(Cause::KubeadmMissing, message)
            });
        }
        if self.reset(job, &scrubber, feed).await {
            return Ended::Succeeded(Seen::default());
        }
        if job.stop.is_cancelled() {
            return Ended::Stopped;
        }
        let message = format!("after `kubeadm reset -f` these are still there: {}", self.traces().join(", "));
        Ended::Failed(Failure::unclean(Cause::ResetFailed, message))
    }

    async fn upload_certs(&self, job: &Job, feed: &Feed) -> Ended {
        let scrubber = Scrubber::new(&job.payload.scrub);
        if let Err(diagnosis) = self.lay(&job.payload.files) {
            return Ended::Failed(Failure::untouched(diagnosis.cause, diagnosis.message));
        }
        let Some(config) = &job.payload.config_path else {
            return Ended::Failed(Failure::untouched(
                Cause::PayloadUnreadable,
                "the server sent no kubeadm configuration",
            ));
        };
        let limit = job.limit.unwrap_or(SHORT_LIMIT);
        match call::kubeadm(self.host.as_ref(), upload_certs(config), limit, &job.stop, &scrubber, feed).await {
            CallEnd::Done => Ended::Succeeded(Seen::default()),
            CallEnd::Stopped => Ended::Stopped,
            CallEnd::Failed(diagnosis) => Ended::Failed(Failure::untouched(diagnosis.cause, diagnosis.message)),
        }
    }

    async fn list_members(&self) -> Ended {
        match self.host.etcd_members(true).await {
            Ok(members) => Ended::Succeeded(seen(members)),
            Err(error) => Ended::Failed(Failure::untouched(Cause::EtcdUnhealthy, error.to_string())),
        }
    }

    async fn custodian_call(&self, job: &Job, feed: &Feed) -> Ended {
        let kubectl = Kubectl {
            host: self.host.as_ref(),
            scrubber: Scrubber::new(&job.payload.scrub),
            limit: job.limit.unwrap_or(SHORT_LIMIT),
            stop: job.stop.clone(),
            feed,
        };
        match job.verb {
            Verb::Apply => kubectl.apply(&job.payload).await,
            Verb::Delete => kubectl.delete(&job.payload.delete).await,
            Verb::ObserveRequests => kubectl.observe_requests(&job.requests).await,
            Verb::ConcludeRequests => kubectl.conclude_requests(&job.requests.verdicts).await,
            other => {
                let message = format!("{other:?} is no call of a custodian");
                Ended::Failed(Failure::untouched(Cause::PayloadUnreadable, message))
            }
        }
    }
}

fn seen(members: EtcdMembers) -> Seen {
    Seen { members: Some(members), ..Seen::default() }
}

fn refuse(message: &str) -> Diagnosis {
    Diagnosis { cause: Cause::PayloadUnreadable, message: message.to_owned(), phase: None }
}

#[cfg(test)]
mod tests;
