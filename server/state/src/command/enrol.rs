use serde::{Deserialize, Serialize};

use crate::{
    Bytes, Digest, NodeId, NodeName, Phase, Refusal, State, TokenId,
    facts::Facts,
    limits,
    record::{
        Admission, Assurance, Certificate, EnrolmentToken, Identity, Node, Placement, Role, Standing, Suggestion,
        TokenStanding,
    },
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
    /// The stored answer, if its certificate was issued before.
    pub certificate: Option<Certificate>,
    /// Why it waits.
    pub message: String,
}

impl Enrol {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<Enrolled, Refusal> {
        let known = state.node_by_key(&self.key).map(|node| node.id.clone());
        let id = match known {
            Some(id) => self.again(state, context, id)?,
            None => self.first_time(state, context)?,
        };
        let node = state.node(&id)?;
        let admitted = node.placement().is_some();
        Ok(Enrolled { admitted, certificate: node.identity.certificate.clone(), message: node.message.clone(), node: id })
    }

    /// The same key again: the same stored answer until the certificate is used, and nothing after a denial.
    fn again(self, state: &mut State, context: Context, id: NodeId) -> Result<NodeId, Refusal> {
        let node = state.node(&id)?;
        if let Some(reason) = &node.locked {
            return Err(Refusal::Locked(reason.clone()));
        }
        match &node.standing {
            Standing::Denied(reason) => return Err(Refusal::Denied(reason.clone())),
            Standing::Admitted(_) if node.identity.confirmed => return Err(Refusal::AlreadyEnrolled),
            Standing::Admitted(_) if node.identity.sealing_key != self.sealing_key => {
                return Err(Refusal::SeenDiffers { what: "the sealing key".into() });
            }
            Standing::Admitted(_) => return Ok(id),
            Standing::Pending { .. } => {}
        }
        // Still in the queue: it may come with a token now, and what an approver saw may have changed.
        let decision = self.decide(state, context, Some(&id))?;
        let Some(node) = state.nodes.get_mut(&id) else { return Err(Refusal::not_found("node", id)) };
        if node.facts != self.facts || node.identity.sealing_key != self.sealing_key || node.identity.csr != self.csr {
            node.facts = self.facts;
            node.identity.sealing_key = self.sealing_key;
            node.identity.csr = self.csr;
            node.facts_revision += 1;
        }
        if let Some((standing, token)) = decision {
            if matches!(standing, Standing::Admitted(_)) || token.is_some() {
                node.standing = standing;
            }
            if token.is_some() {
                node.enrolment_token = token;
            }
        }
        node.last_seen_ms = context.now_ms;
        settle(state, &id);
        Ok(id)
    }

    fn first_time(self, state: &mut State, context: Context) -> Result<NodeId, Refusal> {
        let decision = self.decide(state, context, None)?;
        let (standing, enrolment_token) = match decision {
            Some(decision) => decision,
            None => (Standing::Pending { suggested: None, from: self.from.clone() }, None),
        };
        if matches!(standing, Standing::Pending { .. }) {
            check_queue(state, &self.from)?;
        }
        let id = self.candidate.clone();
        let node = Node {
            id: id.clone(),
            created_ms: context.now_ms,
            facts: self.facts,
            facts_revision: 1,
            identity: Identity {
                generation: 1,
                key: self.key,
                csr: self.csr,
                sealing_key: self.sealing_key,
                certificate: None,
                confirmed: false,
                next: None,
                previous: Vec::new(),
            },
            standing,
            enrolment_token,
            phase: Phase::Discovered,
            message: String::new(),
            timeline: Vec::new(),
            locked: None,
            preflight: None,
            preflight_revision: 0,
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
            revision: 0,
        };
        state.nodes.insert(id.clone(), node);
        settle(state, &id);
        Ok(id)
    }

