//! Muster's own servers: who is let in, who gets data keys, who is gone for good.

use std::collections::BTreeMap;

use muster_state::{
    Bytes, NodeId, Refusal, State,
    command::{
        ApproveServer, CreateServerToken, HandDataKeys, IssueServerCertificate, PromoteServer, RecordDetached,
        RecordHello, RecordServer, RecordTokenMisuse, RemoveServer, RequestServer, RevokeToken, StartEpoch, Sweep,
    },
    limits,
    record::{Attachment, Certificate, ServerStanding},
};

use crate::world::{
    self, DAY_MS, HOUR_MS, World, digest, record_server, request_server, server_token,
    servers::{hand_over, next_epoch},
};

fn founded() -> World {
    let mut world = World::new();
    world.done(record_server(1));
    world
}

fn remove(server: u64) -> RemoveServer {
    RemoveServer { server, force: false, reason: String::new() }
}

fn approve(server: u8) -> ApproveServer {
    ApproveServer { server: server.into(), fingerprint: digest(100 + server) }
}

#[test]
fn the_founder_registers_itself_as_a_voter_and_nobody_else_does() {
    let mut world = World::new();
    assert_eq!(world.apply(record_server(2)), Err(Refusal::not_found("server", 2)));
    world.done(record_server(1));
    let founder = &world.state.servers[&1];
    assert_eq!((founder.standing, founder.generation, founder.knew_epoch), (ServerStanding::Voter, 1, 1));
    assert!(world.state.holds_data_keys(1));
    let events = world.state.last_event;
    world.done(record_server(1));
    assert_eq!(world.state.last_event, events, "a start that is told twice is no second start");
}

#[test]
fn a_token_lets_one_server_ask_and_the_same_key_gets_the_same_answer() {
    let mut world = founded();
    world.done(server_token("s2"));
    let first = world.done(request_server(2, Some("s2")));
    assert_eq!((first.server, first.admitted), (2, false));
    assert_eq!(world.done(request_server(2, Some("s2"))), first);
    assert_eq!(world.done(request_server(2, None)), first, "an interrupted join needs no token");
    assert_eq!(world.apply(request_server(3, Some("s2"))), Err(Refusal::ServerTokenSpent("s2".into())));
    assert_eq!(world.apply(request_server(3, None)), Err(Refusal::ServerTokenUnknown));
    let wrong = RequestServer { token: Some(("s2".into(), digest(1))), ..request_server(3, None) };
    assert_eq!(world.apply(wrong), Err(Refusal::ServerTokenUnknown));
    world.done(server_token("s3"));
    world.now_ms += HOUR_MS;
    assert_eq!(world.apply(request_server(3, Some("s3"))), Err(Refusal::ServerTokenExpired("s3".into())));
}

#[test]
fn a_server_that_asks_again_may_have_moved_but_not_changed_its_sealing_key() {
    let mut world = founded();
    world.applicant(2);
    world.done(RequestServer { address: "10.9.9.9:9446".into(), ..request_server(2, None) });
    assert_eq!(world.state.servers[&2].address, "10.9.9.9:9446");
    let other = RequestServer { sealing_key: Bytes(vec![7; 32]), ..request_server(2, None) };
    assert_eq!(world.apply(other).unwrap_err().word(), "ServerStanding");
    world.done(approve(2));
    world.done(request_server(2, None));
    assert_eq!(world.state.servers[&2].address, "10.9.9.9:9446", "a member says where it is when it starts");
}

#[test]
fn an_approval_names_the_fingerprint_that_was_compared() {
    let mut world = founded();
    world.applicant(2);
    let wrong = ApproveServer { server: 2, fingerprint: digest(103) };
    assert_eq!(world.apply(wrong), Err(Refusal::FingerprintDiffers { server: 2 }));
    let certificate = Certificate { chain: vec![Bytes(vec![1])], not_after_ms: world.now_ms + DAY_MS };
    let issue = |chain| IssueServerCertificate {
        server: 2,
        key: digest(102),
        certificate: Certificate { chain: vec![Bytes(chain)], ..certificate.clone() },
    };
    assert_eq!(world.apply(issue(vec![1])), Err(Refusal::not_approved(2)), "no certificate before the approval");
    world.done(approve(2));
    world.done(approve(2));
    assert_eq!(world.done(issue(vec![1])), certificate);
    assert_eq!(world.done(issue(vec![2])), certificate, "two servers that sign give one answer");
    let again = world.done(request_server(2, None));
    assert_eq!((again.admitted, again.certificate), (true, Some(certificate.clone())));
    world.now_ms += DAY_MS;
    assert_eq!(world.done(request_server(2, None)).certificate, None, "one that ran out is not given any more");
    assert_eq!(world.done(issue(vec![3])).chain, vec![Bytes(vec![3])]);
}

