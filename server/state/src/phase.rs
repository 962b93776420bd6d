//! The words for where a node is, shown everywhere alike.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a node is on its way into its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Seen, not yet decided upon.
    Discovered,
    /// An operator must approve it.
    PendingApproval,
    /// An operator said no.
    Denied,
    /// Admitted; its agent has not yet attached.
    Approved,
    /// Its preflight report is being judged or holds it back.
    Preflight,
    /// Its cluster has no control plane yet.
    WaitingForInit,
    /// It is the first control plane and runs `kubeadm init`.
    Initialising,
    /// What it needs must be done through the cluster's API, by a custodian.
    WaitingForCustodian,
    /// It lays down certificates and manifests and starts its kubelet (control planes).
    Preparing,
    /// It waits for its turn to join etcd.
    WaitingForEtcdPermit,
    /// It joins etcd.
    JoiningEtcd,
    /// It runs `kubeadm join`, or the last part of it.
    Joining,
    /// Joined; its Node is not Ready yet.
    WaitingForNodeReady,
    /// Its Node is Ready.
    Ready,
    /// A step failed; see its cause, rule and time of the next attempt.
    Failed,
    /// Two keys claimed to be it, or an operator locked it: it is told nothing.
    Locked,
}

impl Phase {
    /// All phases, in the order in which a node passes them, side states last.
    pub const ALL: [Self; 16] = [
        Self::Discovered,
        Self::PendingApproval,
        Self::Denied,
        Self::Approved,
        Self::Preflight,
        Self::WaitingForInit,
        Self::Initialising,
        Self::WaitingForCustodian,
        Self::Preparing,
        Self::WaitingForEtcdPermit,
        Self::JoiningEtcd,
        Self::Joining,
        Self::WaitingForNodeReady,
        Self::Ready,
        Self::Failed,
        Self::Locked,
    ];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
