//! Requests that come again, and the time.

use muster_state::{
    Command, Refusal, Reply, Request, Stamp, State,
    command::{AcceptTime, LockNode, Sweep, UnlockNode},
    limits,
};

use crate::world::{self, DAY_MS, World, digest};

fn request(id: &str, body: u8) -> Request {
    Request { caller: "spiffe://fleet/operator/anna".into(), id: id.into(), digest: digest(body) }
}

fn create(id: &str, body: u8, cluster: &str) -> Command {
    Command { request: Some(request(id, body)), verb: world::create(cluster).into() }
}

#[test]
fn the_same_request_is_answered_alike_and_done_once() {
    let mut world = World::new();
    let first = world.command(create("r1", 1, "c2")).reply;
    assert_eq!(first, Ok(Reply::CreateCluster("c2".into())));
    let events = world.state.last_event;
    let again = world.command(create("r1", 1, "c2"));
    assert_eq!((again.reply, again.changes), (first.clone(), vec![]));
    assert_eq!(world.state.last_event, events);
    world.state = State::from_snapshot(&world.state.to_snapshot().unwrap()).unwrap();
    assert_eq!(world.command(create("r1", 1, "c2")).reply, first, "also across a snapshot");
    assert_eq!(world.state.clusters.len(), 2);
}

#[test]
fn a_request_id_with_another_body_or_verb_is_refused() {
    let mut world = World::new();
    world.command(create("r1", 1, "c2")).reply.unwrap();
    assert_eq!(world.command(create("r1", 2, "c3")).reply, Err(Refusal::RequestReused("r1".into())));
    let other = Command { request: Some(request("r1", 1)), verb: Sweep {}.into() };
    assert_eq!(world.command(other).reply, Err(Refusal::RequestReused("r1".into())));
    let mut elsewhere = create("r1", 2, "c3");
    elsewhere.request.as_mut().unwrap().caller = "spiffe://fleet/operator/bert".into();
    assert!(world.command(elsewhere).reply.is_ok(), "another caller has ids of his own");
}

#[test]
fn a_refusal_is_remembered_like_any_reply() {
    let mut world = World::new();
    let node = "01node".into();
    let lock = || Command { request: Some(request("r1", 1)), verb: UnlockNode { node: "01node".into() }.into() };
    let refused = world.command(lock()).reply;
    assert_eq!(refused, Err(Refusal::not_found("node", "01node")));
    world.worker(1);
    world.done(LockNode { node, reason: String::new() });
    assert_eq!(world.command(lock()).reply, refused);
}

#[test]
fn requests_that_could_look_like_others_are_refused() {
    let mut world = World::new();
    for bad in ["", "a\nb", "a\0", &"a".repeat(limits::REQUEST_TEXT_MAX + 1)] {
        let refused = world.command(create(bad, 1, "c2")).reply.unwrap_err();
        assert_eq!(refused.word(), "Invalid", "{bad:?}");
    }
}

#[test]
fn stored_replies_are_forgotten_by_age_and_by_number() {
    let mut state = World::new().state;
    let mut now_ms = world::START_MS;
    let ask = |state: &mut State, id: u64, now_ms| {
        let command = Command { request: Some(request(&id.to_string(), 1)), verb: Sweep {}.into() };
        state.apply(Stamp { now_ms }, command).reply.unwrap();
    };
    let kept = |state: &State| {
        let value = serde_json::to_value(state).unwrap();
        value["replies"].as_object().unwrap().len()
    };
    for id in 0..limits::REPLIES_MAX as u64 + 50 {
        ask(&mut state, id, now_ms);
    }
    assert_eq!(kept(&state), limits::REPLIES_MAX);
    now_ms += limits::REPLY_KEPT_MS;
    ask(&mut state, 7, now_ms);
    assert_eq!(kept(&state), 1);
}

#[test]
fn time_never_goes_back() {
    let mut world = World::new();
    world.now_ms -= DAY_MS;
    world.done(Sweep {});
    assert_eq!(world.state.now_ms, world::START_MS);
}

#[test]
fn a_clock_that_jumped_stops_everything_until_an_operator_accepts_it() {
    let mut world = World::new();
    world.now_ms += limits::STAMP_JUMP_MAX_MS + 1;
    assert_eq!(world.apply(Sweep {}), Err(Refusal::ClockJumped));
    assert_eq!(world.state.now_ms, world::START_MS, "not even the time moved");
    world.done(AcceptTime {});
    world.done(Sweep {});
    assert_eq!(world.state.now_ms, world.now_ms);
}

#[test]
fn a_snapshot_of_another_version_or_with_unknown_fields_is_not_read() {
    let text = String::from_utf8(World::new().state.to_snapshot().unwrap()).unwrap();
    for bad in [
        text.replacen("\"version\":1", "\"version\":2", 1),
        text.replacen("\"now_ms\"", "\"now_ms\":0,\"extra\"", 1),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        assert!(State::from_snapshot(bad.as_bytes()).is_err());
    }
}
