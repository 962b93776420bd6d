//! A conductor, agents and an operator that all do what is next: takes a state forward, and shows that it can go
//! forward.

use muster_state::{
    Bytes, ClusterId, Command, NodeId, State, TokenId, Verb,
    command::{
        CompleteErrand, ConfirmIdentity, ErrandOutcome, FreePermit, GrantPermit, Instruct, IssueCertificate,
        JudgePreflight, MintBootstrapToken, OpenErrand, Report, RetryNode, StepOutcome, Sweep, UnlockNode,
    },
    record::{
        BootstrapTokenState, Certificate, ErrandKind, EtcdMember, Node, Observation, PermitKind, Placement, Purpose,
        Role, Step, StepState, Verb as StepVerb,
    },
};

use super::{World, hello, secret, servers};

/// The next command for each node, errand and token that can move.
pub(crate) fn next(state: &State) -> Vec<Verb> {
    let nodes = state.nodes.values().filter_map(|node| next_for(state, node));
    let errands = state.errands.values().filter(|errand| errand.state == muster_state::record::ErrandState::Open);
    let reports = errands.map(|errand| {
        let members = matches!(errand.kind, ErrandKind::ListEtcdMembers(_)).then(|| vec![member("old", false)]);
        let outcome = ErrandOutcome::Done(members);
        CompleteErrand { number: errand.number, node: errand.custodian.clone(), outcome }.into()
    });
    let opened = state.clusters.keys().filter_map(|cluster| errand_for(state, cluster)).map(Verb::from);
    let sweep = Sweep::is_due(state, state.now_ms).then(|| Sweep {}.into());
    nodes.chain(reports).chain(opened).chain(servers::next(state)).chain(sweep).collect()
}

pub(crate) fn member(name: &str, learner: bool) -> EtcdMember {
    EtcdMember { id: format!("id-{name}"), name: name.into(), peer_urls: Vec::new(), learner }
}

/// What is next for one node.
pub(crate) fn next_for(state: &State, node: &Node) -> Option<Verb> {
    let id = node.id.clone();
    let place = node.placement().filter(|_| node.is_proven())?;
    if node.locked.is_some() {
        return Some(UnlockNode { node: id }.into());
    }
    if node.identity.certificate.is_none() {
        let certificate = Certificate { chain: vec![Bytes(vec![9])], not_after_ms: state.now_ms + 86_400_000 };
        return Some(IssueCertificate { node: id, key: node.identity.key, certificate }.into());
    }
    if !node.identity.confirmed {
        return Some(ConfirmIdentity { node: id, key: node.identity.key }.into());
    }
    if node.failure.is_some() && node.has_stopped() {
        return Some(RetryNode { node: id, automatic: false }.into());
    }
    if node.preflight.is_none() {
        return Some(hello(&id, node.facts.clone()).into());
    }
    match node.current_step() {
        Some(step) => at_step(state, node, place, step),
        None if !node.steps.is_empty() => None,
        None if !node.preflight_passed => {
            Some(JudgePreflight { node: id, revision: node.preflight_revision, problem: String::new() }.into())
        }
        None => begin(state, node, place),
    }
}

