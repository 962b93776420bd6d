use tokio::sync::Semaphore;

use super::*;
use crate::consensus::machine::toy::{Toy, Write};

type Answer = oneshot::Receiver<Result<u64, ProposeError>>;

fn mk_waiting(text: &str) -> (Waiting<Toy>, Answer, Arc<Slip>) {
    let (reply, answer) = oneshot::channel();
    let slip = Arc::new(Slip::default());
    let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let caller = Caller { reply, slip: slip.clone(), _room: room };
    (Waiting { command: Rendered::new(Write::new(text)).unwrap(), fence: None, caller }, answer, slip)
}

fn texts(parcel: &Parcel<Toy>) -> Vec<&str> {
    parcel.commands().iter().map(|write| write.text.as_str()).collect()
}

fn done(replies: &[u64]) -> Outcome<Toy> {
    Outcome::Done(replies.into())
}

#[test]
fn each_caller_gets_its_own_reply_and_the_room_is_free_again() {
    let outbox = Outbox::<Toy>::new(1, 4);
    let (first, mut one, _) = mk_waiting("a");
    let (second, mut two, _) = mk_waiting("b");
    let sequence = outbox.pack(None, vec![first, second]);
    let (fence, parcel) = outbox.send(sequence).unwrap();
    assert_eq!((fence, texts(&parcel)), (None, vec!["a", "b"]));
    assert_eq!(parcel.origin, Origin { server: 1, generation: 4, sequence: 1, floor: 1 });
    outbox.settle(sequence, &done(&[5, 6]));
    assert_eq!((one.try_recv(), two.try_recv()), (Ok(Ok(5)), Ok(Ok(6))));
    assert!(outbox.is_empty() && outbox.send(sequence).is_none());
}

#[test]
fn the_floor_is_the_lowest_number_that_is_still_waited_for() {
    let outbox = Outbox::<Toy>::new(1, 1);
    let numbers: Vec<_> = (0..3)
        .map(|_| {
            let (waiting, answer, _) = mk_waiting("a");
            (outbox.pack(None, vec![waiting]), answer)
        })
        .collect();
    outbox.settle(1, &done(&[1]));
    let (waiting, _answer, _) = mk_waiting("b");
    let last = outbox.pack(None, vec![waiting]);
    assert_eq!(outbox.send(last).unwrap().1.origin.floor, 2);
    assert_eq!(numbers.last().unwrap().0, 3);
}

#[test]
fn what_was_given_up_before_it_left_never_leaves() {
    let outbox = Outbox::<Toy>::new(1, 1);
    let (kept, _answer, kept_slip) = mk_waiting("kept");
    let (given_up, _gone, slip) = mk_waiting("given up");
    let sequence = outbox.pack(None, vec![given_up, kept]);
    assert!(slip.give_up());
    assert_eq!(texts(&outbox.send(sequence).unwrap().1), ["kept"]);
    assert!(!kept_slip.give_up(), "it left");
    outbox.came_back(sequence);
    assert!(kept_slip.give_up(), "nobody took it");
    assert!(outbox.send(sequence).is_none());
    assert!(outbox.is_empty());
}

#[test]
fn what_left_for_another_server_is_sent_again_as_it_was_even_if_that_did_not_take_it() {
    let outbox = Outbox::<Toy>::new(1, 1);
    let (first, one, slip) = mk_waiting("a");
    let (second, mut two, _) = mk_waiting("b");
    let sequence = outbox.pack(None, vec![first, second]);
    outbox.send(sequence).unwrap();
    outbox.leaves(sequence);
    outbox.came_back(sequence);
    assert!(!slip.give_up(), "a second copy may be on its way");
    drop(one);
    assert_eq!(texts(&outbox.send(sequence).unwrap().1), ["a", "b"]);
    outbox.settle(sequence, &done(&[5, 6]));
    assert_eq!(two.try_recv(), Ok(Ok(6)));
}