#[test]
fn only_a_server_that_is_to_vote_is_given_data_keys_and_all_of_them() {
    let mut world = founded();
    world.learner(2);
    let keys = hand_over(&world.state, 2);
    assert_eq!(world.apply(keys).unwrap_err().word(), "ServerStanding", "a learner gets none");
    world.done(PromoteServer { server: 2 });
    world.done(PromoteServer { server: 2 });
    let none = HandDataKeys { server: 2, keys: BTreeMap::new() };
    assert_eq!(world.apply(none).unwrap_err().word(), "Epoch");
    let keys = hand_over(&world.state, 2);
    world.done(keys.clone());
    assert!(world.state.holds_data_keys(2));
    let events = world.state.last_event;
    let other = HandDataKeys { server: 2, keys: BTreeMap::from([(1, Bytes(vec![2, 99]))]) };
    world.done(other);
    assert_eq!(world.state.last_event, events);
    assert_eq!(world.state.fleet.as_ref().unwrap().epochs[&1][&2], keys.keys[&1], "what it has, it keeps");
}

#[test]
fn a_removed_server_is_gone_for_good_and_its_number_is_never_used_again() {
    let mut world = founded();
    world.voter(2);
    world.done(remove(2));
    world.done(remove(2));
    let record = &world.state.servers[&2];
    assert_eq!((record.standing, record.knew_epoch), (ServerStanding::Removed { forced: false }, 1));
    assert!(!world.state.holds_data_keys(2));
    assert_eq!(world.apply(request_server(2, None)), Err(Refusal::ServerRemoved(2)));
    assert_eq!(world.apply(approve(2)), Err(Refusal::ServerRemoved(2)));
    assert_eq!(world.apply(PromoteServer { server: 2 }), Err(Refusal::ServerRemoved(2)));
    assert_eq!(world.apply(RecordServer { generation: 2, ..record_server(2) }), Err(Refusal::ServerRemoved(2)));
    let keys = hand_over(&world.state, 2);
    assert_eq!(world.apply(keys), Err(Refusal::ServerRemoved(2)));
    world.applicant(3);
    world.done(RemoveServer { force: true, ..remove(2) });
    assert_eq!(world.state.servers[&2].standing, ServerStanding::Removed { forced: true });
    world.done(remove(2));
    assert_eq!(world.state.servers[&2].standing, ServerStanding::Removed { forced: true }, "force is not taken back");
}

#[test]
fn the_last_voter_that_can_open_secrets_is_not_removed_not_even_by_force() {
    let mut world = founded();
    world.learner(2);
    let refused = world.apply(RemoveServer { force: true, ..remove(1) }).unwrap_err();
    assert_eq!(refused.word(), "ServerStanding");
    assert!(refused.to_string().contains("promote another"), "{refused}");
    world.done(PromoteServer { server: 2 });
    let refused = world.apply(RemoveServer { force: true, ..remove(1) }).unwrap_err();
    assert!(refused.to_string().contains("only voter that has the data keys"), "{refused}");
    let keys = hand_over(&world.state, 2);
    world.done(keys);
    world.done(remove(1));
}

#[test]
fn after_a_removal_a_new_epoch_is_due_for_exactly_the_voters_that_are_left() {
    let mut world = founded();
    world.voter(2);
    world.voter(3);
    world.learner(4);
    assert!(!world.state.is_epoch_due());
    world.done(remove(4));
    assert!(!world.state.is_epoch_due(), "a learner knew no data key");
    world.done(remove(3));
    assert!(world.state.is_epoch_due());
    let due = next_epoch(&world.state);
    assert_eq!(due.keys.keys().copied().collect::<Vec<_>>(), [1, 2]);
    let mut to_a_stranger = due.clone();
    to_a_stranger.keys.insert(3, Bytes(vec![2]));
    assert_eq!(world.apply(to_a_stranger).unwrap_err().word(), "Epoch");
    let mut without_one = due.clone();
    without_one.keys.remove(&2);
    assert_eq!(world.apply(without_one).unwrap_err().word(), "Epoch");
    world.done(due.clone());
    assert!(!world.state.is_epoch_due());
    assert_eq!(world.apply(due).unwrap_err().word(), "Epoch", "a plan that is run twice starts one epoch");
    assert_eq!(world.apply(StartEpoch { epoch: 9, keys: BTreeMap::new() }).unwrap_err().word(), "Epoch");
}

