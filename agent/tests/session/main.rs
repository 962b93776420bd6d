//! The agent's whole session against scripted servers on loopback, with a rehearsed kubeadm.

mod fake;

use std::path::Path;
use std::time::Duration;

use muster_agent::{Cause, Error, Injection, Outcome, Settings};
use muster_proto::join::v1 as join;

use fake::{Fleet, SECRET, endless, failing, log, must_be_ready, pin_of_another_fleet, quick};

const CONTROL_PLANE: [(&str, join::Verb, bool); 4] = [
    ("prepare", join::Verb::JoinPrepare, true),
    ("etcd-join", join::Verb::JoinEtcd, true),
    ("finish", join::Verb::JoinFinish, true),
    ("ready", join::Verb::WaitReady, true),
];

#[tokio::test]
async fn a_machine_waits_for_approval_joins_and_ends_when_it_is_recorded() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    fleet.change(|world| world.approved = false);
    let agent = fleet.agent(fleet.settings(dir.path(), "n1"), quick("n1"));
    fleet.until("a proof", |world| world.tokens_seen == 1).await;
    assert!(fleet.world().nodes.is_empty());
    fleet.change(|world| world.approved = true);
    let end = agent.end().await;
    assert!(matches!(&end, Ok(Outcome::Ready { node_name }) if node_name == "n1"), "{end:?}");
    assert_eq!(log(dir.path(), "n1"), ["1 join", "1 ready"]);
    let world = fleet.world();
    assert_eq!(world.reports_of("join", join::Outcome::Started).len(), 1);
    assert!(world.reports_of("join", join::Outcome::Progress).iter().any(|report| report.phase == "kubelet-start"));
    assert!(world.reports_of("ready", join::Outcome::Progress)[0].node.as_ref().is_some_and(|node| !node.ready));
    assert!(world.reports_of("ready", join::Outcome::Succeeded)[0].node.as_ref().is_some_and(|node| node.ready));
    assert!(world.lines.iter().any(|line| line.contains("[preflight]")));
}

#[tokio::test]
async fn a_control_plane_joins_step_by_step_and_waits_for_its_permit() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    fleet.change(|world| {
        world.steps = CONTROL_PLANE.to_vec();
        world.steps[1].2 = false;
    });
    let agent = fleet.agent(fleet.settings(dir.path(), "cp1"), quick("cp1"));
    fleet.until("prepared", |world| world.ended("prepare")).await;
    assert_eq!(log(dir.path(), "cp1"), ["1 prepare"]);
    fleet.change(|world| world.steps[1].2 = true);
    must_be_ready(agent.end().await);
    assert_eq!(log(dir.path(), "cp1"), ["1 prepare", "1 etcd-join", "1 finish", "1 ready"]);
    let world = fleet.world();
    let members = world.reports_of("etcd-join", join::Outcome::Succeeded)[0].etcd_members.clone().unwrap();
    assert!(members.members.iter().any(|member| member.id == members.self_id && !member.learner));
}

#[tokio::test]
async fn eleven_agents_share_one_process() {
    let (fleet, dir) = (Fleet::start(3).await, tempfile::tempdir().unwrap());
    let names: Vec<String> = (0..11).map(|number| format!("n{number}")).collect();
    let agents: Vec<_> = names.iter().map(|name| fleet.agent(fleet.settings(dir.path(), name), quick(name))).collect();
    for agent in agents {
        must_be_ready(agent.end().await);
    }
    for name in &names {
        assert_eq!(log(dir.path(), name), ["1 join", "1 ready"], "{name}");
    }
    assert_eq!(fleet.world().nodes.len(), 11);
}

#[tokio::test]
async fn a_machine_with_a_wrong_token_is_refused_for_good() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    fleet.change(|world| world.token = Some("another-token".to_owned()));
    let end = fleet.agent(fleet.settings(dir.path(), "n1"), quick("n1")).end().await;
    let Err(error @ Error::Refused { .. }) = end else { panic!("{end:?}") };
    assert_eq!(error.exit_code(), 8);
    assert!(error.to_string().contains("TokenUnknown") && !error.to_string().contains("the-token"));
}

#[tokio::test]
async fn a_server_under_another_root_learns_nothing() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    let settings = Settings {
        pin: pin_of_another_fleet(),
        give_up_after: Some(Duration::from_millis(500)),
        ..fleet.settings(dir.path(), "n1")
    };
    let end = fleet.agent(settings, quick("n1")).end().await;
    let Err(error @ Error::Unreachable { .. }) = end else { panic!("{end:?}") };
    assert_eq!(error.exit_code(), 5);
    assert_eq!(fleet.world().tokens_seen, 0);
}