#[test]
fn what_somebody_may_have_taken_is_sent_again_as_it_was_while_anybody_waits() {
    let outbox = Outbox::<Toy>::new(1, 1);
    let (first, one, _) = mk_waiting("a");
    let (second, two, slip) = mk_waiting("b");
    let sequence = outbox.pack(None, vec![first, second]);
    outbox.send(sequence).unwrap();
    outbox.perhaps_taken(sequence);
    drop(one);
    outbox.came_back(sequence);
    assert!(!slip.give_up());
    assert_eq!(texts(&outbox.send(sequence).unwrap().1), ["a", "b"]);
    drop(two);
    assert!(outbox.send(sequence).is_none());
}

#[test]
fn a_window_bounds_how_far_numbers_run_ahead() {
    let outbox = Outbox::<Toy>::new(1, 1);
    let mut answers = Vec::new();
    while outbox.has_room() {
        let (waiting, answer, _) = mk_waiting("a");
        outbox.pack(None, vec![waiting]);
        answers.push(answer);
    }
    assert_eq!(answers.len() as u64, WINDOW);
    outbox.settle(2, &done(&[1]));
    assert!(!outbox.has_room(), "the first is still waited for");
    outbox.settle(1, &done(&[1]));
    assert!(outbox.has_room());
}

#[test]
fn a_snapshot_answers_what_its_entries_would_have() {
    let outbox = Outbox::<Toy>::new(1, 4);
    let (first, mut one, _) = mk_waiting("a");
    let (second, mut two, _) = mk_waiting("b");
    outbox.pack(None, vec![first]);
    outbox.pack(None, vec![second]);
    let mut settled = Settled::<Toy>::default();
    for (server, generation, reply) in [(1, 4, 9), (2, 4, 7)] {
        let origin = Origin { server, generation, sequence: 1, floor: 1 };
        settled.settle(&crate::consensus::parcel::Heading { origin, fence: None }, 1, true, || vec![reply]);
    }
    outbox.settle_from(&settled);
    assert_eq!(one.try_recv(), Ok(Ok(9)));
    assert!(two.try_recv().is_err() && !outbox.is_empty());
    Outbox::<Toy>::new(1, 5).settle_from(&settled);
}

#[test]
fn a_refusal_of_the_log_reaches_every_caller() {
    for (outcome, error) in [(Outcome::Fenced, ProposeError::Fenced), (Outcome::Dead, ProposeError::Unavailable)] {
        let outbox = Outbox::<Toy>::new(1, 1);
        let (waiting, mut answer, _) = mk_waiting("a");
        let sequence = outbox.pack(Some(3), vec![waiting]);
        assert_eq!(outbox.send(sequence).unwrap().0, Some(3));
        outbox.settle(sequence, &outcome);
        assert_eq!(answer.try_recv(), Ok(Err(error)));
    }
}

#[test]
fn a_server_that_stops_promises_nothing_of_what_is_under_way() {
    let outbox = Outbox::<Toy>::new(1, 1);
    let (sent, mut sent_answer, _) = mk_waiting("sent");
    let (back, mut back_answer, _) = mk_waiting("came back");
    let (here, mut here_answer, _) = mk_waiting("here");
    let numbers: Vec<_> = [sent, back, here].map(|waiting| outbox.pack(None, vec![waiting])).into();
    outbox.send(numbers[0]).unwrap();
    outbox.send(numbers[1]).unwrap();
    outbox.came_back(numbers[1]);
    outbox.close();
    assert_eq!(sent_answer.try_recv(), Ok(Err(ProposeError::TimedOut)), "nobody said what became of it");
    assert_eq!(back_answer.try_recv(), Ok(Err(ProposeError::Unavailable)));
    assert_eq!(here_answer.try_recv(), Ok(Err(ProposeError::Unavailable)));
}

#[test]
fn a_late_refusal_says_nothing_of_an_earlier_attempt() {
    let outbox = Outbox::<Toy>::new(1, 1);
    for (attempts, expected) in [(1, ProposeError::Malformed), (2, ProposeError::TimedOut)] {
        let (waiting, mut answer, _) = mk_waiting("a");
        let sequence = outbox.pack(None, vec![waiting]);
        for _ in 0..attempts {
            outbox.send(sequence).unwrap();
            outbox.leaves(sequence);
        }
        outbox.refuse(sequence, &ProposeError::Malformed);
        assert_eq!(answer.try_recv(), Ok(Err(expected)));
    }
}
