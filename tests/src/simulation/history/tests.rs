//! Histories of each kind of object that must be rejected, and near ones that must not.

use super::*;
use crate::simulation::objects::Value;

fn history(object: Object, operations: &[(u64, Ask, Ended)]) -> History {
    let operation = |(client, (called, ask, ended)): (usize, &(u64, Ask, Ended))| Operation {
        client: u32::try_from(client).unwrap(),
        object,
        ask: *ask,
        called: *called,
        ended: *ended,
    };
    History { operations: operations.iter().enumerate().map(operation).collect() }
}

fn answered(at: u64, answer: Answer) -> Ended {
    Ended::Answered(at, answer)
}

const TOKEN: Object = Object::Token(0);
const PERMIT: Object = Object::Permit(0);
const REGISTER: Object = Object::Register(0);
const COUNTER: Object = Object::Counter(0);

fn redeem(machine: u32) -> Ask {
    Ask::Redeem { machine }
}

/// A client, what it asked, and how that ended.
type Line = (u64, Ask, Ended);

#[test]
fn a_race_for_a_token_has_one_winner() {
    let lawful = history(
        TOKEN,
        &[
            (1, Ask::Mint, answered(2, Answer::Done)),
            (3, redeem(0), answered(8, Answer::Spent)),
            (4, redeem(1), answered(7, Answer::Done)),
            (9, redeem(1), answered(10, Answer::Done)),
            (11, Ask::Look, answered(12, Answer::Seen(Value::Token(Some(1))))),
        ],
    );
    assert_eq!(lawful.judge(), Ok(()));
    let mut two_winners = lawful.clone();
    two_winners.operations[1].ended = answered(8, Answer::Done);
    assert_eq!(two_winners.judge().unwrap_err().object, TOKEN);
}

#[test]
fn what_no_single_copy_answers_is_rejected_on_every_kind_of_object() {
    let held = |node| Answer::Seen(Value::Permit(node));
    let replace = |seen, value| Ask::Replace { seen, value };
    let register = |revision, value| Answer::Seen(Value::Register(revision, value));
    let count = |count| Answer::Seen(Value::Counter(count));
    let bad: &[(&str, Object, &[Line])] = &[
        ("a token without a maker", TOKEN, &[(1, redeem(0), answered(2, Answer::Done))]),
        (
            "a token made twice",
            TOKEN,
            &[(1, Ask::Mint, answered(2, Answer::Done)), (3, Ask::Mint, answered(4, Answer::Done))],
        ),
        (
            "a redemption that is not seen afterwards",
            TOKEN,
            &[
                (1, Ask::Mint, answered(2, Answer::Done)),
                (3, redeem(0), answered(4, Answer::Done)),
                (5, Ask::Look, answered(6, Answer::Seen(Value::Token(None)))),
            ],
        ),
        (
            "a token that was made and is gone",
            TOKEN,
            &[(1, Ask::Mint, answered(2, Answer::Done)), (3, redeem(0), answered(4, Answer::Missing))],
        ),
        (
            "a spent token that nobody used",
            TOKEN,
            &[(1, Ask::Mint, answered(2, Answer::Done)), (3, redeem(0), answered(4, Answer::Spent))],
        ),
        (
            "a permit held by two",
            PERMIT,
            &[
                (1, Ask::Grant { node: 0 }, answered(4, Answer::Done)),
                (2, Ask::Grant { node: 1 }, answered(3, Answer::Done)),
            ],
        ),
        (
            "a permit freed twice",
            PERMIT,
            &[
                (1, Ask::Grant { node: 0 }, answered(2, Answer::Done)),
                (3, Ask::Free { node: 0 }, answered(4, Answer::Done)),
                (5, Ask::Free { node: 0 }, answered(6, Answer::Done)),
            ],
        ),
        (
            "a permit whose holder is forgotten",
            PERMIT,
            &[(1, Ask::Grant { node: 0 }, answered(2, Answer::Done)), (3, Ask::Look, answered(4, held(None)))],
        ),
        (
            "two writers who saw the same revision",
            REGISTER,
            &[
                (1, replace(1, 7), answered(4, Answer::Revision(2))),
                (2, replace(1, 8), answered(3, Answer::Revision(2))),
            ],
        ),
        (
            "a read that is older than a write",
            REGISTER,
            &[(1, replace(1, 7), answered(2, Answer::Revision(2))), (3, Ask::Look, answered(4, register(1, 0)))],
        ),
        (
            "a read of what was written late, then of what was before",
            REGISTER,
            &[
                (1, replace(1, 7), Ended::Unknown),
                (2, Ask::Look, answered(3, register(2, 7))),
                (4, Ask::Look, answered(5, register(1, 0))),
            ],
        ),
        (
            "an addition that counted twice",
            COUNTER,
            &[(1, Ask::Add { serial: 1 }, answered(2, Answer::Done)), (3, Ask::Look, answered(4, count(2)))],
        ),
        (
            "an addition that is lost",
            COUNTER,
            &[
                (1, Ask::Add { serial: 1 }, answered(2, Answer::Done)),
                (3, Ask::Add { serial: 2 }, answered(4, Answer::Done)),
                (5, Ask::Look, answered(6, count(1))),
            ],
        ),
        (
            "an addition of unknown outcome that counted twice",
            COUNTER,
            &[
                (1, Ask::Add { serial: 1 }, Ended::Unknown),
                (3, Ask::Look, answered(4, count(1))),
                (5, Ask::Look, answered(6, count(2))),
            ],
        ),
        (
            "an addition that surely did not happen and did",
            COUNTER,
            &[(1, Ask::Add { serial: 1 }, Ended::Nothing), (3, Ask::Look, answered(4, count(1)))],
        ),
    ];
    assert!(bad.len() >= 12);
    for (what, object, operations) in bad {
        let unlawful = history(*object, operations).judge().expect_err(what);
        assert!(matches!(unlawful.verdict, Verdict::Illegal(_)), "{what}");
        assert!(unlawful.to_string().contains("explained by no single copy"), "{unlawful}");
    }
}

#[test]
fn an_unknown_outcome_may_be_either() {
    for seen in [0, 1] {
        let lawful = history(
            COUNTER,
            &[
                (1, Ask::Add { serial: 1 }, Ended::Unknown),
                (3, Ask::Look, answered(4, Answer::Seen(Value::Counter(seen)))),
            ],
        );
        assert_eq!(lawful.judge(), Ok(()));
    }
}

#[test]
fn objects_are_judged_one_by_one() {
    let mut mixed = history(PERMIT, &[(1, Ask::Grant { node: 0 }, answered(2, Answer::Done))]);
    mixed.operations.extend(history(COUNTER, &[(3, Ask::Add { serial: 1 }, answered(4, Answer::Done))]).operations);
    assert_eq!(mixed.judge(), Ok(()));
    mixed
        .operations
        .extend(history(COUNTER, &[(5, Ask::Look, answered(6, Answer::Seen(Value::Counter(0))))]).operations);
    assert_eq!(mixed.judge().unwrap_err().object, COUNTER);
}