    /// Where the machine may go, and the token it spent. `None`: nothing new is known of it.
    /// All checks come before the first change, which is the token's use.
    fn decide(
        &self,
        state: &mut State,
        context: Context,
        known: Option<&NodeId>,
    ) -> Result<Option<(Standing, Option<TokenId>)>, Refusal> {
        let node = known.unwrap_or(&self.candidate);
        let spent = known.and_then(|id| state.nodes.get(id)?.enrolment_token.clone());
        let Some((token, sha256)) = self.token.as_ref().filter(|(token, _)| spent.as_ref() != Some(token)) else {
            return Ok(known.is_none().then(|| (self.pending(suggest(state, &self.facts)), None)));
        };
        let record = state.enrolment_tokens.get(token).filter(|record| record.sha256 == *sha256);
        let Some(record) = record else { return Err(Refusal::TokenUnknown) };
        check_token(record, context.now_ms)?;
        let standing = self.standing_for(state, record, node)?;
        let Some(record) = state.enrolment_tokens.get_mut(token) else { return Err(Refusal::TokenUnknown) };
        record.used_by.push(node.clone());
        let cluster = record.cluster.clone();
        state.event(false, "TokenUsed", format!("enrolment token {token} was used"), Some(cluster), Some(node.clone()));
        Ok(Some((standing, Some(token.clone()))))
    }

    fn standing_for(&self, state: &State, token: &EnrolmentToken, id: &NodeId) -> Result<Standing, Refusal> {
        let mismatch = |problem: String| Refusal::TokenMismatch { token: token.id.clone(), problem };
        let cluster = state.cluster(&token.cluster)?;
        let Some(pool) = cluster.spec.pool(&token.pool) else {
            return Err(mismatch(format!("its pool {:?} is no more", token.pool)));
        };
        let wanted = self.facts.wanted_role.as_str();
        if !wanted.is_empty() && wanted != "auto" && wanted != pool.role.to_string() {
            return Err(mismatch(format!("it is for a {}, the machine asks for {wanted}", pool.role)));
        }
        if !token.selector.admits(&self.facts) {
            return Err(mismatch("the machine is not the one its selector names".into()));
        }
        let named = token.node_name.as_ref().and_then(|name| cluster.spec.named_node(name)).map(|(_, node)| node);
        if named.is_some_and(|node| !node.selector.admits(&self.facts)) {
            return Err(mismatch("the machine is not the one the cluster file names for this node".into()));
        }
        let asked = self.facts.wanted_node_name.as_str();
        if let Some(name) = token.node_name.as_ref().filter(|name| !asked.is_empty() && asked != name.as_str()) {
            return Err(mismatch(format!("it is bound to node {name}, the machine asks for {asked:?}")));
        }
        let suggestion =
            Suggestion { cluster: token.cluster.clone(), pool: pool.name.clone(), name: token.node_name.clone() };
        // Same hardware under new keys is a planned re-join, or a clone: nothing moves before an operator looks.
        if duplicate_of(state, &self.facts, id).is_some() {
            return Ok(self.pending(Some(suggestion)));
        }
        let (name, assurance) = match (pool.admission, &token.node_name, pool.role) {
            (Admission::Bound, Some(name), _) => (name.clone(), Assurance::Bound),
            (Admission::Token, Some(name), Role::Worker) => (name.clone(), Assurance::Bound),
            (Admission::Token, None, Role::Worker) => (free_name(state, token, pool, &self.facts, id), Assurance::Token),
            (Admission::Approve | Admission::Bound | Admission::Token, _, _) => return Ok(self.pending(Some(suggestion))),
        };
        if let Some(holder) = state.node_named(&token.cluster, &name) {
            return Err(Refusal::NameTaken { name, holder: holder.id.to_string() });
        }
        let (cluster, pool, role) = (token.cluster.clone(), pool.name.clone(), pool.role);
        Ok(Standing::Admitted(Placement { cluster, pool, role, name, assurance }))
    }

    fn pending(&self, suggested: Option<Suggestion>) -> Standing {
        Standing::Pending { suggested, from: self.from.clone() }
    }
}

