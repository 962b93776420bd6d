//! Where a linked cluster's own store of bootstrap tokens differs from the records.

use muster_state::{
    Command, NodeId, TokenId,
    command::{
        CompareTokens, CompleteErrand, ErrandOutcome, MintBootstrapToken, MoveTokens, RevokeToken, Sweep, TokenStep,
    },
    record::{BootstrapTokenState, Purpose, Role, TokenDifference, Verb},
};

use crate::world::{HOUR_MS, World, friendly, secret};

/// A worker that waits to be told to join, and its token, in the cluster.
fn mk_waiting() -> (World, NodeId, TokenId) {
    let mut world = World::linked();
    let first = world.control_plane(1, "cp1");
    world.advance_to(&first, Verb::WaitReady);
    let id = world.worker(2);
    for _ in 0..20 {
        let token = world.node(&id).bootstrap_token.clone();
        if let Some(token) = token.filter(|token| world.state.bootstrap_tokens[token].is_live(world.now_ms)) {
            return (world, id, token);
        }
        let next = friendly::next_for(&world.state, world.node(&id)).into_iter();
        for verb in next.chain(friendly::errand_for(&world.state, &"c1".into()).map(Into::into)).collect::<Vec<_>>() {
            let _ = world.command(Command { request: None, verb });
        }
        for errand in world.state.open_errands(&first).cloned().collect::<Vec<_>>() {
            let outcome = ErrandOutcome::Done(None);
            world.done(CompleteErrand { number: errand.number, node: first.clone(), outcome });
        }
    }
    panic!("it gets no token");
}

fn see(world: &mut World, token: &TokenId, differs: Option<TokenDifference>) {
    world.done(CompareTokens { cluster: "c1".into(), tokens: [(token.clone(), differs)].into() });
}

fn events(world: &World, reason: &str) -> usize {
    world.state.events.iter().filter(|event| event.reason == reason).count()
}

fn state(world: &World, token: &TokenId) -> BootstrapTokenState {
    world.state.bootstrap_tokens[token].state
}

fn mint_line(world: &mut World) -> TokenId {
    let purpose = Purpose::JoinCommand(Role::Worker);
    let (id, secret) = (TokenId::from("line"), secret(9));
    world.done(MintBootstrapToken { id: id.clone(), cluster: "c1".into(), purpose, secret, ttl_ms: HOUR_MS });
    id
}

#[test]
fn a_node_whose_token_is_gone_from_the_cluster_gets_another_unless_it_joins_with_it_already() {
    for word in [TokenDifference::Missing, TokenDifference::Foreign] {
        let (mut world, id, token) = mk_waiting();
        see(&mut world, &token, Some(word));
        assert_eq!(state(&world, &token), BootstrapTokenState::Deleted);
        assert_eq!(events(&world, "TokenDiffers"), 1);
        world.advance_to(&id, Verb::JoinWorker);
        let second = world.node(&id).bootstrap_token.clone().unwrap();
        assert_ne!(second, token);
        see(&mut world, &second, Some(word));
        assert_eq!((state(&world, &second), events(&world, "TokenDiffers")), (BootstrapTokenState::Present, 2));
        assert_eq!(world.state.bootstrap_tokens[&second].differs, Some(word));
        see(&mut world, &second, Some(word));
        assert_eq!(events(&world, "TokenDiffers"), 2, "the same again is no news");
        see(&mut world, &second, None);
        assert_eq!((world.state.bootstrap_tokens[&second].differs, events(&world, "TokenAgrees")), (None, 1));
    }
}

#[test]
fn what_the_record_has_come_to_contradict_meanwhile_is_passed_over() {
    let (mut world, _, token) = mk_waiting();
    see(&mut world, &token, Some(TokenDifference::Unsigned));
    see(&mut world, &token, Some(TokenDifference::LeftOver));
    assert_eq!(state(&world, &token), BootstrapTokenState::Present);
    world.now_ms = world.state.bootstrap_tokens[&token].expires_ms;
    see(&mut world, &token, Some(TokenDifference::Missing));
    world.done(RevokeToken { id: token.clone() });
    see(&mut world, &token, Some(TokenDifference::Missing));
    see(&mut world, &"none".into(), Some(TokenDifference::Missing));
    assert_eq!(state(&world, &token), BootstrapTokenState::Ending);
    assert_eq!(events(&world, "TokenDiffers"), 0);
}

#[test]
fn a_node_that_waits_for_a_signature_says_so_until_its_token_ends() {
    let (mut world, id, token) = mk_waiting();
    world.state.bootstrap_tokens.get_mut(&token).unwrap().state = BootstrapTokenState::Minted;
    see(&mut world, &token, Some(TokenDifference::Unsigned));
    assert!(world.node(&id).message.contains("bootstrapsigner"), "{}", world.node(&id).message);
    world.done(RevokeToken { id: token });
    assert!(!world.node(&id).message.contains("bootstrapsigner"), "{}", world.node(&id).message);
}

#[test]
fn a_secret_that_was_left_over_is_told_of_each_time() {
    let (mut world, _, _) = mk_waiting();
    let line = mint_line(&mut world);
    world.done(RevokeToken { id: line.clone() });
    world.done(MoveTokens { cluster: "c1".into(), tokens: vec![line.clone()], to: TokenStep::Deleted });
    assert_eq!(world.state.bootstrap_tokens[&line].deleted_ms, world.now_ms);
    see(&mut world, &line, Some(TokenDifference::LeftOver));
    see(&mut world, &line, Some(TokenDifference::LeftOver));
    assert_eq!((world.state.bootstrap_tokens[&line].differs, events(&world, "TokenDiffers")), (None, 2));
}

#[test]
fn a_token_that_runs_out_differs_no_more_and_when_is_remembered() {
    let (mut world, id, token) = mk_waiting();
    world.advance_to(&id, Verb::JoinWorker);
    see(&mut world, &token, Some(TokenDifference::Missing));
    world.now_ms = world.state.bootstrap_tokens[&token].expires_ms;
    world.done(Sweep {});
    let record = &world.state.bootstrap_tokens[&token];
    assert_eq!((record.state, record.differs, record.deleted_ms), (BootstrapTokenState::Deleted, None, world.now_ms));
}

#[test]
fn a_detached_clusters_store_is_not_known() {
    let mut world = World::new();
    let compare = CompareTokens { cluster: "c1".into(), tokens: [("first-c1".into(), None)].into() };
    assert_eq!(world.apply(compare).unwrap_err().word(), "Invalid");
}
