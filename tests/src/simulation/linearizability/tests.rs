//! The checker against histories that are known to be good or bad.

use super::*;

/// A register with compare-and-set.
struct Register;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Read,
    Write(u8),
    Swap(u8, u8),
}

/// The value read; for a swap, the value found.
type Answer = u8;

impl Model for Register {
    type State = u8;
    type Input = Ask;
    type Output = Answer;

    fn step(&self, state: &u8, input: &Ask) -> (u8, Answer) {
        match *input {
            Ask::Read => (*state, *state),
            Ask::Write(new) => (new, 0),
            Ask::Swap(old, new) => (if *state == old { new } else { *state }, *state),
        }
    }
}

fn span(called: u64, returned: u64, input: Ask, answer: Answer) -> Span<Ask, Answer> {
    Span { called, returned: Some((returned, answer)), input }
}

fn lost(called: u64, input: Ask) -> Span<Ask, Answer> {
    Span { called, returned: None, input }
}

fn verdict(history: &[Span<Ask, Answer>]) -> Verdict {
    check(&Register, 0, history)
}

use Ask::{Read, Swap, Write};

#[test]
fn good_histories_are_legal() {
    let good: &[(&str, Vec<Span<Ask, Answer>>)] = &[
        ("nothing", vec![]),
        ("one after the other", vec![span(1, 2, Write(1), 0), span(3, 4, Read, 1), span(5, 6, Swap(1, 2), 1)]),
        ("a read beside a write sees either", vec![span(1, 4, Write(1), 0), span(2, 3, Read, 0), span(5, 6, Read, 1)]),
        ("a read beside a write sees the new", vec![span(1, 4, Write(1), 0), span(2, 3, Read, 1)]),
        ("a lost write took place", vec![lost(1, Write(1)), span(2, 3, Read, 1)]),
        ("a lost write never took place", vec![lost(1, Write(1)), span(2, 3, Read, 0), span(4, 5, Read, 0)]),
        ("a lost write took place late", vec![lost(1, Write(1)), span(2, 3, Read, 0), span(4, 5, Read, 1)]),
        (
            "overlapping swaps, one wins",
            vec![span(1, 5, Swap(0, 1), 0), span(2, 6, Swap(0, 2), 1), span(7, 8, Read, 1)],
        ),
        (
            "writes in the other order than their calls",
            vec![span(1, 6, Write(1), 0), span(2, 5, Write(2), 0), span(7, 8, Read, 1)],
        ),
    ];
    for (what, history) in good {
        assert_eq!(verdict(history), Verdict::Legal, "{what}");
    }
}

#[test]
fn twelve_planted_bad_histories_and_more_are_rejected() {
    let bad: &[(&str, Vec<Span<Ask, Answer>>)] = &[
        ("a value from nowhere", vec![span(1, 2, Read, 7)]),
        ("a stale read", vec![span(1, 2, Write(1), 0), span(3, 4, Read, 0)]),
        ("a lost update", vec![span(1, 2, Write(1), 0), span(3, 4, Write(2), 0), span(5, 6, Read, 1)]),
        ("a read before its write was called", vec![span(1, 2, Read, 1), span(3, 4, Write(1), 0)]),
        ("two winners of one swap", vec![span(1, 4, Swap(0, 1), 0), span(2, 3, Swap(0, 2), 0)]),
        ("new, then old, beside one write", vec![span(1, 8, Write(1), 0), span(2, 3, Read, 1), span(4, 5, Read, 0)]),
        (
            "two readers who see two writes in different orders",
            vec![
                span(1, 12, Write(1), 0),
                span(2, 13, Write(2), 0),
                span(3, 4, Read, 1),
                span(5, 6, Read, 2),
                span(7, 8, Read, 1),
                span(9, 10, Read, 2),
                span(14, 15, Read, 1),
            ],
        ),
        (
            "a lost write takes place twice",
            vec![
                lost(1, Write(1)),
                span(2, 3, Read, 1),
                span(4, 5, Write(2), 0),
                span(6, 7, Read, 2),
                span(8, 9, Read, 1),
            ],
        ),
        ("a lost write takes place before its call", vec![span(1, 2, Read, 1), lost(3, Write(1))]),
        ("a swap that failed and changed all the same", vec![span(1, 2, Swap(5, 1), 0), span(3, 4, Read, 1)]),
        ("a swap that won and changed nothing", vec![span(1, 2, Swap(0, 1), 0), span(3, 4, Read, 0)]),
        (
            "a swap that found a value of the past",
            vec![span(1, 2, Write(1), 0), span(3, 4, Write(2), 0), span(5, 6, Swap(1, 3), 1)],
        ),
        ("a swap that found a value of the future", vec![span(1, 2, Swap(2, 1), 2), span(3, 4, Write(2), 0)]),
        (
            "a write that came back after another",
            vec![span(1, 2, Write(1), 0), span(3, 6, Write(2), 0), span(4, 5, Read, 2), span(7, 8, Read, 1)],
        ),
    ];
    assert!(bad.len() >= 12);
    for (what, history) in bad {
        assert!(matches!(verdict(history), Verdict::Illegal(_)), "{what}");
    }
}