fn check_token(token: &EnrolmentToken, now_ms: u64) -> Result<(), Refusal> {
    match token.standing(now_ms) {
        TokenStanding::Live => Ok(()),
        TokenStanding::Spent => Err(Refusal::TokenSpent(token.id.clone())),
        TokenStanding::Expired => Err(Refusal::TokenExpired(token.id.clone())),
        TokenStanding::Revoked => Err(Refusal::TokenRevoked(token.id.clone())),
    }
}

fn check_queue(state: &State, from: &str) -> Result<(), Refusal> {
    let pending = state.nodes.values().filter_map(|node| match &node.standing {
        Standing::Pending { from, .. } => Some(from),
        Standing::Admitted(_) | Standing::Denied(_) => None,
    });
    let (mut all, mut same) = (0, 0);
    for address in pending {
        all += 1;
        same += usize::from(address == from);
    }
    if all >= limits::PENDING_MAX {
        return Err(Refusal::Full { what: "machines that wait for approval".into(), limit: limits::PENDING_MAX as u64 });
    }
    if same >= limits::PENDING_PER_ADDRESS_MAX {
        let what = format!("machines from {from} that wait for approval");
        return Err(Refusal::Full { what, limit: limits::PENDING_PER_ADDRESS_MAX as u64 });
    }
    Ok(())
}

/// Another node of the same hardware: what is the same, and which node.
pub(super) fn duplicate_of<'a>(state: &'a State, facts: &Facts, id: &NodeId) -> Option<(&'static str, &'a Node)> {
    state.nodes.values().filter(|node| node.id != *id && !matches!(node.standing, Standing::Denied(_))).find_map(|node| {
        let same = |a: &str, b: &str| !a.is_empty() && a.eq_ignore_ascii_case(b);
        if same(&facts.uuid, &node.facts.uuid) {
            Some(("UUID", node))
        } else if same(&facts.serial, &node.facts.serial) && same(&facts.product, &node.facts.product) {
            Some(("serial number", node))
        } else if facts.macs.iter().any(|mac| node.facts.macs.iter().any(|other| same(mac, other))) {
            Some(("MAC address", node))
        } else {
            None
        }
    })
}

/// The record that these claims select, for the approver's convenience. Grants nothing.
fn suggest(state: &State, facts: &Facts) -> Option<Suggestion> {
    state.clusters.values().find_map(|cluster| {
        let suggestion = |pool: &str, name: Option<NodeName>| {
            Suggestion { cluster: cluster.id.clone(), pool: pool.to_owned(), name }
        };
        cluster.spec.pools.iter().find_map(|pool| {
            let named = pool.nodes.iter().find(|node| !node.selector.is_empty() && node.selector.admits(facts));
            named.map(|node| suggestion(&pool.name, Some(node.name.clone()))).or_else(|| {
                (!pool.selector.is_empty() && pool.selector.admits(facts)).then(|| suggestion(&pool.name, None))
            })
        })
    })
}

/// A worker's name under a pool token: the operator's for this hardware, else one made from pool and id. The claimed
/// host name is not used: a name must never come from a claim.
fn free_name(
    state: &State,
    token: &EnrolmentToken,
    pool: &crate::record::Pool,
    facts: &Facts,
    id: &NodeId,
) -> NodeName {
    let listed = pool.nodes.iter().find(|node| {
        !node.selector.is_empty() && node.selector.admits(facts) && state.node_named(&token.cluster, &node.name).is_none()
    });
    if let Some(node) = listed {
        return node.name.clone();
    }
    NodeName::made(&pool.name, id)
}

fn settle(state: &mut State, id: &NodeId) {
    state.touch(id);
    let Ok(node) = state.node(id) else { return };
    let pending = matches!(node.standing, Standing::Pending { .. });
    let duplicate = duplicate_of(state, &node.facts, id).map(|(what, other)| (what, other.label()));
    if let Some((what, other)) = duplicate.filter(|_| pending) {
        let reason = Refusal::DuplicateHardware { what: what.into(), other }.to_string();
        if let Some(node) = state.nodes.get_mut(id) {
            node.message.clone_from(&reason);
        }
        state.node_event(true, "DuplicateHardware", reason, id);
    }
}
