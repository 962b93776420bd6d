//! Whether a payload may be made: asked by a voter that did not itself propose the release.

use muster_state::{
    Bytes, Digest, NodeId, State,
    record::{Errand, ErrandState, StepState},
};

/// The key to which that step's payload may be sealed: its release to the identity key `key` has committed, and nothing has
/// taken it back since. Look at state that holds everything acknowledged, not at what a follower happens to have.
pub fn sealing_key(state: &State, node: &NodeId, attempt: u32, step: &str, key: Digest) -> Option<Bytes> {
    let record = state.nodes.get(node)?;
    let is_its_own = record.identity.key == key && record.locked.is_none() && record.placement().is_some();
    let released_to = match Errand::number_of(step) {
        Some(number) => {
            let errand = state.errands.get(&number)?;
            (errand.custodian == *node && errand.state == ErrandState::Open).then_some(errand.released_to)?
        }
        None => {
            let step = record.step(step).filter(|step| step.state != StepState::Done && record.attempt == attempt)?;
            step.released_to
        }
    };
    (is_its_own && released_to == Some(key)).then(|| record.identity.sealing_key.clone())
}

#[cfg(test)]
mod tests {
    use muster_state::record::{ErrandKind, Node, Step, Verb};

    use super::*;
    use crate::api::fixture::{CLUSTER, NOW_MS, key_of, mk_state, worker};

    const STEP: &str = "join";

    fn node_mut<'a>(state: &'a mut State, id: &NodeId) -> &'a mut Node {
        state.nodes.get_mut(id).unwrap()
    }

    /// A worker whose join was released to its key, and an errand that was.
    fn mk_released() -> (State, NodeId, Digest) {
        let mut state = mk_state();
        let (id, key) = (worker(&mut state, "w"), key_of("w"));
        let node = node_mut(&mut state, &id);
        node.attempt = 2;
        node.steps = vec![Step { released_to: Some(key), ..Step::waiting(Verb::JoinWorker) }];
        let errand = Errand {
            number: 7,
            cluster: CLUSTER.into(),
            kind: ErrandKind::UploadCertificates,
            custodian: id.clone(),
            state: ErrandState::Open,
            created_ms: NOW_MS,
            failures: 0,
            retry_at_ms: 0,
            released_to: Some(key),
        };
        state.errands.insert(7, errand);
        (state, id, key)
    }

    fn refused(change: impl FnOnce(&mut State, &NodeId)) {
        let (mut state, id, key) = mk_released();
        change(&mut state, &id);
        assert_eq!(sealing_key(&state, &id, 2, STEP, key), None);
    }

    #[test]
    fn what_was_released_goes_to_the_key_it_was_released_to() {
        let (state, id, key) = mk_released();
        assert_eq!(Verb::JoinWorker.step_id(), STEP);
        let sealing = state.nodes[&id].identity.sealing_key.clone();
        assert_eq!(sealing_key(&state, &id, 2, STEP, key), Some(sealing.clone()));
        assert_eq!(sealing_key(&state, &id, 0, "errand-7", key), Some(sealing));
        for (attempt, step, key) in [
            (1, STEP, key),
            (2, "ready", key),
            (2, STEP, key_of("another")),
            (0, "errand-7", key_of("another")),
            (0, "errand-8", key),
        ] {
            assert_eq!(sealing_key(&state, &id, attempt, step, key), None, "{attempt} {step}");
        }
        assert_eq!(sealing_key(&state, &NodeId::from("nobody"), 2, STEP, key), None);
    }

    #[test]
    fn what_was_not_released_or_is_over_goes_to_nobody() {
        refused(|state, id| node_mut(state, id).steps[0].released_to = None);
        refused(|state, id| node_mut(state, id).steps[0].state = StepState::Done);
        refused(|state, id| node_mut(state, id).locked = Some("why".into()));
        refused(|state, id| node_mut(state, id).identity.key = key_of("renewed"));
        refused(|state, id| drop(state.nodes.remove(id)));
        let (mut state, id, key) = mk_released();
        for change in [
            |errand: &mut Errand| errand.state = ErrandState::Done,
            |errand: &mut Errand| errand.custodian = "other".into(),
        ] {
            let before = state.errands[&7].clone();
            state.errands.entry(7).and_modify(change);
            assert_eq!(sealing_key(&state, &id, 0, "errand-7", key), None);
            state.errands.insert(7, before);
        }
        assert!(sealing_key(&state, &id, 0, "errand-7", key).is_some());
    }
}