fn begin(state: &State, node: &Node, place: &Placement) -> Option<Verb> {
    let cluster = &state.clusters[&place.cluster];
    let id = node.id.clone();
    if !cluster.initialised {
        let permit = cluster.permit(PermitKind::Init);
        if place.role == Role::Worker {
            return None;
        }
        if permit.holder.as_ref() == Some(&id) && permit.attempt == node.attempt + 1 {
            let steps = vec![StepVerb::Init, StepVerb::Custodian, StepVerb::WaitReady];
            return Some(Instruct { node: id, steps, token: None }.into());
        }
        let mine = permit.holder.is_none() || permit.holder.as_ref() == Some(&id);
        return mine.then(|| GrantPermit { cluster: cluster.id.clone(), kind: PermitKind::Init, node: id }.into());
    }
    let token = node.bootstrap_token.as_ref().and_then(|token| state.bootstrap_tokens.get(token));
    match token.map(|token| (token, token.state)) {
        Some((_, BootstrapTokenState::Minted)) => None,
        Some((token, BootstrapTokenState::Present)) if token.is_live(state.now_ms) => {
            let steps = match place.role {
                Role::Worker => vec![StepVerb::JoinWorker, StepVerb::WaitReady],
                Role::ControlPlane => {
                    vec![StepVerb::JoinPrepare, StepVerb::JoinEtcd, StepVerb::JoinFinish, StepVerb::WaitReady]
                }
            };
            Some(Instruct { node: id, steps, token: Some(token.id.clone()) }.into())
        }
        Some((_, BootstrapTokenState::Present)) => None,
        Some((_, BootstrapTokenState::Ending | BootstrapTokenState::Deleted)) | None => Some(mint(state, node, place)),
    }
}

fn mint(state: &State, node: &Node, place: &Placement) -> Verb {
    // One that was never there, as if it were minted at random: not every change is an event.
    let mut fresh = (state.last_event..).map(|number| TokenId(format!("b{}-{number}", node.id)));
    let id = fresh.find(|id| !state.bootstrap_tokens.contains_key(id)).unwrap_or_else(|| "none".into());
    // Under the data key of now: the first one may have ended.
    let newest = state.fleet.as_ref().and_then(|fleet| fleet.epochs.keys().next_back().copied());
    let mut sealed = secret(8);
    sealed.sealed.epoch = newest.unwrap_or(sealed.sealed.epoch);
    MintBootstrapToken {
        id,
        cluster: place.cluster.clone(),
        purpose: Purpose::Node(node.id.clone()),
        secret: sealed,
        ttl_ms: 900_000,
    }
    .into()
}

fn at_step(state: &State, node: &Node, place: &Placement, step: &Step) -> Option<Verb> {
    if step.state == StepState::Waiting && !state.may_run(node, step.verb) {
        let kind = step.verb.permit()?;
        let permit = state.clusters[&place.cluster].permit(kind);
        let mine = permit.holder.is_none() || permit.holder.as_ref() == Some(&node.id);
        let (cluster, node) = (place.cluster.clone(), node.id.clone());
        return mine.then(|| GrantPermit { cluster, kind, node }.into());
    }
    let outcome = if step.state == StepState::Waiting {
        StepOutcome::Running { phase: "preflight".into(), observation: None }
    } else {
        let members = (step.verb == StepVerb::JoinEtcd).then(|| vec![member(place.name.as_str(), false)]);
        let observation = Observation { found: true, ready: true, ..Observation::default() };
        StepOutcome::Succeeded { members, observation: Some(observation) }
    };
    Some(report(node, step.verb, outcome).into())
}

pub(crate) fn report(node: &Node, step: StepVerb, outcome: StepOutcome) -> Report {
    let step = step.step_id().to_owned();
    Report { node: node.id.clone(), attempt: node.attempt, step, outcome, elapsed_ms: 1_000 }
}

/// What a custodian is to do next in a cluster.
pub(crate) fn errand_for(state: &State, cluster: &ClusterId) -> Option<OpenErrand> {
    let custodian = state.custodian(cluster)?;
    let permit = state.clusters[cluster].permit(PermitKind::EtcdJoin);
    let evidence = permit.holder.filter(|_| permit.evidence_wanted).map(ErrandKind::ListEtcdMembers);
    let of = |wanted: BootstrapTokenState| -> Vec<TokenId> {
        let tokens = state.bootstrap_tokens.values().filter(|token| token.cluster == *cluster && token.state == wanted);
        tokens.map(|token| token.id.clone()).collect()
    };
    let single = |kind: fn(Vec<TokenId>) -> ErrandKind, wanted| of(wanted).into_iter().map(move |id| kind(vec![id]));
    let kinds = evidence
        .into_iter()
        .chain(single(ErrandKind::ApplyTokens, BootstrapTokenState::Minted))
        .chain(single(ErrandKind::DeleteTokens, BootstrapTokenState::Ending));
    let mut kinds = kinds.filter(|kind| state.errand_in_the_way(cluster, kind, &custodian.id, state.now_ms).is_none());
    Some(OpenErrand { cluster: cluster.clone(), kind: kinds.next()?, custodian: custodian.id.clone() })
}

