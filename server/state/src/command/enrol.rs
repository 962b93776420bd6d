use serde::{Deserialize, Serialize};

mod admission;
mod hardware;
mod queue;

pub(super) use hardware::duplicates_of;

use crate::{
    Bytes, Digest, NodeId, Phase, Refusal, State, TokenId,
    facts::Facts,
    limits,
    record::{Certificate, Identity, Node, Standing},
    state::Context,
};

/// Redeems a credential *and* binds a machine to its keys, in one step: single use is decided here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// Id for the machine if it is new, minted by the proposer.
    pub candidate: NodeId,
    /// Public id of the token and SHA-256 of the whole token, if one was shown.
    pub token: Option<(TokenId, Digest)>,
    /// SHA-256 of the identity key's SPKI.
    pub key: Digest,
    /// PKCS#10, DER; its signature was checked at the edge.
    pub csr: Bytes,
    /// HPKE public key.
    pub sealing_key: Bytes,
    /// What it claims.
    pub facts: Facts,
    /// Address it came from.
    pub from: String,
}

/// What the machine may be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Its id.
    pub node: NodeId,
    /// It is let in: a certificate may be issued.
    pub admitted: bool,
    /// The stored answer, if its certificate was issued before and has not run out.
    pub certificate: Option<Certificate>,
    /// Why it waits.
    pub message: String,
}

/// What is decided about a machine, before anything is changed.
struct Decision {
    standing: Standing,
    /// The token whose use this costs.
    redeems: Option<TokenId>,
}

impl Enrol {
    pub(super) fn apply(mut self, state: &mut State, context: Context) -> Result<Enrolled, Refusal> {
        if self.csr.0.len() > limits::CSR_MAX {
            return Err(Refusal::invalid("csr", format!("is longer than {} bytes", limits::CSR_MAX)));
        }
        self.facts = self.facts.bounded();
        self.from = limits::clip_to(&self.from, limits::CLAIM_MAX);
        let known = state.index.by_key(&self.key).cloned();
        let id = match known {
            Some(id) => self.again(state, context, id)?,
            None => self.first_time(state, context)?,
        };
        let node = state.node(&id)?;
        let certificate = node.identity.certificate.clone().filter(|issued| context.now_ms < issued.not_after_ms);
        Ok(Enrolled { admitted: node.placement().is_some(), certificate, message: node.message.clone(), node: id })
    }

    /// The same key again: the same stored answer until the certificate is used, and nothing after a denial.
    fn again(self, state: &mut State, context: Context, id: NodeId) -> Result<NodeId, Refusal> {
        let node = state.node(&id)?;
        if let Some(reason) = &node.locked {
            return Err(Refusal::Locked(reason.clone()));
        }
        let identity = &node.identity;
        match &node.standing {
            Standing::Denied(reason) => Err(Refusal::Denied(reason.clone())),
            // A key of a renewal never was enrolled, and one of an earlier generation is a copy.
            Standing::Admitted(_) if identity.confirmed || identity.key != self.key => Err(Refusal::AlreadyEnrolled),
            Standing::Admitted(_) if identity.sealing_key != self.sealing_key => {
                Err(Refusal::SeenDiffers { what: "the sealing key".into() })
            }
            Standing::Admitted(_) => Ok(id),
            Standing::Pending { .. } => self.queued(state, context, id),
        }
    }

    /// Still in the queue: it may come with a token now, and what an approver saw may have changed.
    fn queued(self, state: &mut State, context: Context, id: NodeId) -> Result<NodeId, Refusal> {
        let node = state.node(&id)?;
        let Decision { standing, redeems } = self.decide(state, context, Some(node))?;
        redeem(state, redeems.as_ref(), &id);
        let (before, has_moved) = state.change_node(&id, |node| {
            node.last_seen_ms = context.now_ms;
            node.enrolment_token = redeems.or(node.enrolment_token.take());
            let seen_differs = self.is_seen_differently(node);
            if seen_differs {
                node.facts = self.facts;
                node.identity.sealing_key = self.sealing_key;
                node.identity.csr = self.csr;
                node.facts_revision += 1;
            }
            let before = std::mem::replace(&mut node.standing, standing);
            let moved = before != node.standing;
            (before, moved || seen_differs)
        })?;
        // A machine that only asks again wakes nobody.
        if has_moved {
            warn_of_conflict(state, &id, Some(&before));
            state.touch(&id);
        }
        Ok(id)
    }

    /// An approver would see something else than before.
    fn is_seen_differently(&self, node: &Node) -> bool {
        let identity = &node.identity;
        node.facts != self.facts || identity.sealing_key != self.sealing_key || identity.csr != self.csr
    }

    fn first_time(self, state: &mut State, context: Context) -> Result<NodeId, Refusal> {
        if state.nodes.contains_key(&self.candidate) {
            return Err(Refusal::Exists { kind: "node".into(), name: self.candidate.to_string() });
        }
        let Decision { standing, redeems } = self.decide(state, context, None)?;
        if matches!(standing, Standing::Pending { .. }) {
            queue::check(state, &self.from)?;
        }
        redeem(state, redeems.as_ref(), &self.candidate);
        let id = self.candidate.clone();
        state.put_node(self.record(context, standing, redeems));
        warn_of_conflict(state, &id, None);
        state.touch(&id);
        Ok(id)
    }

    fn record(self, context: Context, standing: Standing, enrolment_token: Option<TokenId>) -> Node {
        let identity = Identity {
            generation: 1,
            key: self.key,
            csr: self.csr,
            sealing_key: self.sealing_key,
            certificate: None,
            confirmed: false,
            next: None,
            previous: Vec::new(),
        };
        Node {
            id: self.candidate,
            created_ms: context.now_ms,
            facts: self.facts,
            facts_revision: 1,
            identity,
            standing,
            enrolment_token,
            phase: Phase::Discovered,
            message: String::new(),
            timeline: Vec::new(),
            locked: None,
            preflight: None,
            preflight_revision: 0,
            preflight_judged: 0,
            preflight_passed: false,
            boot_id: String::new(),
            agent_version: String::new(),
            rehearsed: false,
            last_seen_ms: context.now_ms,
            attempt: 0,
            steps: Vec::new(),
            failure: None,
            failures: 0,
            bootstrap_token: None,
            observation: None,
            missed_errands: 0,
            attached: None,
            api: None,
            requests: Vec::new(),
            revision: 0,
        }
    }
}

/// Takes one use off the token. All checks are made by now, in the same command: that makes a use a single one.
fn redeem(state: &mut State, token: Option<&TokenId>, node: &NodeId) {
    let Some(record) = token.and_then(|token| state.enrolment_tokens.get_mut(token)) else { return };
    record.used_by.push(node.clone());
    let (cluster, text) = (record.cluster.clone(), format!("enrolment token {} was used", record.id));
    state.event(false, "TokenUsed", text, Some(cluster), Some(node.clone()));
}

/// Says once that hardware of the same marks is here already.
fn warn_of_conflict(state: &mut State, id: &NodeId, before: Option<&Standing>) {
    let conflict = |standing: &Standing| match standing {
        Standing::Pending { conflict, .. } => conflict.clone(),
        Standing::Admitted(_) | Standing::Denied(_) => None,
    };
    let now = state.nodes.get(id).and_then(|node| conflict(&node.standing));
    if let Some(reason) = now.filter(|now| before.and_then(conflict).as_ref() != Some(now)) {
        state.node_event(true, "DuplicateHardware", reason, id);
    }
}
