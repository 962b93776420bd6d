mod world;

use muster_state::command::{PromoteServer, RemoveServer};
use proptest::prelude::*;

use super::*;
use world::World;

fn voters(ids: impl IntoIterator<Item = u64>) -> Step {
    Step::ChangeVoters(ids.into_iter().collect())
}

fn remove(server: u64, force: bool) -> RemoveServer {
    RemoveServer { server, force, reason: String::new() }
}

#[test]
fn only_the_leader_plans() {
    let mut world = World::founded();
    world.approved(2);
    assert!(!world.plan().is_empty());
    world.status.role = Role::Follower;
    assert_eq!(world.plan(), []);
}

#[test]
fn an_approved_server_is_taken_in_as_a_learner_where_it_says_it_is() {
    let mut world = World::founded();
    world.applicant(2);
    assert_eq!(world.plan(), [], "nobody has approved it");
    world.approve(2);
    assert_eq!(world.plan(), [Step::AddLearner { server: 2, address: "10.0.0.2:9446".into() }]);
    world.run();
    assert_eq!(world.plan(), []);
    world.keep_up(2);
    assert_eq!(world.plan(), [], "a learner stays one until an operator says otherwise");
    world.moved(2, "10.9.9.9:9446");
    assert_eq!(world.plan(), [Step::SetAddress { server: 2, address: "10.9.9.9:9446".into() }]);
}

#[test]
fn a_vote_comes_only_after_it_has_kept_up_and_has_the_data_keys() {
    let mut world = World::of_learners([2]);
    world.done(PromoteServer { server: 2 });
    assert_eq!(world.plan(), [], "it has not kept up for long enough");
    world.keep_up(2);
    assert_eq!(world.plan(), [Step::HandDataKeys(2)], "first the keys");
    world.take(&Step::HandDataKeys(2));
    assert_eq!(world.plan(), [voters([1, 2])]);
    world.kept_up.clear();
    assert_eq!(world.plan(), [], "it fell behind again");
}

#[test]
fn a_leader_without_the_data_keys_hands_none_over_and_starts_no_epoch() {
    let mut world = World::of_voters([1, 2, 3]);
    world.joined(4);
    world.done(PromoteServer { server: 4 });
    world.keep_up(4);
    world.has_keys = false;
    assert_eq!(world.plan(), []);
    world.done(remove(3, false));
    world.run();
    assert!(!world.status.members.contains_key(&3));
    assert!(world.state.is_epoch_due() && world.plan().is_empty());
    world.has_keys = true;
    assert_eq!(world.plan(), [Step::HandDataKeys(4), Step::StartEpoch]);
}

#[test]
fn servers_that_are_ready_together_get_their_votes_together() {
    let mut world = World::of_learners([2, 3]);
    for server in [2, 3] {
        world.done(PromoteServer { server });
        world.keep_up(server);
        world.take(&Step::HandDataKeys(server));
    }
    assert_eq!(world.plan(), [voters([1, 2, 3])]);
}

