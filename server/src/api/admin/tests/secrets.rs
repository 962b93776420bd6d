//! No view of anything holds a secret, sealed or hashed.

use muster_proto::admin::v1 as wire_v1;

use crate::api::{
    admin::overview,
    fixture::{CANARIES, NOW_MS, canaries_in, control_plane, mk_state, pending, worker},
    wire,
};

/// A message in every form in which it leaves: on the wire, as JSON, in a log.
fn forms<T: prost::Message + serde::Serialize + std::fmt::Debug>(view: &T) -> Vec<u8> {
    let mut all = view.encode_to_vec();
    all.extend(serde_json::to_vec(view).unwrap());
    all.extend(format!("{view:?}").into_bytes());
    all
}

#[test]
fn the_canaries_are_in_the_state_and_would_be_found() {
    let stored = serde_json::to_vec(&mk_state()).unwrap();
    assert_eq!(canaries_in(&stored).len(), CANARIES.len(), "{:?}", canaries_in(&stored));
    for canary in CANARIES {
        let leak = wire_v1::Token { id: String::from_utf8(canary.to_vec()).unwrap(), ..wire_v1::Token::default() };
        assert_eq!(canaries_in(&forms(&leak)).len(), 1);
        let leak = wire_v1::PkiFile { name: String::new(), content: canary.to_vec() };
        assert_eq!(canaries_in(&serde_json::to_vec(&leak).unwrap()).len(), 1);
    }
}

#[test]
fn no_view_of_a_state_full_of_secrets_shows_one() {
    let mut state = mk_state();
    let first = control_plane(&mut state, "6e0f3a51-0000-4000-8000-000000000001", "cp-1");
    worker(&mut state, "6e0f3a51-0000-4000-8000-000000000002");
    pending(&mut state, "6e0f3a51-0000-4000-8000-000000000003");
    state.nodes.get_mut(&first).unwrap().bootstrap_token = state.bootstrap_tokens.keys().next().cloned();
    let mut shown = Vec::new();
    for cluster in state.clusters.values() {
        shown.extend(forms(&wire::cluster::render(&state, cluster, NOW_MS)));
        for kind in wire::permit::KINDS {
            shown.extend(forms(&wire::permit::render(&state, cluster, kind)));
        }
    }
    for node in state.nodes.values() {
        shown.extend(forms(&wire::node::render(&state, node)));
    }
    for token in state.enrolment_tokens.values() {
        shown.extend(forms(&wire::token::enrolment(&state, token, NOW_MS)));
    }
    for token in state.bootstrap_tokens.values() {
        shown.extend(forms(&wire::token::bootstrap(&state, token, NOW_MS)));
    }
    for event in &state.events {
        shown.extend(forms(&wire::event::render(&state, event)));
    }
    shown.extend(forms(&overview::of_state(&state, NOW_MS)));
    assert!(shown.len() > 10_000, "little was shown: {}", shown.len());
    assert_eq!(canaries_in(&shown), Vec::<&str>::new());
}
