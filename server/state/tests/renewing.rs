//! Bootstrap tokens that somebody still needs when they run out.

use muster_state::{
    NodeId, TokenId,
    command::{CompleteErrand, ErrandOutcome, MoveTokens, OpenErrand, RevokeToken, TokenStep},
    limits,
    record::{BootstrapToken, BootstrapTokenState, ErrandKind, Verb},
};

use crate::world::{HOUR_MS, World};

/// A worker in the middle of its join, with a token that lives for an hour.
fn mk_joining(linked: bool) -> (World, NodeId, TokenId) {
    let mut world = if linked { World::linked() } else { World::new() };
    let first = world.control_plane(1, "cp1");
    world.advance_to(&first, Verb::WaitReady);
    let id = world.worker(2);
    world.advance_to(&id, Verb::JoinWorker);
    let token = world.node(&id).bootstrap_token.clone().unwrap();
    let (now_ms, record) = (world.now_ms, world.state.bootstrap_tokens.get_mut(&token).unwrap());
    (record.ttl_ms, record.expires_ms) = (HOUR_MS, now_ms + HOUR_MS);
    (world, id, token)
}

fn due(world: &World, is_there: bool) -> Vec<TokenId> {
    world.state.tokens_to_renew(&"c1".into(), world.now_ms, |_| is_there).cloned().collect()
}

fn record<'a>(world: &'a World, token: &TokenId) -> &'a BootstrapToken {
    &world.state.bootstrap_tokens[token]
}

fn go(world: &mut World, token: &TokenId, to: TokenStep) {
    world.done(MoveTokens { cluster: "c1".into(), tokens: vec![token.clone()], to });
}

#[test]
fn a_token_is_renewed_when_its_node_could_not_join_in_the_time_that_is_left() {
    let (mut world, _, token) = mk_joining(true);
    assert_eq!(due(&world, true), []);
    world.now_ms = record(&world, &token).expires_ms - limits::JOIN_TAKES_MS;
    assert_eq!(due(&world, true), []);
    world.now_ms += 1;
    assert_eq!(due(&world, true), std::slice::from_ref(&token));
    assert_eq!(due(&world, false), [], "a machine that is away gets another one when it is back");
    world.now_ms = record(&world, &token).expires_ms;
    assert_eq!(due(&world, true), [], "it is too late");
}

#[test]
fn the_record_says_what_the_secret_says_before_during_and_after_a_renewal() {
    let (mut world, _, token) = mk_joining(true);
    let first_ms = record(&world, &token).expires_ms;
    world.now_ms = first_ms - 1_000;
    go(&mut world, &token, TokenStep::Renewing);
    assert_eq!(
        (record(&world, &token).expires_ms, record(&world, &token).written_end_ms()),
        (first_ms, world.now_ms + HOUR_MS)
    );
    assert_eq!(due(&world, false), std::slice::from_ref(&token), "a leader that died in between is taken up");
    go(&mut world, &token, TokenStep::Renewed);
    assert_eq!((record(&world, &token).expires_ms, record(&world, &token).renewal_ms), (world.now_ms + HOUR_MS, 0));
    assert_eq!(due(&world, true), []);
    go(&mut world, &token, TokenStep::Renewed);
    assert_eq!(record(&world, &token).expires_ms, world.now_ms + HOUR_MS, "twice or late does no harm");
}

#[test]
fn a_token_that_has_ended_or_whose_node_has_joined_or_rests_is_not_renewed() {
    let (mut world, id, token) = mk_joining(true);
    world.now_ms = record(&world, &token).expires_ms - 1_000;
    let mut done = World { state: world.state.clone(), now_ms: world.now_ms };
    done.state
        .nodes
        .get_mut(&id)
        .unwrap()
        .steps
        .iter_mut()
        .for_each(|step| step.state = muster_state::record::StepState::Done);
    assert_eq!(due(&done, true), []);
    let mut failed = World { state: world.state.clone(), now_ms: world.now_ms };
    failed.state.nodes.get_mut(&id).unwrap().steps[0].state = muster_state::record::StepState::Failed;
    assert_eq!(due(&failed, true), []);
    world.done(RevokeToken { id: token.clone() });
    assert_eq!(due(&world, true), []);
    go(&mut world, &token, TokenStep::Renewing);
    go(&mut world, &token, TokenStep::Renewed);
    assert_eq!((record(&world, &token).state, record(&world, &token).renewal_ms), (BootstrapTokenState::Ending, 0));
}

#[test]
fn a_custodian_renews_by_applying_the_token_again_and_a_failure_promises_nothing() {
    let (mut world, _, token) = mk_joining(false);
    let first_ms = record(&world, &token).expires_ms;
    world.now_ms = first_ms - 600_000;
    let custodian = world.state.custodian(&"c1".into()).unwrap().id.clone();
    let open = OpenErrand {
        cluster: "c1".into(),
        kind: ErrandKind::ApplyTokens(vec![token.clone()]),
        custodian: custodian.clone(),
    };
    let number = world.done(open.clone());
    let failed = ErrandOutcome::Failed("connection refused".into());
    world.done(CompleteErrand { number, node: custodian.clone(), outcome: failed });
    assert_eq!(record(&world, &token).expires_ms, first_ms);
    assert_eq!(due(&world, true), std::slice::from_ref(&token));
    world.now_ms += 300_000;
    let number = world.done(open);
    world.done(CompleteErrand { number, node: custodian, outcome: ErrandOutcome::Done(None) });
    assert_eq!(record(&world, &token).expires_ms, world.now_ms + HOUR_MS);
}