impl World {
    /// Everybody does what is next until nothing moves any more. An operator frees a permit of which no evidence can
    /// come because no custodian is left.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        for _ in 0..400 {
            let mut moves = next(&self.state);
            if moves.is_empty() {
                moves = self.freed().map(Verb::from).into_iter().collect();
            }
            let before = self.state.clone();
            for verb in moves {
                // One may make another needless; that is no harm.
                let _ = self.command(Command { request: None, verb });
            }
            self.now_ms += 1_000;
            let idle = before == self.state;
            if idle && self.waits_for_time() {
                self.now_ms += 600_000;
            } else if idle {
                return;
            }
        }
        panic!("the fleet does not come to rest: {:?}", next(&self.state));
    }

    fn waits_for_time(&self) -> bool {
        let live = |token: &&muster_state::record::BootstrapToken| match token.state {
            BootstrapTokenState::Minted | BootstrapTokenState::Ending => true,
            BootstrapTokenState::Present => matches!(token.purpose, Purpose::Node(_)),
            BootstrapTokenState::Deleted => false,
        };
        let with_custodian = |cluster: &ClusterId| self.state.custodian(cluster).is_some();
        self.state.bootstrap_tokens.values().filter(live).any(|token| with_custodian(&token.cluster))
    }

    fn freed(&self) -> Option<FreePermit> {
        self.state.clusters.values().find_map(|cluster| {
            let permit = cluster.permit(PermitKind::EtcdJoin);
            let stuck = permit.evidence_wanted && self.state.custodian(&cluster.id).is_none();
            let (cluster, kind) = (cluster.id.clone(), PermitKind::EtcdJoin);
            let reason = "no custodian is left".into();
            Some(FreePermit { cluster, kind, holder: permit.holder.filter(|_| stuck)?, reason })
        })
    }

    /// Takes one node forward until it is Ready.
    #[track_caller]
    pub(crate) fn node(&self, id: &NodeId) -> &Node {
        &self.state.nodes[id]
    }

    /// Applies what is next for a node until its current step is this one and may run.
    #[track_caller]
    pub(crate) fn advance_to(&mut self, id: &NodeId, step: StepVerb) {
        for _ in 0..100 {
            let node = self.node(id);
            let at = node.current_step().is_some_and(|at| at.verb == step);
            if at && self.state.may_run(node, step) {
                return;
            }
            let own = next_for(&self.state, node);
            let others = next(&self.state)
                .into_iter()
                .filter(|verb| matches!(verb, Verb::OpenErrand(_) | Verb::CompleteErrand(_)));
            let moves: Vec<Verb> = own.into_iter().chain(others).collect();
            assert!(!moves.is_empty(), "{id} is stuck at {} before {}", self.node(id).message, step.step_id());
            for verb in moves {
                let _ = self.command(Command { request: None, verb });
            }
            self.now_ms += 1_000;
        }
        panic!("{id} never comes to {}", step.step_id());
    }

    /// Reports the end of a node's current step.
    pub(crate) fn report(&mut self, id: &NodeId, outcome: StepOutcome) {
        let node = self.node(id);
        let step = node.current_step().expect("a current step").verb;
        let report = report(node, step, outcome);
        self.done(report);
    }
}

/// A failure as an agent reports it.
pub(crate) fn failure(cause: &str, clean: bool) -> StepOutcome {
    StepOutcome::Failed { cause: cause.into(), message: "it did not work".into(), clean }
}