#[test]
fn a_removed_voter_stops_voting_then_leaves_then_a_new_epoch_starts_and_the_old_one_ends() {
    let mut world = World::of_voters([1, 2, 3]);
    world.done(remove(3, false));
    let rotation = [Step::StartEpoch, Step::ResealSecrets, Step::EndEpoch(1)];
    for step in [voters([1, 2]), Step::RemoveMember(3)].into_iter().chain(rotation) {
        assert_eq!(world.plan(), std::slice::from_ref(&step));
        world.take(&step);
    }
    assert_eq!(world.plan(), []);
    assert_eq!(world.state.epoch_holders().into_iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_removed_learner_just_leaves() {
    let mut world = World::of_learners([2]);
    world.done(remove(2, false));
    assert_eq!(world.plan(), [Step::RemoveMember(2)]);
    world.run();
    assert_eq!(world.plan(), [], "it knew no data key");
}

#[test]
fn a_leader_that_was_removed_hands_over_and_the_next_one_takes_it_out() {
    let mut world = World::of_voters([1, 2, 3]);
    world.done(remove(1, false));
    world.lag(2, 7);
    assert_eq!(world.plan(), [Step::HandOver { to: 3 }], "to the one that is least behind");
    world.done(remove(3, false));
    assert_eq!(world.plan(), [Step::HandOver { to: 2 }], "never to one that has to leave too");
    world.take(&Step::HandOver { to: 2 });
    world.run();
    assert_eq!(world.members(), [2]);
    assert_eq!(world.state.fleet.as_ref().unwrap().epoch, 2, "one epoch for both");
    world.fall_silent(2);
}

#[test]
fn a_removed_leader_never_learns_the_new_data_key() {
    let mut world = World::of_voters([1, 2, 3]);
    world.done(remove(1, false));
    world.fall_silent(2);
    world.fall_silent(3);
    assert_eq!(world.plan(), [], "nobody can take over, and this one must not make the key");
}

#[test]
fn a_voter_is_not_taken_away_while_those_that_remain_are_no_majority_that_answers() {
    let mut world = World::of_voters([1, 2, 3]);
    world.done(remove(3, false));
    world.fall_silent(2);
    assert_eq!(world.plan(), []);
    world.answer(2);
    assert_eq!(world.plan(), [voters([1, 2])]);
    world.fall_silent(2);
    world.done(remove(3, true));
    assert_eq!(world.plan(), [voters([1, 2])], "an operator took it upon himself");
}

#[test]
fn no_vote_is_given_that_would_cost_the_majority() {
    let mut world = World::of_voters([1, 2]);
    world.joined(3);
    world.done(PromoteServer { server: 3 });
    world.keep_up(3);
    world.take(&Step::HandDataKeys(3));
    world.fall_silent(2);
    world.fall_silent(3);
    assert_eq!(world.plan(), [], "of three only one would answer");
}

#[test]
fn a_joint_configuration_is_finished_before_anything_else() {
    let mut world = World::of_voters([1, 2, 3]);
    world.done(remove(3, false));
    world.approved(4);
    world.status.joint = true;
    assert_eq!(world.plan(), [Step::FinishJoint]);
    world.take(&Step::FinishJoint);
    assert_eq!(world.plan(), [voters([1, 2])]);
}

#[test]
fn a_member_without_a_record_is_the_founder_or_was_removed_long_ago() {
    let mut world = World::unregistered();
    assert_eq!(world.plan(), [], "the founder has not registered yet");
    world.register(1);
    world.joined(2);
    world.done(remove(2, false));
    world.state.servers.remove(&2);
    assert_eq!(world.plan(), [Step::RemoveMember(2)], "its gravestone is forgotten, its number is not");
}

#[test]
fn epochs_that_seal_nothing_any_more_make_room_for_the_one_that_is_due() {
    let mut world = World::of_voters([1, 2]);
    let fleet = world.state.fleet.as_mut().unwrap();
    let copies = fleet.epochs[&1].clone();
    fleet.epochs = (1..=u32::try_from(limits::EPOCHS_MAX).unwrap()).map(|epoch| (epoch, copies.clone())).collect();
    fleet.epoch = u32::try_from(limits::EPOCHS_MAX).unwrap();
    world.state.servers.get_mut(&2).unwrap().knew_epoch = fleet.epoch;
    world.done(remove(2, false));
    world.take(&voters([1]));
    world.take(&Step::RemoveMember(2));
    assert_eq!(world.plan(), [Step::ResealSecrets], "there is no room for another");
    world.take(&Step::ResealSecrets);
    assert_eq!(world.plan(), [Step::EndEpoch(1)]);
    world.take(&Step::EndEpoch(1));
    for step in [Step::StartEpoch, Step::ResealSecrets] {
        assert_eq!(world.plan(), std::slice::from_ref(&step), "the one that is due goes before what is left to end");
        world.take(&step);
    }
    (2..=u32::try_from(limits::EPOCHS_MAX).unwrap()).for_each(|epoch| world.take(&Step::EndEpoch(epoch)));
    assert!(!world.state.is_epoch_due() && world.plan().is_empty());
}

#[test]
fn only_a_leader_with_the_data_keys_rotates() {
    let mut world = World::of_voters([1, 2]);
    world.take(&Step::StartEpoch);
    assert_eq!(world.plan(), [Step::ResealSecrets]);
    world.has_keys = false;
    assert_eq!(world.plan(), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever operators say, and whoever falls silent or leads: no step takes the majority away, steps may be taken late and
    /// twice, and once all answer again the group comes to be what is wanted.
    #[test]
    fn the_group_never_loses_its_majority_and_becomes_what_is_wanted(
        deeds in proptest::collection::vec((0..12_u8, 0..8_u8, any::<bool>()), 1..80),
    ) {
        let mut world = World::of_voters([1, 2, 3]);
        for (what, which, late) in deeds {
            world.deed(what, which);
            let planned = world.plan();
            if late {
                // Between the plan and its steps something else happens.
                world.deed(what.wrapping_add(which) % 12, which);
            }
            for step in planned {
                world.take_checked(&step);
                if which % 3 == 0 {
                    world.take_checked(&step);
                }
            }
            world.check();
        }
        world.heal();
        world.run();
        world.check_settled();
    }
}
