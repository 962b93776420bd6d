//! The clients' operations as Muster's own commands, and its replies as answers; and what must be there before they begin.

use std::collections::BTreeMap;

use muster_state::command::{
    CreateCluster, CreateEnrolmentToken, Enrol, FoundFleet, FreePermit, GrantPermit, JudgePreflight, RecordHello,
    RecordTokenMisuse, RevokeToken, UpdateCluster,
};
use muster_state::facts::{Facts, Preflight, Selector};
use muster_state::record::{Admission, ClusterSpec, Origin, PermitKind, Pool, Role, SealedSecret};
use muster_state::{
    Bytes, ClusterId, Command, Digest, NodeId, NodeName, Refusal, Reply, Request, Sealed, State, TokenId, Verb,
};

use super::objects::{Answer, Ask, Object, Value};

/// Machines that hold each token, and nodes that compete for each permit.
pub const RIVALS: u32 = 3;

/// How many objects of each kind there are.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Permits.
    pub permits: u32,
    /// Registers.
    pub registers: u32,
    /// Counters.
    pub counters: u32,
}

/// Longer than any run, whatever is done to clocks.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// The cluster that the machines of all tokens join.
const TOKENS_CLUSTER: &str = "tokens";

fn permit_cluster(number: u32) -> String {
    format!("permit-{number}")
}

fn register_cluster(number: u32) -> String {
    format!("register-{number}")
}

/// A digest that nothing else has.
fn digest(kind: &str, number: u32, part: u32) -> Digest {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes[4..8].copy_from_slice(&part.to_be_bytes());
    bytes.iter_mut().skip(8).zip(kind.bytes()).for_each(|(byte, of_kind)| *byte = of_kind);
    Digest(bytes)
}

fn machine_id(token: u32, machine: u32) -> NodeId {
    NodeId(format!("machine-{token}-{machine}"))
}

fn candidate_id(permit: u32, node: u32) -> NodeId {
    NodeId(format!("candidate-{permit}-{node}"))
}

/// The last number of an id.
fn last_number(id: &NodeId) -> Option<u32> {
    id.as_str().rsplit('-').next()?.parse().ok()
}

fn token_id(number: u32) -> TokenId {
    TokenId(format!("token-{number}"))
}

fn dead_token_id(number: u32) -> TokenId {
    TokenId(format!("dead-{number}"))
}

/// A command that a leader proposes, with a mark by which its event is found.
#[must_use]
pub fn fenced(mark: &str) -> Command {
    let verb = mint(TokenId(mark.to_owned()), TOKENS_CLUSTER, "workers", None, digest("fenced", 0, 0)).into();
    Command { request: None, verb }
}

/// The mark in the event of such a command.
#[must_use]
pub fn fenced_mark(message: &str) -> Option<&str> {
    let mark = message.strip_prefix("enrolment token ")?.split(' ').next()?;
    mark.starts_with("fenced-").then_some(mark)
}

/// The command for an operation; none for a look.
#[must_use]
pub fn command(object: Object, ask: Ask, request: Option<Request>) -> Option<Command> {
    let verb: Verb = match (object, ask) {
        (Object::Token(number), Ask::Mint) => {
            mint(token_id(number), TOKENS_CLUSTER, "workers", None, digest("token", number, 0)).into()
        }
        (Object::Token(number), Ask::Redeem { machine }) => {
            let token = (token_id(number), digest("token", number, 0));
            enrol(machine_id(number, machine), digest("machine", number, machine), token).into()
        }
        (Object::Permit(number), Ask::Grant { node }) => {
            let cluster = ClusterId(permit_cluster(number));
            GrantPermit { cluster, kind: PermitKind::Init, node: candidate_id(number, node) }.into()
        }
        (Object::Permit(number), Ask::Free { node }) => {
            let (cluster, holder) = (ClusterId(permit_cluster(number)), candidate_id(number, node));
            FreePermit { cluster, kind: PermitKind::Init, holder, reason: String::new() }.into()
        }
        (Object::Register(number), Ask::Replace { seen, value }) => {
            let name = register_cluster(number);
            UpdateCluster { id: ClusterId(name.clone()), revision: seen, spec: spec(&name, value) }.into()
        }
        (Object::Counter(number), Ask::Add { serial }) => RecordTokenMisuse {
            token: dead_token_id(number),
            sha256: digest("dead", number, 0),
            key: digest("serial", serial, 0),
            from: "192.0.2.9".into(),
        }
        .into(),
        _ => return None,
    };
    Some(Command { request, verb })
}