#[test]
fn the_order_of_the_list_does_not_matter() {
    let mut history = vec![span(3, 4, Read, 1), span(1, 2, Write(1), 0), span(5, 6, Swap(1, 2), 1)];
    assert_eq!(verdict(&history), Verdict::Legal);
    history.reverse();
    assert_eq!(verdict(&history), Verdict::Legal);
}

#[test]
fn a_rejection_names_the_longest_order_that_was_possible() {
    let history = [span(1, 2, Write(1), 0), span(3, 4, Read, 1), span(5, 6, Read, 9)];
    assert_eq!(verdict(&history), Verdict::Illegal(vec![0, 1]));
}

/// What a single copy answers is legal, however long the answers take to arrive; with one answer changed it mostly is not, and
/// never is an answer legal that no write explains.
#[test]
fn histories_of_a_single_copy_are_legal_and_with_a_foreign_value_they_are_not() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut history = single_copy(&mut random);
        assert_eq!(verdict(&history), Verdict::Legal, "seed {seed}");
        let answered: Vec<usize> = (0..history.len()).filter(|at| is_answered_read(&history[*at])).collect();
        let Some(changed) = random.choice(&answered) else { continue };
        if let Some((_, answer)) = history[*changed].returned.as_mut() {
            *answer = 200;
        }
        assert!(matches!(verdict(&history), Verdict::Illegal(_)), "seed {seed}");
    }
}

fn is_answered_read(span: &Span<Ask, Answer>) -> bool {
    matches!(span, Span { input: Read | Swap(..), returned: Some(_), .. })
}

/// Sixty operations by up to five clients at a time on one register; some answers are lost.
fn single_copy(random: &mut fastrand::Rng) -> Vec<Span<Ask, Answer>> {
    let (mut now, mut state) = (0, 0);
    let mut history: Vec<Span<Ask, Answer>> = Vec::new();
    let mut tick = || {
        now += 1;
        now
    };
    let mut running: Vec<(usize, Option<Answer>)> = Vec::new();
    while history.len() < 60 || !running.is_empty() {
        if history.len() < 60 && running.len() < 5 && random.bool() {
            let (old, new) = (random.u8(0..4), random.u8(0..4));
            let input = [Read, Write(new), Swap(old, new)][random.usize(0..3)];
            running.push((history.len(), None));
            history.push(Span { called: tick(), returned: None, input });
        } else if !running.is_empty() {
            let at = random.usize(0..running.len());
            let (index, answer) = running[at];
            match answer {
                None if random.u8(0..20) == 0 => drop(running.swap_remove(at)),
                None => {
                    let (after, output) = Register.step(&state, &history[index].input);
                    state = after;
                    running[at].1 = Some(output);
                }
                Some(_) if random.u8(0..20) == 0 => drop(running.swap_remove(at)),
                Some(output) => {
                    history[index].returned = Some((tick(), output));
                    running.swap_remove(at);
                }
            }
        }
    }
    history
}
