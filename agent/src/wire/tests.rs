use muster_trust::sealing::seal_to;

use super::*;
use crate::kubeadm::Cause;
use crate::report::{EtcdMember, Seen};

fn mk_key(step: &str) -> Key {
    Key { attempt: 3, step: step.to_owned() }
}

fn seal(key: &SealingPrivateKey, payload: &join::StepPayload, of: &Key) -> SealedPayload {
    let context = join::SealContext {
        fleet: "f".to_owned(),
        node_id: "n".to_owned(),
        attempt: of.attempt,
        step: of.step.clone(),
    };
    let sealed = seal_to(&key.public(), &context.encode_to_vec(), &payload.encode_to_vec()).unwrap();
    SealedPayload { enc: sealed.enc, ciphertext: sealed.ciphertext }
}

fn mk_file(path: &str, mode: u32) -> join::File {
    join::File { path: path.to_owned(), mode, content: b"secret".to_vec(), transient: true }
}

#[test]
fn a_payload_opens_for_its_own_node_attempt_and_step_only() {
    let key = SealingPrivateKey::generate().unwrap();
    let message = join::StepPayload {
        files: vec![mk_file("/etc/muster/join.yaml", 0o600)],
        config_path: "/etc/muster/join.yaml".to_owned(),
        delete: vec!["secret/kube-system/bootstrap-token-abcdef".to_owned(), "node//n1".to_owned()],
        scrub: vec!["hunter2-hunter2".to_owned()],
        ..join::StepPayload::default()
    };
    let sealed = seal(&key, &message, &mk_key("join"));
    let opened = payload(&sealed, &key, "f", "n", &mk_key("join")).unwrap();
    assert_eq!(opened.config_path.as_deref(), Some("/etc/muster/join.yaml"));
    assert_eq!(opened.transient_paths(), ["/etc/muster/join.yaml"]);
    assert_eq!((opened.delete[0].namespace.as_str(), opened.delete[1].name.as_str()), ("kube-system", "n1"));
    assert!(!format!("{opened:?}").contains("hunter2"));
    for (fleet, node, of) in [("g", "n", mk_key("join")), ("f", "m", mk_key("join")), ("f", "n", mk_key("init"))] {
        assert_eq!(payload(&sealed, &key, fleet, node, &of), Err(WireError::Sealed));
    }
    let later = Key { attempt: 4, ..mk_key("join") };
    assert_eq!(payload(&sealed, &key, "f", "n", &later), Err(WireError::Sealed));
    let other = SealingPrivateKey::generate().unwrap();
    assert_eq!(payload(&sealed, &other, "f", "n", &mk_key("join")), Err(WireError::Sealed));
}

#[test]
fn paths_that_do_not_say_where_they_lead_are_refused() {
    for path in ["", "relative", "/etc/../root/.ssh/authorized_keys", "/etc/", "/a\0b"] {
        let message = join::StepPayload { files: vec![mk_file(path, 0o600)], ..join::StepPayload::default() };
        assert!(matches!(opened(message), Err(WireError::Payload(_))), "{path:?}");
    }
    let setuid = join::StepPayload { files: vec![mk_file("/a", 0o10_0644)], ..join::StepPayload::default() };
    assert!(matches!(opened(setuid), Err(WireError::Payload(_))));
}

#[test]
fn names_of_objects_cannot_become_options_of_kubectl() {
    for name in [
        "",
        "secret",
        "a/b",
        "--all/kube-system/x",
        "secret/kube-system/-x",
        "secret/--all/x",
        "a/b/c/d",
        "a//",
        "s e/a/b",
    ] {
        assert!(object(name).is_err(), "{name:?}");
    }
    assert!(object("rolebinding/kube-public/kubeadm:bootstrap-signer-clusterinfo").is_ok());
}

#[test]
fn an_instruction_with_an_unknown_verb_is_refused_whole() {
    let step = |verb| join::Step { id: "x".to_owned(), verb, limit_ms: 1500, ..join::Step::default() };
    let message = |verb| join::Instruction {
        attempt: 1,
        steps: vec![step(join::Verb::Init as i32), step(verb)],
        ..join::Instruction::default()
    };
    assert_eq!(instruction(message(99)), Err(WireError::Verb { step: "x".to_owned(), verb: 99 }));
    assert_eq!(instruction(message(0)), Err(WireError::Verb { step: "x".to_owned(), verb: 0 }));
    let read = instruction(message(join::Verb::WaitReady as i32)).unwrap();
    assert_eq!(read.steps[1].verb, Verb::WaitReady);
    assert_eq!(read.steps[1].limit, Some(Duration::from_millis(1500)));
}

#[test]
fn every_verb_of_the_wire_is_known() {
    let known: Vec<Verb> = (1..=14).map(|number| verb(number).unwrap()).collect();
    assert_eq!(known, Verb::ALL);
    assert_eq!(verb(15), None);
}

#[test]
fn reports_carry_what_their_outcome_needs() {
    let mk = |outcome| report(Report { sequence: 5, key: mk_key("etcd-join"), outcome, elapsed_ms: 9 });
    let failed = mk(Outcome::Failed(Failure::unclean(Cause::TooManyLearners, "full")));
    assert_eq!(failed.outcome(), join::Outcome::Failed);
    let failure = failed.failure.unwrap();
    assert_eq!((failure.cause.as_str(), failure.clean), ("TooManyLearners", false));
    let member = EtcdMember { id: "a1".to_owned(), name: String::new(), peer_urls: Vec::new(), learner: true };
    let members = EtcdMembers { members: vec![member], self_id: "a1".to_owned() };
    let done = mk(Outcome::Succeeded(Seen { members: Some(members), ..Seen::default() }));
    assert_eq!((done.sequence, done.attempt, done.elapsed_ms), (5, 3, 9));
    let member = done.etcd_members.unwrap().members.remove(0);
    assert!(member.learner && !member.started);
    assert_eq!(mk(Outcome::Progress(Progress::Phase("etcd".to_owned()))).phase, "etcd");
    assert_eq!(mk(Outcome::Started).outcome(), join::Outcome::Started);
}