/// What a reply answers; `None` for one that no operation of these may get.
#[must_use]
pub fn answer(reply: &Result<Reply, Refusal>) -> Option<Answer> {
    Some(match reply {
        Ok(Reply::UpdateCluster(revision)) => Answer::Revision(*revision),
        Ok(Reply::Enrol(enrolled)) => enrolled.admitted.then_some(Answer::Done)?,
        Ok(_) => Answer::Done,
        Err(Refusal::Exists { .. }) => Answer::Exists,
        Err(Refusal::TokenUnknown) => Answer::Missing,
        Err(Refusal::TokenSpent(_)) => Answer::Spent,
        Err(Refusal::PermitHeld { holder, .. }) => Answer::Held(last_number(&NodeId(holder.clone()))?),
        Err(Refusal::SeenDiffers { .. }) => Answer::NotHolder,
        Err(Refusal::Changed { now, .. }) => Answer::Changed(*now),
        Err(_) => return None,
    })
}

/// The object as a state has it.
#[must_use]
pub fn look(state: &State, object: Object) -> Value {
    match object {
        Object::Token(number) => match state.enrolment_tokens.get(&token_id(number)) {
            None => Value::NoToken,
            Some(token) => Value::Token(token.used_by.first().and_then(last_number)),
        },
        Object::Permit(number) => {
            let cluster = state.clusters.get(&ClusterId(permit_cluster(number)));
            let holder = cluster.and_then(|cluster| cluster.permit(PermitKind::Init).holder);
            Value::Permit(holder.as_ref().and_then(last_number))
        }
        Object::Register(number) => {
            let cluster = state.clusters.get(&ClusterId(register_cluster(number)));
            let written = |version: &str| version.rsplit('.').next().and_then(|patch| patch.parse().ok());
            cluster.map_or(Value::Register(0, 0), |cluster| {
                Value::Register(cluster.revision, written(&cluster.spec.kubernetes_version).unwrap_or(u32::MAX))
            })
        }
        Object::Counter(number) => {
            let token = state.enrolment_tokens.get(&dead_token_id(number));
            Value::Counter(token.map_or(0, |token| token.misuses.into()))
        }
    }
}

/// Whether a state shows that an operation was done; `true` for those that leave nothing of their own.
#[must_use]
pub fn shows(state: &State, object: Object, ask: Ask) -> bool {
    match (object, ask) {
        (Object::Token(_), Ask::Mint) => look(state, object) != Value::NoToken,
        (Object::Token(_), Ask::Redeem { machine }) => look(state, object) == Value::Token(Some(machine)),
        (Object::Counter(_), Ask::Add { serial }) => additions(state, serial) > 0,
        _ => true,
    }
}

/// How often an addition was carried out.
#[must_use]
pub fn additions(state: &State, serial: u32) -> usize {
    let key = digest("serial", serial, 0).to_string();
    state.events.iter().filter(|event| event.reason == "TokenMisused" && event.message.contains(&key)).count()
}

/// What makes the objects, in order.
#[must_use]
pub fn setup(counts: Counts) -> Vec<Verb> {
    let found = FoundFleet {
        id: "fleet".into(),
        root: Bytes(vec![1]),
        intermediates: BTreeMap::new(),
        keys: BTreeMap::new(),
        wrapped: BTreeMap::new(),
    };
    let registers = (0..counts.registers).map(|number| cluster(&register_cluster(number)));
    let permits = (0..counts.permits).flat_map(permit);
    let counters = (0..counts.counters).flat_map(|number| {
        let token = mint(dead_token_id(number), TOKENS_CLUSTER, "workers", None, digest("dead", number, 0));
        [token.into(), RevokeToken { id: dead_token_id(number) }.into()]
    });
    let first: [Verb; 2] = [found.into(), cluster(TOKENS_CLUSTER)];
    first.into_iter().chain(registers).chain(permits).chain(counters).collect()
}

