//! Where a node is and why: a pure function of the records, so that no verb has to remember to say it.

use crate::{
    ClusterId, Phase, State, limits,
    record::{LinkCondition, Node, PermitKind, Standing, Step, StepState},
};

impl State {
    /// The phase of a node and a sentence on what it waits for.
    pub fn whereabouts(&self, node: &Node) -> (Phase, String) {
        let (phase, message) = self.judge(node);
        (phase, limits::clip(&message))
    }

    fn judge(&self, node: &Node) -> (Phase, String) {
        if let Some(reason) = &node.locked {
            return (
                Phase::Locked,
                format!("{reason}; see `muster describe node`, then `muster node unlock {}`", node.id),
            );
        }
        let place = match &node.standing {
            Standing::Denied(reason) => return (Phase::Denied, reason.clone()),
            Standing::Pending { conflict: Some(conflict), .. } => return (Phase::PendingApproval, conflict.clone()),
            Standing::Pending { .. } => {
                let text = format!("compare the fingerprint, then `muster node approve {}`", node.id);
                return (Phase::PendingApproval, text);
            }
            Standing::Admitted(_) if !node.is_proven() => return node.while_unproven(),
            Standing::Admitted(place) => place,
        };
        if let Some(failure) = node.failure.as_ref().filter(|_| node.has_stopped()) {
            let next =
                if failure.retry_at_ms == 0 { "; `muster node retry` starts again" } else { "; retried by itself" };
            return (Phase::Failed, format!("{} in {}: {}{next}", failure.cause, failure.step, failure.message));
        }
        if node.steps.is_empty() {
            return self.before_instruction(node, &place.cluster);
        }
        match node.current_step() {
            None => seen_by_api(node),
            Some(step) => self.at_step(node, &place.cluster, step),
        }
    }

    fn at_step(&self, node: &Node, cluster: &ClusterId, step: &Step) -> (Phase, String) {
        // A step that runs is shown as running, even if an operator gave its permit away meanwhile.
        if step.state == StepState::Waiting && !self.may_run(node, step.verb) {
            return match step.verb.permit() {
                Some(PermitKind::Init) => (Phase::WaitingForInit, self.permit_holder(cluster, PermitKind::Init)),
                Some(PermitKind::EtcdJoin) | None => {
                    if let Some(hindrance) = self.etcd_hindrance(cluster, node) {
                        return (Phase::WaitingForEtcdPermit, hindrance);
                    }
                    let holder = self.permit_holder(cluster, PermitKind::EtcdJoin);
                    (Phase::WaitingForEtcdPermit, format!("etcd is joined one at a time; {holder}"))
                }
            };
        }
        let seen = node.observation.as_ref().map(|seen| seen.message.as_str());
        let seen = seen.filter(|message| !message.is_empty() && step.verb.phase() == Phase::WaitingForNodeReady);
        let detail = seen.unwrap_or(&step.phase);
        let separator = if detail.is_empty() { "" } else { ": " };
        (step.verb.phase(), format!("step {}{separator}{detail}", step.verb.step_id()))
    }

    fn before_instruction(&self, node: &Node, cluster: &ClusterId) -> (Phase, String) {
        let Some(preflight) = &node.preflight else {
            return (Phase::Approved, "admitted; its agent has not attached yet".into());
        };
        if !node.preflight_passed {
            let fatal = preflight.findings.iter().find(|finding| finding.fatal);
            let why = fatal.map_or("being judged".into(), |finding| format!("{}: {}", finding.check, finding.message));
            return (Phase::Preflight, why);
        }
        if !self.clusters.get(cluster).is_some_and(|cluster| cluster.initialised) {
            return (Phase::WaitingForInit, "its cluster has no control plane yet".into());
        }
        if node.finds_its_name_taken() {
            let text = format!(
                "its name is taken: the cluster has a Ready Node {}; if it is an old one, `kubectl delete node` or wait until it is NotReady",
                node.label()
            );
            return (Phase::Preflight, text);
        }
        let token = node.bootstrap_token.as_ref().and_then(|id| self.bootstrap_tokens.get(id));
        if let Some((id, differs)) = token.and_then(|token| Some((&token.id, token.differs?))) {
            return (Phase::WaitingForCustodian, format!("bootstrap token {id}: {}", differs.sentence()));
        }
        let link = self.clusters.get(cluster).filter(|cluster| !cluster.spec.secrets_by_custodian());
        let message = match link.map(|cluster| cluster.link.as_ref()) {
            Some(Some(link)) if link.condition != LinkCondition::Connected => {
                format!("the link to the cluster's API is {:?}: {}", link.condition, link.message)
            }
            Some(_) => "its token is made through the cluster's API".into(),
            None if self.custodians(cluster).next().is_some() => "a custodian makes its token".into(),
            None => "no joined control plane with an agent can make its token".into(),
        };
        (Phase::WaitingForCustodian, message)
    }

    fn permit_holder(&self, cluster: &ClusterId, kind: PermitKind) -> String {
        let held = self.clusters.get(cluster).and_then(|cluster| cluster.permit(kind).holder);
        held.map_or("it is next".into(), |id| {
            format!("now: {}", self.nodes.get(&id).map_or_else(|| id.to_string(), Node::label))
        })
    }
}

/// Joined and reported as Ready by its agent. Where the cluster's own API says something, that counts.
fn seen_by_api(node: &Node) -> (Phase, String) {
    match node.api.as_ref().map(|witnessed| &witnessed.node) {
        None => (Phase::Ready, "joined and Ready".into()),
        Some(Some(seen)) if seen.ready => (Phase::Ready, "joined and Ready".into()),
        Some(Some(seen)) => (Phase::WaitingForNodeReady, format!("its Node is NotReady: {}", seen.message)),
        Some(None) => (Phase::WaitingForNodeReady, "its Node is gone from the cluster".into()),
    }
}