#[tokio::test]
async fn a_report_whose_acknowledgement_was_lost_is_sent_again_and_its_step_is_not_run_again() {
    let (fleet, dir) = (Fleet::start(2).await, tempfile::tempdir().unwrap());
    fleet.change(|world| world.forgotten_acks = 2);
    must_be_ready(fleet.agent(fleet.settings(dir.path(), "n1"), quick("n1")).end().await);
    assert_eq!(log(dir.path(), "n1"), ["1 join", "1 ready"]);
    let world = fleet.world();
    let ends = world.reports_of("join", join::Outcome::Succeeded).len()
        + world.reports_of("ready", join::Outcome::Succeeded).len();
    assert!(ends >= 4, "each of two reports was sent again: {ends}");
}

#[tokio::test]
async fn what_a_server_has_forgotten_is_told_again_and_not_run_again() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    let settings = Settings { once: false, ..fleet.settings(dir.path(), "n1") };
    let agent = fleet.agent(settings, quick("n1"));
    fleet.until("all done", |world| world.ended("join") && world.ended("ready")).await;
    fleet.change(|world| world.recorded.clear());
    fleet.until("told again", |world| world.ended("join") && world.ended("ready")).await;
    agent.shutdown.cancel();
    assert_eq!(agent.end().await.unwrap(), Outcome::Stopped);
    assert_eq!(log(dir.path(), "n1"), ["1 join", "1 ready"]);
}

#[tokio::test]
async fn an_agent_that_died_in_a_call_looks_into_it_and_makes_it_once() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    let agent = fleet.agent(fleet.settings(dir.path(), "n1"), endless("n1"));
    fleet.until("begun", |world| !world.reports_of("join", join::Outcome::Progress).is_empty()).await;
    agent.kill().await;
    assert!(log(dir.path(), "n1").is_empty());
    must_be_ready(fleet.agent(fleet.settings(dir.path(), "n1"), quick("n1")).end().await);
    assert_eq!(log(dir.path(), "n1"), ["1 join", "1 ready"]);
    assert_eq!(fleet.world().nodes.len(), 1);
}

#[tokio::test]
async fn an_agent_that_died_after_its_call_had_ended_does_not_make_it_again() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    let agent = fleet.agent(fleet.settings(dir.path(), "n1"), endless("n1"));
    fleet.until("begun", |world| !world.reports_of("join", join::Outcome::Progress).is_empty()).await;
    agent.kill().await;
    // kubeadm ended, and then the power went.
    std::fs::write(dir.path().join("n1/rehearsal.log"), "1 join\n").unwrap();
    must_be_ready(fleet.agent(fleet.settings(dir.path(), "n1"), quick("n1")).end().await);
    assert_eq!(log(dir.path(), "n1"), ["1 join", "1 ready"]);
}

#[tokio::test]
async fn when_a_server_dies_in_a_call_the_agent_goes_on_with_another() {
    let (mut fleet, dir) = (Fleet::start(2).await, tempfile::tempdir().unwrap());
    let options = muster_agent::RehearsalOptions {
        phase: (Duration::from_millis(300), Duration::from_millis(300)),
        ..quick("n1")
    };
    let agent = fleet.agent(fleet.settings(dir.path(), "n1"), options);
    fleet.until("begun", |world| !world.reports_of("join", join::Outcome::Started).is_empty()).await;
    // One of the two holds the stream; the other must be enough, whichever it is.
    fleet.stop(0).await;
    must_be_ready(agent.end().await);
    assert_eq!(log(dir.path(), "n1"), ["1 join", "1 ready"]);
}

#[tokio::test]
async fn a_failure_is_reported_with_its_cause_and_a_new_attempt_makes_the_call_again() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    let failure = Injection { attempt: 1, step: "join".to_owned(), cause: Cause::TokenExpired, clean: true };
    let agent = fleet.agent(fleet.settings(dir.path(), "n1"), failing("n1", failure));
    fleet.until("failed", |world| !world.reports_of("join", join::Outcome::Failed).is_empty()).await;
    {
        let world = fleet.world();
        let failure = world.reports_of("join", join::Outcome::Failed)[0].failure.clone().unwrap();
        assert_eq!((failure.cause.as_str(), failure.clean), ("TokenExpired", true));
    }
    assert!(log(dir.path(), "n1").is_empty());
    fleet.change(|world| world.attempt = 2);
    must_be_ready(agent.end().await);
    assert_eq!(log(dir.path(), "n1"), ["2 join", "2 ready"]);
}

