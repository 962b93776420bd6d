use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::executor::News;
use crate::instruction::{Payload, RequestsTask};
use crate::phase::{Verdict, judge};

fn mk_job(dir: &Path, attempt: u32, step: &str, verb: Verb, mode: Mode) -> Job {
    Job {
        key: Key { attempt, step: step.to_owned() },
        verb,
        mode,
        node_name: "n1".to_owned(),
        payload: Payload::default(),
        requests: RequestsTask::default(),
        config_path: None,
        limit: None,
        state_dir: dir.to_owned(),
        stop: CancellationToken::new(),
    }
}

async fn play(options: Options, job: Job) -> (Ended, Vec<Progress>) {
    let (news, mut told) = mpsc::channel(64);
    let feed = Feed::new(job.key.clone(), news);
    let ended =
        Rehearsal::new(Options { phase: (Duration::ZERO, Duration::ZERO), ..options }).execute(job, &feed).await;
    drop(feed);
    let mut progress = Vec::new();
    while let Some(news) = told.recv().await {
        if let News::Progress(_, one, _) = news {
            progress.push(one);
        }
    }
    (ended, progress)
}

fn logged(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("rehearsal.log")).unwrap_or_default()
}

#[tokio::test]
async fn every_verb_succeeds_and_leaves_one_line() {
    // About certificate requests there is nothing to play.
    let silent = [Verb::ObserveRequests, Verb::ConcludeRequests];
    for verb in Verb::ALL.into_iter().filter(|verb| !silent.contains(verb)) {
        let dir = tempfile::tempdir().unwrap();
        let (ended, progress) = play(Options::default(), mk_job(dir.path(), 1, "step", verb, Mode::Fresh)).await;
        assert!(matches!(ended, Ended::Succeeded(_)), "{verb:?}: {ended:?}");
        assert!(!progress.is_empty(), "{verb:?}");
        assert_eq!(logged(dir.path()), "1 step\n", "{verb:?}");
    }
}

#[tokio::test]
async fn a_join_of_etcd_shows_itself_as_a_voter_and_a_watch_shows_not_ready_first() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { seed: "n1".to_owned(), ..Options::default() };
    let (ended, _) = play(options.clone(), mk_job(dir.path(), 1, "etcd-join", Verb::JoinEtcd, Mode::Fresh)).await;
    let Ended::Succeeded(Seen { members: Some(members), .. }) = ended else { panic!("{ended:?}") };
    assert!(members.self_votes());
    let (ended, progress) = play(options, mk_job(dir.path(), 1, "ready", Verb::WaitReady, Mode::Fresh)).await;
    assert!(matches!(&progress[0], Progress::Node(node) if node.found && !node.ready));
    assert!(matches!(ended, Ended::Succeeded(Seen { node: Some(node), .. }) if node.ready));
}

#[tokio::test]
async fn an_injected_failure_comes_at_its_step_and_attempt_only_and_leaves_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let failure = Injection { attempt: 1, step: "join".to_owned(), cause: Cause::TokenExpired, clean: true };
    let options = Options { failures: vec![failure], ..Options::default() };
    let (ended, _) = play(options.clone(), mk_job(dir.path(), 1, "join", Verb::JoinWorker, Mode::Fresh)).await;
    assert!(matches!(ended, Ended::Failed(Failure { cause: Cause::TokenExpired, clean: true, .. })));
    assert_eq!(logged(dir.path()), "");
    let (ended, _) = play(options, mk_job(dir.path(), 2, "join", Verb::JoinWorker, Mode::Fresh)).await;
    assert!(matches!(ended, Ended::Succeeded(_)));
}

#[tokio::test]
async fn an_interrupted_call_that_had_ended_is_seen_as_done_and_one_that_had_not_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let rehearsal = Rehearsal::new(Options::default());
    let key = Key { attempt: 1, step: "join".to_owned() };
    assert_eq!(judge(Verb::JoinWorker, &rehearsal.evidence(&key, Verb::JoinWorker, dir.path()), false), Verdict::Again);
    play(Options::default(), mk_job(dir.path(), 1, "join", Verb::JoinWorker, Mode::Fresh)).await;
    assert_eq!(
        judge(Verb::JoinWorker, &rehearsal.evidence(&key, Verb::JoinWorker, dir.path()), false),
        Verdict::Completed
    );
    let etcd = Key { attempt: 1, step: "etcd-join".to_owned() };
    assert_eq!(judge(Verb::JoinEtcd, &rehearsal.evidence(&etcd, Verb::JoinEtcd, dir.path()), false), Verdict::Again);
}

#[tokio::test]
async fn what_is_done_twice_is_seen_and_a_reset_between_too() {
    let dir = tempfile::tempdir().unwrap();
    play(Options::default(), mk_job(dir.path(), 1, "join", Verb::JoinWorker, Mode::Fresh)).await;
    play(Options::default(), mk_job(dir.path(), 1, "join", Verb::JoinWorker, Mode::ResetFirst)).await;
    play(Options::default(), mk_job(dir.path(), 1, "join", Verb::JoinWorker, Mode::Remainder)).await;
    assert_eq!(logged(dir.path()), "1 join\n1 join reset\n1 join\n");
}

#[test]
fn lengths_are_the_same_for_the_same_seed_and_within_bounds() {
    let options = Options { seed: "a".to_owned(), ..Options::default() };
    let key = Key { attempt: 1, step: "join".to_owned() };
    let length = Rehearsal::new(options.clone()).length(&key, "certs");
    assert_eq!(length, Rehearsal::new(options.clone()).length(&key, "certs"));
    assert!(length >= options.phase.0 && length <= options.phase.1);
    assert_ne!(length, Rehearsal::new(Options { seed: "b".to_owned(), ..options }).length(&key, "certs"));
}
