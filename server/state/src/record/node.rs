//! Machines: what they claim, who they are, what they are told, how far they are.

use serde::{Deserialize, Serialize};

use super::{Attachment, JudgedRequest, Observation, PermitKind, Role, Witnessed};
use crate::{
    Bytes, ClusterId, Digest, NodeId, NodeName, Phase, TokenId,
    facts::{Facts, Preflight},
    failure::Rule,
};

/// What its placement rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Assurance {
    /// An operator saw its fingerprint.
    Approved,
    /// It held a token of the pool.
    Token,
    /// It held the single-use token made for this node.
    Bound,
}

/// Where a node belongs. Frozen at admission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The cluster.
    pub cluster: ClusterId,
    /// The pool.
    pub pool: String,
    /// Its role, from the pool.
    pub role: Role,
    /// Its Kubernetes node name.
    pub name: NodeName,
    /// What this rests on.
    pub assurance: Assurance,
}

/// Whether a machine was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// An operator must decide. The suggestion comes from its token or a selector.
    Pending {
        /// Where it would go.
        suggested: Option<Suggestion>,
        /// Address it came from, for the bound of the queue.
        from: String,
        /// What an approver must know: hardware of the same marks is here already.
        conflict: Option<String>,
    },
    /// It belongs somewhere.
    Admitted(Placement),
    /// An operator said no, and why.
    Denied(String),
}

/// Where a pending machine would go if approved without further words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The cluster.
    pub cluster: ClusterId,
    /// The pool.
    pub pool: String,
    /// The node name, if known.
    pub name: Option<NodeName>,
}

/// A node certificate as it was issued; the same answer is given until it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// DER, leaf first.
    pub chain: Vec<Bytes>,
    /// End of validity, milliseconds since the Unix epoch.
    pub not_after_ms: u64,
}

/// The keys a node is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// 1 after enrolment, one more with each renewal; 0 while it has no key, because its record comes from a backup.
    pub generation: u64,
    /// SHA-256 of the identity key's SPKI.
    pub key: Digest,
    /// PKCS#10, DER.
    pub csr: Bytes,
    /// HPKE public key to which its secrets are sealed.
    pub sealing_key: Bytes,
    /// Its certificate, once issued.
    pub certificate: Option<Certificate>,
    /// The certificate has been used: enrolment gives it no more.
    pub confirmed: bool,
    /// A renewal that has not been used yet.
    pub next: Option<NextIdentity>,
    /// Keys of earlier generations: whoever shows one is a copy.
    pub previous: Vec<Digest>,
}

/// A renewal that has not been used yet: generation + 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextIdentity {
    /// SHA-256 of the new key's SPKI.
    pub key: Digest,
    /// PKCS#10, DER.
    pub csr: Bytes,
    /// Its certificate, once issued.
    pub certificate: Option<Certificate>,
}

/// The closed list of what an agent can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// `kubeadm init`.
    Init,
    /// RBAC of Muster's own groups, by the first control plane.
    Custodian,
    /// Control-plane join up to etcd.
    JoinPrepare,
    /// The etcd step.
    JoinEtcd,
    /// The rest of a control-plane join.
    JoinFinish,
    /// A control-plane join in one call.
    JoinWhole,
    /// A worker join.
    JoinWorker,
    /// Watch the own Node until Ready.
    WaitReady,
    /// `kubeadm reset`.
    Reset,
}

impl Verb {
    /// The step's id within its attempt.
    pub fn step_id(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Custodian => "custodian",
            Self::JoinPrepare => "prepare",
            Self::JoinEtcd => "etcd-join",
            Self::JoinFinish => "finish",
            Self::JoinWhole | Self::JoinWorker => "join",
            Self::WaitReady => "ready",
            Self::Reset => "reset",
        }
    }

    /// The permit it needs.
    pub fn permit(self) -> Option<PermitKind> {
        match self {
            Self::Init => Some(PermitKind::Init),
            Self::JoinEtcd | Self::JoinWhole => Some(PermitKind::EtcdJoin),
            Self::Custodian
            | Self::JoinPrepare
            | Self::JoinFinish
            | Self::JoinWorker
            | Self::WaitReady
            | Self::Reset => None,
        }
    }

    /// Once done, the machine is a member of its cluster.
    pub fn makes_member(self) -> bool {
        match self {
            Self::Init | Self::JoinFinish | Self::JoinWhole | Self::JoinWorker => true,
            Self::Custodian | Self::JoinPrepare | Self::JoinEtcd | Self::WaitReady | Self::Reset => false,
        }
    }

    /// It comes after the machine has become a member: its failure undoes nothing, and it alone is tried again.
    pub fn follows_join(self) -> bool {
        match self {
            Self::Custodian | Self::WaitReady => true,
            Self::Init
            | Self::JoinPrepare
            | Self::JoinEtcd
            | Self::JoinFinish
            | Self::JoinWhole
            | Self::JoinWorker
            | Self::Reset => false,
        }
    }

    /// The phase a node is in while it runs.
    pub fn phase(self) -> Phase {
        match self {
            Self::Init | Self::Custodian => Phase::Initialising,
            Self::JoinPrepare => Phase::Preparing,
            Self::JoinEtcd => Phase::JoiningEtcd,
            Self::JoinFinish | Self::JoinWhole | Self::JoinWorker => Phase::Joining,
            Self::WaitReady => Phase::WaitingForNodeReady,
            Self::Reset => Phase::Failed,
        }
    }
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepState {
    /// Not begun.
    Waiting,
    /// Reported as begun.
    Running,
    /// Reported as done.
    Done,
    /// Reported as failed.
    Failed,
}

