use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::*;
use crate::etcd::EtcdError;
use crate::executor::News;
use crate::host::{Call, Exit, Host, OnLine, Output};
use crate::instruction::{Key, ObjectName, Payload, RequestsTask};
use crate::report::EtcdMember;

const CONFIG: &str = "/etc/muster/kubeadm.yaml";
const YAML: &str = "kind: JoinConfiguration\nskipPhases: [control-plane-join/mark-control-plane]\n";

mod requests;

/// A machine in memory whose programs answer from a script.
#[derive(Default)]
struct FakeHost {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    calls: Mutex<Vec<String>>,
    stdin: Mutex<Vec<u8>>,
    /// Start of a command line, its exit code and its lines; the first that fits.
    answers: Vec<(&'static str, i32, Vec<String>)>,
    /// Left behind by every call of kubeadm that is no reset, and taken away by a reset.
    leaves: Option<&'static str>,
    members: Mutex<Vec<EtcdMembers>>,
}

impl FakeHost {
    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn has(&self, path: &str) -> bool {
        self.files.lock().unwrap().contains_key(path)
    }
}

#[async_trait]
impl Host for FakeHost {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.files.lock().unwrap().get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn exists(&self, path: &str) -> bool {
        self.has(path)
    }
    fn is_filled_dir(&self, _: &str) -> bool {
        false
    }
    fn answers(&self, _: &str) -> bool {
        false
    }
    fn lay(&self, path: &str, _: u32, content: &[u8]) -> io::Result<()> {
        self.files.lock().unwrap().insert(path.to_owned(), content.to_vec());
        Ok(())
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.files.lock().unwrap().remove(path);
        Ok(())
    }
    fn has_program(&self, _: &str) -> bool {
        true
    }
    fn port_in_use(&self, _: u16) -> bool {
        false
    }
    fn unix_ms(&self) -> u64 {
        0
    }
    async fn run(&self, mut call: Call, on_line: OnLine<'_>) -> io::Result<Output> {
        let line = format!("{} {}", call.program, call.arguments.join(" "));
        self.calls.lock().unwrap().push(line.clone());
        if let Some(content) = call.stdin.take() {
            self.stdin.lock().unwrap().extend_from_slice(&content);
        }
        if let Some(path) = self.leaves {
            if line.starts_with("kubeadm reset") {
                self.files.lock().unwrap().remove(path);
            } else if call.program == "kubeadm" {
                self.files.lock().unwrap().insert(path.to_owned(), Vec::new());
            }
        }
        let answer = self.answers.iter().find(|(start, _, _)| line.starts_with(start));
        let (code, lines) = answer.map_or((0, Vec::new()), |(_, code, lines)| (*code, lines.clone()));
        lines.iter().for_each(|line| on_line(line));
        Ok(Output { exit: Exit::Code(Some(code)), stdout: lines.clone(), lines })
    }
    async fn end_orphans(&self) {}
    async fn etcd_members(&self, _: bool) -> Result<EtcdMembers, EtcdError> {
        let mut members = self.members.lock().unwrap();
        let next = if members.len() > 1 { Some(members.remove(0)) } else { members.first().cloned() };
        next.ok_or_else(|| EtcdError::Unreachable("no etcd".to_owned()))
    }
}

fn mk_members(learner: bool) -> EtcdMembers {
    let own = EtcdMember { id: "a1".to_owned(), name: "n1".to_owned(), peer_urls: Vec::new(), learner };
    EtcdMembers { members: vec![own], self_id: "a1".to_owned() }
}

fn mk_payload() -> Payload {
    let file = |path: &str, content: &str| FileToLay {
        path: path.to_owned(),
        mode: 0o600,
        content: Zeroizing::new(content.as_bytes().to_vec()),
        transient: true,
    };
    Payload {
        files: vec![file(CONFIG, YAML), file("/etc/kubernetes/pki/ca.key", "KEY")],
        config_path: Some(CONFIG.to_owned()),
        scrub: vec![Zeroizing::new("hunter2-hunter2".to_owned())],
        ..Payload::default()
    }
}

fn mk_job(verb: Verb, mode: Mode, payload: Payload) -> Job {
    Job {
        key: Key { attempt: 1, step: "step".to_owned() },
        verb,
        mode,
        node_name: "n1".to_owned(),
        payload,
        requests: RequestsTask::default(),
        config_path: None,
        limit: None,
        state_dir: PathBuf::from("/nowhere"),
        stop: CancellationToken::new(),
    }
}

async fn execute(host: &Arc<FakeHost>, job: Job) -> (Ended, Vec<String>, Vec<Progress>) {
    let (news, mut told) = mpsc::channel(256);
    let feed = Feed::new(job.key.clone(), news);
    let ended = Kubeadm::new(host.clone()).execute(job, &feed).await;
    drop(feed);
    let (mut lines, mut progress) = (Vec::new(), Vec::new());
    while let Some(news) = told.recv().await {
        match news {
            News::Line(_, line) => lines.push(line),
            News::Progress(_, one, _) => progress.push(one),
            News::Ended(..) | News::Probed(_) => {}
        }
    }
    (ended, lines, progress)
}

fn failing(phase: &str, message: &str) -> (&'static str, i32, Vec<String>) {
    ("kubeadm join", 1, vec![format!("error: error execution phase {phase}: {message}")])
}

#[tokio::test]
async fn a_join_lays_files_down_and_tells_phases_and_scrubbed_lines() {
    let lines = ["[preflight] Running pre-flight checks", "[kubelet-start] hunter2-hunter2 abcdef.0123456789abcdef"];
    let host = Arc::new(FakeHost {
        answers: vec![("kubeadm join", 0, lines.map(str::to_owned).to_vec())],
        ..FakeHost::default()
    });
    let (ended, lines, progress) = execute(&host, mk_job(Verb::JoinWorker, Mode::Fresh, mk_payload())).await;
    assert_eq!(ended, Ended::Succeeded(Seen::default()));
    assert_eq!(host.calls(), [format!("kubeadm join --config {CONFIG}")]);
    assert_eq!(lines[2], "[kubelet-start] [redacted] abcdef.[redacted]");
    assert_eq!(progress, ["preflight", "kubelet-start"].map(|phase| Progress::Phase(phase.to_owned())));
    assert!(host.has(CONFIG) && host.has("/etc/kubernetes/pki/ca.key"));
}

#[tokio::test]
async fn phases_skipped_by_the_configuration_stay_skipped_when_ours_are() {
    let host = Arc::new(FakeHost::default());
    execute(&host, mk_job(Verb::JoinFinish, Mode::Fresh, mk_payload())).await;
    assert!(host.calls()[0].ends_with("etcd-join,control-plane-join/mark-control-plane"), "{:?}", host.calls());
}

#[tokio::test]
async fn a_failure_in_the_checks_is_clean_without_a_reset_and_leaves_no_ca_key() {
    let host = Arc::new(FakeHost { answers: vec![failing("preflight", "connection refused")], ..FakeHost::default() });
    let (ended, ..) = execute(&host, mk_job(Verb::JoinWorker, Mode::Fresh, mk_payload())).await;
    let Ended::Failed(failure) = ended else { panic!("{ended:?}") };
    assert_eq!((failure.cause, failure.clean), (Cause::ApiServerUnreachable, true));
    assert_eq!(host.calls().len(), 1);
    assert!(!host.has("/etc/kubernetes/pki/ca.key"));
}

#[tokio::test]
async fn a_failure_that_changed_the_machine_is_followed_by_a_reset() {
    let host = Arc::new(FakeHost {
        answers: vec![failing("kubelet-wait-bootstrap", "failed while waiting for TLS bootstrap: hunter2-hunter2")],
        leaves: Some("/etc/kubernetes/bootstrap-kubelet.conf"),
        ..FakeHost::default()
    });
    let (ended, ..) = execute(&host, mk_job(Verb::JoinWorker, Mode::Fresh, mk_payload())).await;
    let Ended::Failed(failure) = ended else { panic!("{ended:?}") };
    assert_eq!((failure.cause, failure.clean), (Cause::CsrNotApproved, true));
    assert!(!failure.message.contains("hunter2"));
    assert_eq!(host.calls()[1], "kubeadm reset -f");
}

#[tokio::test]
async fn a_reset_that_fails_or_leaves_traces_is_not_clean() {
    let mut host = FakeHost {
        answers: vec![failing("kubelet-start", "x"), ("kubeadm reset", 1, Vec::new())],
        ..FakeHost::default()
    };
    let (ended, ..) = execute(&Arc::new(host), mk_job(Verb::JoinWorker, Mode::Fresh, mk_payload())).await;
    assert!(matches!(ended, Ended::Failed(Failure { clean: false, .. })), "{ended:?}");
    host = FakeHost { answers: vec![failing("kubelet-start", "x")], ..FakeHost::default() };
    host.files.lock().unwrap().insert("/var/lib/etcd/member".to_owned(), Vec::new());
    let (ended, ..) = execute(&Arc::new(host), mk_job(Verb::JoinWorker, Mode::Fresh, mk_payload())).await;
    assert!(matches!(ended, Ended::Failed(Failure { clean: false, .. })), "{ended:?}");
}

#[tokio::test]
async fn a_failed_part_of_a_control_plane_join_is_reset_even_when_it_failed_in_a_check() {
    let host = Arc::new(FakeHost { answers: vec![failing("preflight", "x")], ..FakeHost::default() });
    execute(&host, mk_job(Verb::JoinFinish, Mode::Fresh, mk_payload())).await;
    assert_eq!(host.calls().last().unwrap(), "kubeadm reset -f");
}

#[tokio::test(start_paused = true)]
async fn joining_etcd_ends_when_the_own_etcd_shows_a_voter() {
    let host = FakeHost {
        members: Mutex::new(vec![mk_members(true), mk_members(true), mk_members(false)]),
        ..FakeHost::default()
    };
    host.files.lock().unwrap().insert("/etc/kubernetes/manifests/etcd.yaml".to_owned(), Vec::new());
    let (ended, ..) = execute(&Arc::new(host), mk_job(Verb::JoinEtcd, Mode::Fresh, mk_payload())).await;
    assert_eq!(ended, Ended::Succeeded(seen(mk_members(false))));
}

#[tokio::test(start_paused = true)]
async fn a_learner_that_never_votes_fails_the_step_and_is_reset() {
    let host = FakeHost { members: Mutex::new(vec![mk_members(true)]), ..FakeHost::default() };
    host.files.lock().unwrap().insert("/etc/kubernetes/manifests/etcd.yaml".to_owned(), Vec::new());
    let host = Arc::new(host);
    let (ended, ..) = execute(&host, mk_job(Verb::JoinEtcd, Mode::Fresh, mk_payload())).await;
    assert!(matches!(ended, Ended::Failed(Failure { cause: Cause::LearnerNotInSync, .. })), "{ended:?}");
    assert_eq!(host.calls().last().unwrap(), "kubeadm reset -f");
}

#[tokio::test]
async fn a_later_step_uses_the_configuration_that_an_earlier_one_laid_down() {
    let host = Arc::new(FakeHost::default());
    host.lay(CONFIG, 0o600, YAML.as_bytes()).unwrap();
    let job = Job { config_path: Some(CONFIG.to_owned()), ..mk_job(Verb::JoinEtcd, Mode::Fresh, Payload::default()) };
    assert!(matches!(execute(&host, job).await.0, Ended::Succeeded(_)));
    let without = mk_job(Verb::JoinWorker, Mode::Fresh, Payload::default());
    let (ended, ..) = execute(&Arc::new(FakeHost::default()), without).await;
    assert!(matches!(ended, Ended::Failed(Failure { cause: Cause::PayloadUnreadable, clean: true, .. })), "{ended:?}");
}

#[tokio::test]
async fn modes_after_an_interruption_reset_first_or_make_only_the_rest_or_give_up() {
    let calls = async |verb, mode| {
        let host = Arc::new(FakeHost::default());
        let (ended, ..) = execute(&host, mk_job(verb, mode, mk_payload())).await;
        (ended, host.calls())
    };
    let (_, first) = calls(Verb::JoinWorker, Mode::ResetFirst).await;
    assert_eq!(first, ["kubeadm reset -f".to_owned(), format!("kubeadm join --config {CONFIG}")]);
    let (ended, rest) = calls(Verb::Init, Mode::Remainder).await;
    assert!(matches!(ended, Ended::Succeeded(_)) && rest.iter().all(|call| call.starts_with("kubeadm init phase ")));
    let (_, rest) = calls(Verb::JoinWhole, Mode::Remainder).await;
    assert!(rest[0].contains("--skip-phases=preflight"), "{rest:?}");
    let (ended, given_up) = calls(Verb::JoinEtcd, Mode::GiveUp).await;
    assert!(matches!(ended, Ended::Failed(Failure { cause: Cause::Interrupted, clean: true, .. })));
    assert_eq!(given_up, ["kubeadm reset -f"]);
}

#[tokio::test]
async fn no_argument_of_any_program_is_a_secret() {
    for verb in Verb::ALL.into_iter().filter(|verb| *verb != Verb::WaitReady) {
        let host = Arc::new(FakeHost { members: Mutex::new(vec![mk_members(false)]), ..FakeHost::default() });
        let payload = Payload { manifest: Zeroizing::new(b"hunter2-hunter2".to_vec()), ..mk_payload() };
        execute(&host, mk_job(verb, Mode::ResetFirst, payload)).await;
        assert!(
            !host.calls().iter().any(|call| call.contains("hunter2") || call.contains("KEY")),
            "{:?}",
            host.calls()
        );
    }
}

#[tokio::test]
async fn a_custodian_applies_from_standard_input_closes_cluster_info_and_deletes() {
    let host = Arc::new(FakeHost::default());
    let object = |kind: &str, namespace: &str, name: &str| {
        let [kind, namespace, name] = [kind, namespace, name].map(str::to_owned);
        ObjectName { kind, namespace, name }
    };
    const CLUSTER_INFO: &str = "kubeadm:bootstrap-signer-clusterinfo";
    let payload = Payload {
        manifest: Zeroizing::new(b"objects".to_vec()),
        delete: vec![object("clusterrolebinding", "", "b"), object("rolebinding", "kube-public", CLUSTER_INFO)],
        ..Payload::default()
    };
    execute(&host, mk_job(Verb::Apply, Mode::Fresh, payload)).await;
    let payload = Payload { delete: vec![object("secret", "kube-system", "a")], ..Payload::default() };
    execute(&host, mk_job(Verb::Delete, Mode::Fresh, payload)).await;
    assert_eq!(host.stdin.lock().unwrap().as_slice(), b"objects");
    let start = "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=30s";
    assert_eq!(
        host.calls(),
        [
            format!("{start} apply --server-side --force-conflicts -f -"),
            format!("{start} delete clusterrolebinding b --ignore-not-found --wait=false"),
            format!("{start} delete rolebinding {CLUSTER_INFO} --ignore-not-found --wait=false -n kube-public"),
            format!("{start} delete secret a --ignore-not-found --wait=false -n kube-system"),
        ]
    );
}

#[tokio::test]
async fn a_custodians_failure_has_its_cause_and_no_secret() {
    let words = "Unable to connect to the server: dial tcp 192.0.2.11:6443: connect: no route to host hunter2-hunter2";
    let host = Arc::new(FakeHost { answers: vec![("kubectl", 1, vec![words.to_owned()])], ..FakeHost::default() });
    let payload = Payload { manifest: Zeroizing::new(b"{}".to_vec()), ..mk_payload() };
    let (ended, lines, _) = execute(&host, mk_job(Verb::Apply, Mode::Fresh, payload)).await;
    let Ended::Failed(failure) = ended else { panic!("{ended:?}") };
    assert_eq!((failure.cause, failure.clean), (Cause::ApiServerUnreachable, true));
    assert!(!failure.message.contains("hunter2") && !lines.concat().contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_each_change_once_and_ends_when_stopped() {
    let json = r#"{"metadata":{"uid":"u"},"status":{"conditions":[{"type":"Ready","status":"False","reason":"KubeletNotReady","message":"cni"}]}}"#;
    let host = Arc::new(FakeHost { answers: vec![("kubectl", 0, vec![json.to_owned()])], ..FakeHost::default() });
    let job = mk_job(Verb::WaitReady, Mode::Fresh, Payload::default());
    let limited = Job { limit: Some(Duration::from_secs(60)), ..job };
    let (ended, _, progress) = execute(&host, limited).await;
    assert!(matches!(ended, Ended::Failed(Failure { cause: Cause::NotReady, .. })));
    assert_eq!(progress.len(), 1);
    assert!(host.calls().len() > 3);
    let stopped = mk_job(Verb::WaitReady, Mode::Fresh, Payload::default());
    stopped.stop.cancel();
    assert_eq!(execute(&host, stopped).await.0, Ended::Stopped);
}

#[tokio::test]
async fn evidence_of_an_untouched_machine_is_none_and_of_a_worker_its_node() {
    let host = Arc::new(FakeHost::default());
    let kubeadm = Kubeadm::new(host.clone());
    assert!(!kubeadm.evidence("n1").await.traces);
    host.lay("/etc/kubernetes/kubelet.conf", 0o600, b"").unwrap();
    let evidence = kubeadm.evidence("n1").await;
    assert!(evidence.traces && evidence.kubelet_conf && !evidence.admin_conf);
    assert_eq!(evidence.node, crate::phase::Answer::Yes);
    assert!(host.calls()[0].contains("--kubeconfig /etc/kubernetes/kubelet.conf"));
}
