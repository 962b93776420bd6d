//! What holds of Muster's own servers, whatever was asked.

use std::collections::BTreeSet;

use muster_state::{
    Change, Command, State, limits,
    record::{ServerRecord, ServerStanding},
};

/// All that must hold of one state.
#[track_caller]
pub(super) fn check(state: &State) {
    let mut keys = BTreeSet::new();
    let mut redeemed = BTreeSet::new();
    for (id, server) in &state.servers {
        assert_eq!(*id, server.id);
        assert!(*id <= state.last_server, "server {id} is above the last number");
        assert!(keys.insert(server.key), "key {} is known twice", server.key);
        assert!(server.token.iter().all(|token| redeemed.insert(token.clone())), "a server token was used twice");
        assert!(server.standing != ServerStanding::Pending || server.certificate.is_none(), "{id} waits, certified");
    }
    for token in state.server_tokens.values() {
        let Some(user) = token.used_by.and_then(|user| state.servers.get(&user)) else { continue };
        assert_eq!(user.token.as_ref(), Some(&token.id), "token {} names another server", token.id);
    }
    let count = |standing| state.servers_that_are(standing).count();
    assert!(count(ServerStanding::Voter) <= limits::VOTERS_MAX);
    assert!(count(ServerStanding::Pending) <= limits::PENDING_SERVERS_MAX);
    check_epochs(state);
}

/// Only voters have copies of data keys, and what a server was ever given is remembered as long as it matters.
fn check_epochs(state: &State) {
    let Some(fleet) = &state.fleet else { return };
    assert_eq!(fleet.epochs.keys().next_back(), Some(&fleet.epoch));
    for (epoch, copies) in &fleet.epochs {
        assert!(!copies.is_empty(), "nobody can open epoch {epoch}");
        for holder in copies.keys() {
            // The founder is not known before it registers.
            let Some(server) = state.servers.get(holder) else { continue };
            assert_eq!(server.standing, ServerStanding::Voter, "server {holder} has the data key of epoch {epoch}");
            assert!(server.knew_epoch >= *epoch);
        }
    }
    assert!(state.servers.values().all(|server| server.knew_epoch <= fleet.epoch));
    for (name, secret) in state.secrets() {
        assert!(fleet.epochs.contains_key(&secret.sealed.epoch), "nobody can open {name} any more");
    }
}

fn holds_any(state: &State, server: u64) -> bool {
    state.fleet.iter().flat_map(|fleet| fleet.epochs.values()).any(|copies| copies.contains_key(&server))
}

/// All that must hold between the state before a command and the state after.
#[track_caller]
pub(super) fn check_step(before: &State, after: &State, changes: &[Change], command: &Command) {
    assert!(after.last_server >= before.last_server);
    let voters = |state: &State| state.servers_that_are(ServerStanding::Voter).count();
    assert!(voters(before) == 0 || voters(after) > 0, "{command:?} took the last voter away");
    for (id, is) in &after.servers {
        match before.servers.get(id) {
            Some(was) => check_server(was, is, command),
            // The founder may register after others have asked.
            None if is.token.is_none() => assert!(holds_any(before, *id), "{id} is no founder"),
            None => assert!(*id > before.last_server && !holds_any(before, *id), "number {id} was used before"),
        }
    }
    for id in before.servers.keys().chain(after.servers.keys()) {
        let shown = |state: &State| state.servers.get(id).map(|server| ServerRecord { seen_ms: 0, ..server.clone() });
        let copies = |state: &State| -> Vec<_> {
            let epochs = state.fleet.iter().flat_map(|fleet| fleet.epochs.values());
            epochs.filter_map(|copies| copies.get(id).cloned()).collect()
        };
        // A gravestone that is forgotten concerns nobody.
        let gone = before.servers.get(id).is_some_and(|was| was.standing.is_removed()) && shown(after).is_none();
        let differs = shown(before) != shown(after) || copies(before) != copies(after);
        assert!(gone || !differs || changes.contains(&Change::Server(*id)), "{command:?} changed {id}; nobody wakes");
    }
}

#[track_caller]
fn check_server(was: &ServerRecord, is: &ServerRecord, command: &Command) {
    let id = was.id;
    assert!(!was.standing.is_removed() || is.standing.is_removed(), "server {id} came back by {command:?}");
    assert!(!was.standing.is_member() || is.standing != ServerStanding::Pending);
    assert!(was.key == is.key || was.token.is_none(), "the approved key of {id} changed by {command:?}");
    assert!(was.sealing_key == is.sealing_key || was.sealing_key.0.is_empty(), "{id} has another sealing key");
    assert!(is.generation >= was.generation, "the generation of {id} went back");
    assert!(is.knew_epoch >= was.knew_epoch);
}