/// One step of the current attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What.
    pub verb: Verb,
    /// How far.
    pub state: StepState,
    /// kubeadm's phase, as last reported.
    pub phase: String,
    /// When it was reported as begun.
    pub started_ms: u64,
    /// When it was reported as done or failed.
    pub finished_ms: u64,
    /// As the agent measured it.
    pub elapsed_ms: u64,
    /// Key fingerprint to which its payload was released.
    pub released_to: Option<Digest>,
}

impl Step {
    /// A step that has not begun.
    pub fn waiting(verb: Verb) -> Self {
        Self {
            verb,
            state: StepState::Waiting,
            phase: String::new(),
            started_ms: 0,
            finished_ms: 0,
            elapsed_ms: 0,
            released_to: None,
        }
    }
}

/// What went wrong last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// Step id.
    pub step: String,
    /// Word of the closed list.
    pub cause: String,
    /// kubeadm's last error, scrubbed.
    pub message: String,
    /// What follows.
    pub rule: Rule,
    /// Failures in a row.
    pub count: u32,
    /// When.
    pub at_ms: u64,
    /// When it is tried again; 0: not by itself.
    pub retry_at_ms: u64,
}

/// A phase and when it was entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseEntry {
    /// The phase.
    pub phase: Phase,
    /// When it was entered.
    pub at_ms: u64,
}

/// A member of etcd as a machine saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdMember {
    /// Hex.
    pub id: String,
    /// Empty if it never started.
    pub name: String,
    /// Peer URLs.
    pub peer_urls: Vec<String>,
    /// It does not vote yet.
    pub learner: bool,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id, in its SPIFFE id.
    pub id: NodeId,
    /// When it was first seen.
    pub created_ms: u64,
    /// What it claims.
    pub facts: Facts,
    /// Grows when the claims change.
    pub facts_revision: u64,
    /// The keys it is bound to.
    pub identity: Identity,
    /// Whether it was let in.
    pub standing: Standing,
    /// The enrolment token it came with.
    pub enrolment_token: Option<TokenId>,
    /// Where it is; the last entry of the timeline.
    pub phase: Phase,
    /// Why it is there.
    pub message: String,
    /// Phases and when each was entered.
    pub timeline: Vec<PhaseEntry>,
    /// Why it is locked.
    pub locked: Option<String>,
    /// Its last preflight report.
    pub preflight: Option<Preflight>,
    /// Grows when the report changes.
    pub preflight_revision: u64,
    /// Revision of the report that was judged last; 0: none.
    pub preflight_judged: u64,
    /// The report was judged good enough.
    pub preflight_passed: bool,
    /// Boot id of its last hello.
    pub boot_id: String,
    /// Version of its agent.
    pub agent_version: String,
    /// Its results come from a rehearsal.
    pub rehearsed: bool,
    /// Its last hello or report.
    pub last_seen_ms: u64,
    /// Grows when the join starts anew; 0: never told anything.
    pub attempt: u32,
    /// Steps of the attempt, in order.
    pub steps: Vec<Step>,
    /// What went wrong last.
    pub failure: Option<LastFailure>,
    /// Failures in a row.
    pub failures: u32,
    /// The bootstrap token of this attempt.
    pub bootstrap_token: Option<TokenId>,
    /// What its agent saw of its Node.
    pub observation: Option<Observation>,
    /// Errands it left undone in a row, as a custodian.
    pub missed_errands: u32,
    /// The stream of its agent, as far as servers have told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<Attachment>,
    /// What the cluster's own API says of its Node, where there is a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Witnessed>,
    /// Certificate requests that were judged in its name, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<JudgedRequest>,
    /// Grows with every change of what it is told.
    pub revision: u64,
}

impl Node {
    /// Where it belongs, if it was let in.
    pub fn placement(&self) -> Option<&Placement> {
        match &self.standing {
            Standing::Admitted(placement) => Some(placement),
            Standing::Pending { .. } | Standing::Denied(_) => None,
        }
    }

    /// Its name, or its id where it has none yet.
    pub fn label(&self) -> String {
        self.placement().map_or_else(|| self.id.to_string(), |placement| placement.name.to_string())
    }

    /// The step of the current attempt.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.verb.step_id() == id)
    }

    /// The first step that is not done.
    pub fn current_step(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.state != StepState::Done)
    }

    /// That key is, or is about to be, its identity.
    pub fn owns_key(&self, key: &Digest) -> bool {
        self.identity.key == *key || self.identity.next.as_ref().is_some_and(|next| next.key == *key)
    }
}