/// A cluster without a first control plane, and nodes that are fit to become it.
fn permit(number: u32) -> Vec<Verb> {
    let name = permit_cluster(number);
    let mut verbs = vec![cluster(&name)];
    for node in 0..RIVALS {
        let (id, token) = (candidate_id(number, node), TokenId(format!("bound-{number}-{node}")));
        let hash = digest("bound", number, node);
        let node_name = NodeName::parse(&format!("cp{node}")).ok();
        verbs.push(mint(token.clone(), &name, "control", node_name, hash).into());
        verbs.push(enrol(id.clone(), digest("candidate", number, node), (token, hash)).into());
        let hello = RecordHello {
            node: id.clone(),
            boot_id: "boot".into(),
            agent_version: "0.1.0".into(),
            facts: facts(&id),
            preflight: Preflight::default(),
            rehearsed: true,
            stream: None,
            key: None,
        };
        verbs.push(hello.into());
        verbs.push(JudgePreflight { node: id, revision: 1, problem: String::new() }.into());
    }
    verbs
}

fn facts(id: &NodeId) -> Facts {
    Facts { uuid: format!("uuid-{id}"), serial: format!("serial-{id}"), ..Facts::default() }
}

fn enrol(candidate: NodeId, key: Digest, token: (TokenId, Digest)) -> Enrol {
    let facts = facts(&candidate);
    let (csr, sealing_key) = (Bytes(vec![1]), Bytes(vec![2]));
    Enrol { candidate, token: Some(token), key, csr, sealing_key, facts, from: "192.0.2.7".into() }
}

fn mint(id: TokenId, cluster: &str, pool: &str, node_name: Option<NodeName>, sha256: Digest) -> CreateEnrolmentToken {
    let (cluster, pool, selector) = (cluster.into(), pool.into(), Selector::default());
    CreateEnrolmentToken { id, sha256, cluster, pool, node_name, selector, ttl_ms: DAY_MS, uses: 1 }
}

fn cluster(name: &str) -> Verb {
    let secret = SealedSecret { revision: 1, sealed: Sealed { epoch: 1, format: 1, bytes: Bytes(vec![1]) } };
    CreateCluster {
        id: name.into(),
        spec: spec(name, 0),
        origin: Origin::Created,
        certificates: Vec::new(),
        service_account_public: String::new(),
        keys: BTreeMap::new(),
        certificate_key: secret,
        first_token: None,
        first_token_ttl_ms: 0,
        credentials: None,
        workers_only: String::new(),
    }
    .into()
}

fn spec(name: &str, value: u32) -> ClusterSpec {
    let pool = |name: &str, role, admission| Pool {
        name: name.into(),
        role,
        count: 3,
        admission,
        selector: Selector::default(),
        labels: BTreeMap::new(),
        nodes: Vec::new(),
        certificates_direct: false,
        discovery: "file".into(),
        taints: Vec::new(),
    };
    ClusterSpec {
        name: name.into(),
        kubernetes_version: format!("v1.36.{value}"),
        endpoint: format!("{name}.example:6443"),
        pod_subnet: String::new(),
        service_subnet: String::new(),
        dns_domain: String::new(),
        key_algorithm: "RSA-2048".into(),
        pools: vec![
            pool("control", Role::ControlPlane, Admission::Bound),
            pool("workers", Role::Worker, Admission::Token),
        ],
        kubeadm: BTreeMap::new(),
        custodian_secrets: false,
        detached_approval: None,
        cluster_info_closed: false,
        link: None,
    }
}

#[cfg(test)]
mod tests;
