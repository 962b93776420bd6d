//! What a server asks of this machine, in the agent's own words. Made from the wire in [`crate::wire`] alone.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The closed list of what a machine can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// `kubeadm init`.
    Init,
    /// A control-plane join up to, not including, etcd.
    JoinPrepare,
    /// The etcd phase of a control-plane join.
    JoinEtcd,
    /// The rest of a control-plane join.
    JoinFinish,
    /// A control-plane join in one call.
    JoinWhole,
    /// A worker join.
    JoinWorker,
    /// Watch the own Node until it is Ready.
    WaitReady,
    /// `kubeadm reset` and removal of what was laid down.
    Reset,
    /// `kubectl apply` (custodian).
    Apply,
    /// `kubectl delete` (custodian).
    Delete,
    /// `kubeadm init phase upload-certs` (custodian).
    UploadCerts,
    /// List the members of the own etcd (custodian).
    ListEtcdMembers,
    /// List pending certificate requests of kubelets (custodian).
    ObserveRequests,
    /// Approve and deny certificate requests (custodian).
    ConcludeRequests,
}

impl Verb {
    /// Every verb, for tables.
    pub const ALL: [Verb; 14] = [
        Verb::Init,
        Verb::JoinPrepare,
        Verb::JoinEtcd,
        Verb::JoinFinish,
        Verb::JoinWhole,
        Verb::JoinWorker,
        Verb::WaitReady,
        Verb::Reset,
        Verb::Apply,
        Verb::Delete,
        Verb::UploadCerts,
        Verb::ListEtcdMembers,
        Verb::ObserveRequests,
        Verb::ConcludeRequests,
    ];

    /// Whether the call makes this machine a member of its cluster, so that doing it twice would do harm and half of it
    /// must be reset.
    pub const fn makes_member(self) -> bool {
        matches!(
            self,
            Verb::Init | Verb::JoinPrepare | Verb::JoinEtcd | Verb::JoinFinish | Verb::JoinWhole | Verb::JoinWorker
        )
    }

    /// Whether the call is the first of a join, and so needs a clean machine.
    pub const fn begins_join(self) -> bool {
        matches!(self, Verb::Init | Verb::JoinPrepare | Verb::JoinWhole | Verb::JoinWorker)
    }

    /// Whether the machine is a member once the call has succeeded.
    pub const fn ends_join(self) -> bool {
        matches!(self, Verb::Init | Verb::JoinFinish | Verb::JoinWhole | Verb::JoinWorker)
    }

    /// Whether it only looks. It may last for ever (a cluster without a network plugin) and must not keep a custodian
    /// from its errands, so it does not take the place of the one running call.
    pub const fn only_looks(self) -> bool {
        matches!(self, Verb::WaitReady)
    }
}

/// The name of a piece of work, for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Which start of the join.
    pub attempt: u32,
    /// Id of the step in it.
    pub step: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.attempt, self.step)
    }
}

/// A payload as it came: only this machine's sealing key opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPayload {
    /// HPKE's encapsulated key.
    pub enc: Vec<u8>,
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Unique in its attempt.
    pub id: String,
    /// What to do.
    pub verb: Verb,
    /// Not gated.
    pub open: bool,
    /// The server has recorded its success.
    pub done: bool,
    /// What the call needs, sealed.
    pub payload: Option<SealedPayload>,
    /// The call is ended after this; `None`: the default of the verb.
    pub limit: Option<Duration>,
    /// A duty beside the join.
    pub errand: bool,
    /// For calls about certificate requests.
    pub requests: RequestsTask,
}

/// What is to be done about certificate requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestsTask {
    /// Pending ones that need not be told of again, by uid.
    pub passed_over: BTreeSet<String>,
    /// Nodes of which it is to be told whether they are there and Ready.
    pub node_names: Vec<ObjectName>,
    /// To be said to the cluster.
    pub verdicts: Vec<Verdict>,
}

/// What is to be said of one certificate request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// uid of its object.
    pub uid: String,
    /// Its name.
    pub name: ObjectName,
    /// `metadata.resourceVersion` of what was seen.
    pub version: String,
    /// Approve it; otherwise deny it.
    pub approve: bool,
    /// In a sentence, for people who look at the request.
    pub why: String,
}

/// What this machine must do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Grows with every change.
    pub revision: u64,
    /// Grows when the join starts anew.
    pub attempt: u32,
    /// Frozen name; empty until admitted.
    pub node_name: String,
    /// Name of the cluster.
    pub cluster: String,
    /// The phase in people's words.
    pub phase: String,
    /// What is waited for, for the console.
    pub message: String,
    /// Start nothing new.
    pub hold: bool,
    /// In order.
    pub steps: Vec<Step>,
    /// All is done and recorded.
    pub complete: bool,
    /// Of the cluster, e.g. `v1.36.2`.
    pub kubernetes_version: String,
}

impl Instruction {
    /// The step with this key, if it is of this attempt.
    pub fn step(&self, key: &Key) -> Option<&Step> {
        self.steps.iter().find(|step| key.attempt == self.attempt && step.id == key.step)
    }

    /// The key of one of its steps.
    pub fn key(&self, step: &Step) -> Key {
        Key { attempt: self.attempt, step: step.id.clone() }
    }
}

/// A file to lay down before a call.
#[derive(Clone, PartialEq, Eq)]
pub struct FileToLay {
    /// Absolute, without `..`; checked when it is made.
    pub path: String,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// Whole content; wiped when dropped.
    pub content: Zeroizing<Vec<u8>>,
    /// Holds a credential of this join only.
    pub transient: bool,
}

/// A Kubernetes object to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// As kubectl takes it, e.g. `secret`.
    pub kind: String,
    /// Empty for objects of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a call needs, in the clear. It is held for the length of the call and never written as such.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// To lay down.
    pub files: Vec<FileToLay>,
    /// Path of kubeadm's configuration among them.
    pub config_path: Option<String>,
    /// Objects for standard input of kubectl.
    pub manifest: Zeroizing<Vec<u8>>,
    /// Objects to delete.
    pub delete: Vec<ObjectName>,
    /// Values to blank out of all output.
    pub scrub: Vec<Zeroizing<String>>,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload([redacted])")
    }
}

impl Payload {
    /// Paths of the files that hold a credential of this join only.
    pub fn transient_paths(&self) -> Vec<String> {
        self.files.iter().filter(|file| file.transient).map(|file| file.path.clone()).collect()
    }
}
