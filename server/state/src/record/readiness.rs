//! How far a node's join is: what follows from its steps and from what is known of it.

use super::{Node, StepState, Verb};

impl Node {
    /// All steps of its attempt that join it (all but waiting for Ready) are done.
    pub fn has_joined(&self) -> bool {
        self.steps.iter().any(|step| step.verb.makes_member())
            && self.steps.iter().all(|step| step.state == StepState::Done || step.verb == Verb::WaitReady)
    }

    /// Nothing of its attempt goes on after a failure: the attempt is over, or rests at the step that failed.
    pub fn has_stopped(&self) -> bool {
        self.steps.is_empty() || self.current_step().is_some_and(|step| step.state == StepState::Failed)
    }

    /// Admitted, holding a key of this fleet, judged fit, nothing under way and nothing held against it.
    pub fn may_begin(&self) -> bool {
        self.placement().is_some()
            && self.is_proven()
            && self.locked.is_none()
            && self.preflight_passed
            && self.steps.is_empty()
            && self.failure.is_none()
    }

    /// The cluster has a Ready Node of its name although it has not joined: kubeadm would refuse it.
    pub fn finds_its_name_taken(&self) -> bool {
        let seen = self.api.as_ref().and_then(|witnessed| witnessed.node.as_ref());
        self.steps.is_empty() && seen.is_some_and(|node| node.ready)
    }
}
