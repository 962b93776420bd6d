use super::*;
use crate::consensus::machine::toy::Toy;
use crate::consensus::parcel::Origin;

/// The table, and how often it had something carried out.
#[derive(Default)]
struct Table {
    settled: Settled<Toy>,
    carried_out: u64,
}

impl Table {
    fn take(&mut self, generation: u64, sequence: u64, floor: u64) -> Result<Vec<u64>, &'static str> {
        let origin = Origin { server: 2, generation, sequence, floor };
        self.settle(&Heading { origin, fence: None }, 1, true)
    }

    fn settle(&mut self, heading: &Heading, term: u64, is_member: bool) -> Result<Vec<u64>, &'static str> {
        let carried_out = &mut self.carried_out;
        let outcome = self.settled.settle(heading, term, is_member, || {
            *carried_out += 1;
            vec![*carried_out]
        });
        match outcome {
            Outcome::Done(replies) => Ok(replies.to_vec()),
            Outcome::Fenced => Err("fenced"),
            Outcome::Dead => Err("dead"),
        }
    }
}

#[test]
fn a_parcel_that_comes_again_is_answered_as_the_first_time_and_not_carried_out() {
    let mut table = Table::default();
    assert_eq!(table.take(1, 1, 1), Ok(vec![1]));
    assert_eq!(table.take(1, 2, 1), Ok(vec![2]));
    for _ in 0..3 {
        assert_eq!(table.take(1, 1, 1), Ok(vec![1]));
        assert_eq!(table.take(1, 2, 1), Ok(vec![2]));
    }
    assert_eq!(table.carried_out, 2);
}

#[test]
fn parcels_may_come_in_any_order() {
    let mut table = Table::default();
    assert_eq!(table.take(1, 3, 1), Ok(vec![1]));
    assert_eq!(table.take(1, 1, 1), Ok(vec![2]));
    assert_eq!(table.take(1, 2, 1), Ok(vec![3]));
}

#[test]
fn a_parcel_that_nobody_waits_for_is_never_carried_out_late() {
    let mut table = Table::default();
    assert_eq!(table.take(1, 5, 4), Ok(vec![1]));
    assert_eq!(table.take(1, 3, 1), Err("dead"));
    assert_eq!(table.take(1, 4, 1), Ok(vec![2]));
    assert_eq!(table.settled.origins[&2].floor, 4);
}

#[test]
fn a_server_that_started_anew_begins_at_one_and_its_former_self_is_dead() {
    let mut table = Table::default();
    assert_eq!(table.take(1, 1, 1), Ok(vec![1]));
    assert_eq!(table.take(2, 1, 1), Ok(vec![2]));
    assert_eq!(table.take(1, 2, 1), Err("dead"));
    assert_eq!(table.take(1, 1, 1), Err("dead"));
    assert_eq!(table.carried_out, 2);
}

#[test]
fn a_fenced_parcel_is_carried_out_in_its_own_term_only() {
    let mut table = Table::default();
    let heading =
        |sequence| Heading { origin: Origin { server: 2, generation: 1, sequence, floor: 1 }, fence: Some(7) };
    assert_eq!(table.settle(&heading(1), 7, true), Ok(vec![1]));
    assert_eq!(table.settle(&heading(2), 8, true), Err("fenced"));
    assert_eq!(table.settle(&heading(1), 8, true), Ok(vec![1]), "the answer stays what it was");
}

#[test]
fn who_is_no_member_gets_nothing_carried_out_and_who_left_is_forgotten() {
    let mut table = Table::default();
    assert_eq!(table.take(1, 1, 1), Ok(vec![1]));
    table.settled.keep_members(|server| server != 2);
    assert!(table.settled.origins.is_empty());
    let heading = Heading { origin: Origin { server: 2, generation: 1, sequence: 1, floor: 1 }, fence: None };
    assert_eq!(table.settle(&heading, 1, false), Err("dead"));
    assert!(table.settled.origins.is_empty());
}

#[test]
fn what_is_remembered_of_a_server_is_bounded_even_if_it_never_moves_its_floor() {
    let mut table = Table::default();
    for sequence in 1..=3 * WINDOW {
        assert!(table.take(1, sequence, 1).is_ok());
    }
    assert_eq!(table.settled.origins[&2].replies.len() as u64, WINDOW);
    assert_eq!(table.take(1, 1, 1), Err("dead"), "what was forgotten is not carried out again");
}
