//! What must hold at the end: all servers hold the same bytes, and in them is everything that was acknowledged, once.

use std::collections::BTreeMap;

use muster_state::State;

use super::commands;
use super::history::{Ended, History, Operation};
use super::objects::{Answer, Ask, Object};

/// Compares the servers' states and holds the history against them.
///
/// # Errors
/// A sentence for each thing that is wrong.
pub fn judge(states: &BTreeMap<u64, State>, history: &History) -> Vec<String> {
    let mut wrong = differences(states);
    if let Some(state) = states.values().next() {
        wrong.extend(history.operations.iter().filter_map(|operation| misplaced(state, operation)));
        wrong.extend(uncounted(state));
    }
    if let Err(unlawful) = history.judge() {
        wrong.push(unlawful.to_string());
    }
    wrong
}

/// Servers whose state has other bytes than the first one's.
fn differences(states: &BTreeMap<u64, State>) -> Vec<String> {
    let snapshots: Vec<_> = states.iter().map(|(id, state)| (id, state.to_snapshot().unwrap_or_default())).collect();
    let Some((first, expected)) = snapshots.first() else { return vec!["no server holds a state".to_owned()] };
    let differ = snapshots.iter().filter(|(_, bytes)| bytes != expected);
    differ.map(|(id, bytes)| difference((first, expected), (id, bytes))).collect()
}

fn difference((first, expected): (&u64, &[u8]), (id, bytes): (&u64, &[u8])) -> String {
    let at =
        expected.iter().zip(bytes).position(|(one, other)| one != other).unwrap_or(expected.len().min(bytes.len()));
    let around = |bytes: &[u8]| {
        let (from, to) = (at.saturating_sub(80), (at + 80).min(bytes.len()));
        String::from_utf8_lossy(&bytes[from..to]).into_owned()
    };
    format!("servers {first} and {id} hold different states, from byte {at}: {} / {}", around(expected), around(bytes))
}

/// What an operation must have left in the state, or must not have: how often, at least and at most.
fn misplaced(state: &State, operation: &Operation) -> Option<String> {
    let (least, most) = match operation.ended {
        Ended::Answered(_, Answer::Done) => (1, 1),
        Ended::Answered(..) | Ended::Nothing => (0, 0),
        Ended::Unknown => (0, 1),
    };
    let found = match (operation.object, operation.ask) {
        (Object::Counter(_), Ask::Add { serial }) => commands::additions(state, serial),
        // Others may have made the same token, or brought the same machine in.
        (object @ Object::Token(_), ask) if least == 1 => usize::from(commands::shows(state, object, ask)),
        _ => return None,
    };
    if (least..=most).contains(&found) {
        return None;
    }
    let Operation { client, object, ask, called, ended } = operation;
    Some(format!(
        "client {client} was told {ended:?} of {ask:?} on {object:?} (call {called}), and it is there {found} times"
    ))
}

fn events(state: &State, reason: &str, text: &str) -> usize {
    state.events.iter().filter(|event| event.reason == reason && event.message.contains(text)).count()
}

/// Every token was made once and used at most once, whatever anybody was told.
fn uncounted(state: &State) -> Vec<String> {
    let tokens = state.enrolment_tokens.values();
    let wrong = tokens.filter_map(|token| {
        let (made, used) = (
            events(state, "TokenCreated", &format!("enrolment token {} for", token.id)),
            events(state, "TokenUsed", &format!("enrolment token {} was used", token.id)),
        );
        let fits = made == 1 && used == token.used_by.len() && used <= token.uses as usize;
        (!fits)
            .then(|| format!("token {} was made {made} times and used {used} times, by {:?}", token.id, token.used_by))
    });
    wrong.collect()
}