#[test]
fn a_voter_that_has_no_keys_yet_gets_those_of_epochs_that_started_meanwhile_too() {
    let mut world = founded();
    world.voter(2);
    world.learner(3);
    world.done(PromoteServer { server: 3 });
    let before = hand_over(&world.state, 3);
    world.done(remove(2));
    let epoch = next_epoch(&world.state);
    world.done(epoch);
    assert_eq!(world.apply(before).unwrap_err().word(), "Epoch", "they are not all any more");
    let keys = hand_over(&world.state, 3);
    world.done(keys);
    assert!(world.state.holds_data_keys(3));
    assert_eq!(world.state.servers[&3].knew_epoch, 2);
}

#[test]
fn a_data_directory_that_was_put_back_is_refused() {
    let mut world = founded();
    world.done(RecordServer { generation: 5, ..record_server(1) });
    let back = world.apply(RecordServer { generation: 4, ..record_server(1) });
    assert_eq!(back, Err(Refusal::ServerWentBack { server: 1, given: 4, current: 5 }));
    world.done(RecordServer { generation: 5, address: "10.7.7.7:9446".into(), ..record_server(1) });
    assert_eq!(world.state.servers[&1].address, "10.7.7.7:9446");
}

#[test]
fn a_server_can_not_record_other_keys_than_were_approved() {
    let mut world = founded();
    world.learner(2);
    let other_key = RecordServer { key: digest(7), ..record_server(2) };
    assert_eq!(world.apply(other_key), Err(Refusal::FingerprintDiffers { server: 2 }));
    for server in [1, 2] {
        let other = RecordServer { sealing_key: Bytes(vec![9; 32]), ..record_server(server) };
        assert_eq!(world.apply(other), Err(Refusal::FingerprintDiffers { server: server.into() }));
    }
    world.done(RecordServer { key: digest(7), ..record_server(1) });
    world.applicant(3);
    assert_eq!(world.apply(record_server(3)), Err(Refusal::not_approved(3)));
}

#[test]
fn what_others_are_told_of_a_server_is_checked() {
    let mut world = founded();
    world.done(server_token("s2"));
    let good = || request_server(2, Some("s2"));
    let mut many = good();
    many.urls.nodes = vec!["https://x".into(); limits::SERVER_URLS_MAX + 1];
    let mut control = good();
    control.urls.operators = vec!["https://x\n".into()];
    for bad in [
        RequestServer { address: "10.0.1.2".into(), ..good() },
        RequestServer { address: ":9446".into(), ..good() },
        RequestServer { address: "10.0.1.2:0".into(), ..good() },
        RequestServer { address: format!("{}:1", "a".repeat(300)), ..good() },
        RequestServer { sealing_key: Bytes(vec![1; 31]), ..good() },
        RequestServer { csr: Bytes(vec![0; limits::CSR_MAX + 1]), ..good() },
        many,
        control,
    ] {
        assert_eq!(world.apply(bad).unwrap_err().word(), "Invalid");
    }
    world.done(good());
}

#[test]
fn tokens_pending_servers_and_voters_have_bounds() {
    let mut world = founded();
    for server in 2..2 + u8::try_from(limits::PENDING_SERVERS_MAX).unwrap() {
        world.applicant(server);
    }
    world.done(server_token("one-more"));
    assert_eq!(world.apply(request_server(90, Some("one-more"))).unwrap_err().word(), "QueueFull");
    for server in 2..2 + u8::try_from(limits::VOTERS_MAX).unwrap() {
        world.done(approve(server));
        let promoted = world.tried(PromoteServer { server: server.into() });
        assert_eq!(promoted, usize::from(server) <= limits::VOTERS_MAX, "the founder is one of them");
    }
    for number in 0..limits::SERVER_TOKENS_MAX {
        let made = world.tried(server_token(&format!("t{number}")));
        assert_eq!(made, world.state.server_tokens.len() <= limits::SERVER_TOKENS_MAX && made);
    }
    assert_eq!(world.state.server_tokens.len(), limits::SERVER_TOKENS_MAX);
    assert_eq!(world.apply(server_token("full")).unwrap_err().word(), "QueueFull");
}