#[tokio::test]
async fn a_held_node_begins_nothing_until_it_is_let_go() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    fleet.change(|world| world.hold = true);
    let agent = fleet.agent(fleet.settings(dir.path(), "n1"), quick("n1"));
    // The rehearsal takes on the cluster's version after it has read the held instruction.
    fleet.until("read", |world| world.nodes.values().any(|node| node.preflights.len() > 1)).await;
    assert!(fleet.world().reports.is_empty());
    fleet.change(|world| world.hold = false);
    must_be_ready(agent.end().await);
}

#[tokio::test]
async fn a_rehearsal_reports_the_clusters_version_once_it_is_known() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    fleet.change(|world| world.hold = true);
    let agent = fleet.agent(fleet.settings(dir.path(), "n1"), quick("n1"));
    let has_version = |node: &fake::Known| node.preflights.iter().any(|report| report.kubelet_version == "v1.35.1");
    fleet.until("its version", |world| world.nodes.values().any(has_version)).await;
    agent.shutdown.cancel();
    assert_eq!(agent.end().await.unwrap(), Outcome::Stopped);
}

#[tokio::test]
async fn a_certificate_is_renewed_with_a_new_key_before_it_ends() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    // Of ninety minutes seventy have passed.
    fleet.change(|world| world.certificate_age = (Duration::from_secs(70 * 60), Duration::from_secs(90 * 60)));
    let settings = Settings { once: false, ..fleet.settings(dir.path(), "n1") };
    let agent = fleet.agent(settings, quick("n1"));
    fleet
        .until("a stream with the new certificate", |world| {
            world.nodes.values().any(|node| node.generation == 2 && node.attached >= 2)
        })
        .await;
    fleet.until("joined", |world| world.ended("ready")).await;
    // What is told again now is told on the new stream, whose beginning is then over.
    fleet.change(|world| world.recorded.clear());
    fleet.until("told again", |world| world.ended("join") && world.ended("ready")).await;
    agent.shutdown.cancel();
    agent.end().await.unwrap();
    let state = dir.path().join("n1");
    assert!(state.join("identity-2.key").exists() && !state.join("identity-1.key").exists());
    assert_eq!(log(dir.path(), "n1"), ["1 join", "1 ready"]);
}

#[tokio::test]
async fn a_machine_whose_certificate_has_expired_proves_itself_anew_with_the_same_key() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    fleet.change(|world| world.certificate_age = (Duration::from_secs(7200), Duration::from_secs(3600)));
    let agent = fleet.agent(fleet.settings(dir.path(), "n1"), quick("n1"));
    fleet.until("an expired certificate", |world| !world.nodes.is_empty()).await;
    fleet.change(|world| world.certificate_age = (Duration::ZERO, Duration::from_secs(3600)));
    must_be_ready(agent.end().await);
    let world = fleet.world();
    assert_eq!(world.nodes.len(), 1, "the same key is the same machine");
    assert!(world.nodes.values().all(|node| node.generation >= 2));
}

#[tokio::test]
async fn a_machine_whose_certificate_no_listener_accepts_proves_itself_anew() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    fleet.change(|world| world.stranger = true);
    let agent = fleet.agent(fleet.settings(dir.path(), "n1"), quick("n1"));
    fleet.until("a strange certificate", |world| !world.nodes.is_empty()).await;
    let shown = fleet.world().tokens_seen;
    fleet.change(|world| world.stranger = false);
    must_be_ready(agent.end().await);
    assert_eq!(fleet.world().nodes.len(), 1);
    assert_eq!(fleet.world().tokens_seen, shown, "a token that was used up is not shown again");
}

#[tokio::test]
async fn a_custodians_errands_are_done_while_its_own_node_is_not_ready() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    fleet.change(|world| {
        world.steps.push(("errand-1", join::Verb::Apply, true));
        world.steps.push(("errand-2", join::Verb::ListEtcdMembers, true));
    });
    must_be_ready(fleet.agent(fleet.settings(dir.path(), "n1"), quick("n1")).end().await);
    let mut log = log(dir.path(), "n1");
    log.sort();
    assert_eq!(log, ["1 errand-1", "1 errand-2", "1 join", "1 ready"]);
}

#[tokio::test]
async fn no_secret_of_a_payload_reaches_the_disk_or_the_server() {
    let (fleet, dir) = (Fleet::start(1).await, tempfile::tempdir().unwrap());
    must_be_ready(fleet.agent(fleet.settings(dir.path(), "n1"), quick("n1")).end().await);
    for path in files(&dir.path().join("n1")) {
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!found, "{}", path.display());
    }
    let world = fleet.world();
    assert!(!world.lines.concat().contains(SECRET) && !format!("{:?}", world.reports).contains(SECRET));
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}