#[test]
fn the_oldest_gravestones_are_forgotten_and_their_numbers_stay_used() {
    let mut state = founded().state;
    let mut now_ms = world::START_MS;
    let rounds = u64::try_from(limits::REMOVED_SERVERS_KEPT).unwrap() + 3;
    for round in 0..rounds {
        now_ms += 1_000;
        let mut key = digest(7);
        key.0[..8].copy_from_slice(&round.to_be_bytes());
        let token = format!("g{}", round % 2);
        let _ = state.apply_verb(now_ms, RevokeToken { id: token.as_str().into() });
        state.apply_verb(now_ms, server_token(&token)).unwrap();
        let request = RequestServer { key, ..request_server(2, Some(&token)) };
        let server = state.apply_verb(now_ms, request).unwrap().server;
        assert_eq!(server, round + 2);
        state.apply_verb(now_ms, remove(server)).unwrap();
    }
    let removed = state.servers.values().filter(|server| server.standing.is_removed()).count();
    assert_eq!(removed, limits::REMOVED_SERVERS_KEPT);
    assert!(!state.servers.contains_key(&2) && state.servers.contains_key(&(rounds + 1)));
    assert_eq!(state.last_server, rounds + 1);
}

#[test]
fn a_server_token_can_be_revoked_and_its_misuse_is_told() {
    let mut world = founded();
    world.applicant(2);
    let misuse = RecordTokenMisuse {
        token: "s2".into(),
        sha256: world::shown("s2").1,
        key: digest(77),
        from: "192.0.2.66".into(),
    };
    world.done(misuse.clone());
    let told = world.state.events.back().unwrap();
    assert!(told.warning && told.reason == "TokenMisused" && told.message.contains("server 2 used it"), "{told:?}");
    let guess = RecordTokenMisuse { sha256: digest(1), ..misuse };
    assert_eq!(world.apply(guess), Err(Refusal::ServerTokenUnknown));
    world.done(server_token("s3"));
    world.done(RevokeToken { id: "s3".into() });
    assert_eq!(world.apply(request_server(3, Some("s3"))), Err(Refusal::ServerTokenUnknown));
    let of_a_pool = CreateServerToken { id: "t-x".into(), ..server_token("s4") };
    world.token("t-x", "workers", None, 1);
    assert_eq!(world.apply(of_a_pool).unwrap_err().word(), "Exists");
}

#[test]
fn a_server_that_is_never_approved_is_forgotten_in_the_end() {
    let mut world = founded();
    world.applicant(2);
    world.now_ms += limits::PENDING_TTL_MS - 1;
    assert!(!Sweep::is_due(&world.state, world.now_ms));
    world.now_ms += 1;
    assert!(Sweep::is_due(&world.state, world.now_ms));
    world.done(Sweep {});
    assert!(!world.state.servers.contains_key(&2));
    world.applicant(3);
}

#[test]
fn a_state_without_servers_has_the_bytes_it_always_had() {
    let text = String::from_utf8(World::new().state.to_snapshot().unwrap()).unwrap();
    assert!(!text.contains("server"), "{text}");
    let mut world = founded();
    world.voter(2);
    world.applicant(3);
    let kept = world.state.to_snapshot().unwrap();
    assert_eq!(State::from_snapshot(&kept).unwrap(), world.state);
}

#[test]
fn a_servers_next_start_forgets_the_streams_of_the_last_and_its_removal_all() {
    let mut world = founded();
    let (first, second) = (world.worker(1), world.worker(2));
    let at = |server, start, stream| Attachment { server, start, stream };
    let attach = |world: &mut World, node: &NodeId, machine, stream| {
        world.done(RecordHello { stream: Some(stream), ..world::hello(node, world::facts(machine)) });
    };
    attach(&mut world, &first, 1, at(1, 1, 7));
    // It came to the next start before that told of itself.
    attach(&mut world, &second, 2, at(1, 2, 1));
    world.done(RecordServer { generation: 2, ..record_server(1) });
    assert_eq!((world.node(&first).attached, world.node(&second).attached), (None, Some(at(1, 2, 1))));
    world.done(RecordDetached { node: second.clone(), stream: at(1, 2, 9) });
    assert_eq!(world.node(&second).attached, Some(at(1, 2, 1)), "another stream's end");
    world.done(RecordDetached { node: second.clone(), stream: at(1, 2, 1) });
    assert_eq!(world.node(&second).attached, None);

    world.learner(2);
    attach(&mut world, &first, 1, at(2, 1, 1));
    world.done(remove(2));
    assert_eq!(world.node(&first).attached, None);
}
