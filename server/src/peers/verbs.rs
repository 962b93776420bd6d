//! Which verbs a server may have the leader carry out.
//!
//! A voter holds the data keys and takes operators' calls, so it may forward anything. A relay does neither: what it may
//! forward is what machines at its door ask for, and word of itself. Whoever takes a relay over then gets no further than
//! the machines that talk to it.

use muster_state::command::Verb;

use crate::consensus::ServerId;

/// On behalf of a machine, or of the server itself: any member may forward these.
const OF_ANY_MEMBER: &[&str] = &[
    "Enrol",
    "IssueCertificate",
    "ConfirmIdentity",
    "RenewIdentity",
    "RecordHello",
    "RecordDetached",
    "Release",
    "Report",
    "CompleteErrand",
    "RecordTokenMisuse",
    // A server that asks to join at its door, and its own start.
    "RequestServer",
    "RecordServer",
];

/// Operators' verbs, the conductor's, and what needs the data keys: voters alone. Written out so that a new verb must choose.
#[cfg(test)]
const OF_VOTERS: &[&str] = &[
    "FoundFleet",
    "CreateCluster",
    "UpdateCluster",
    "CreateEnrolmentToken",
    "RevokeToken",
    "RenewEnrolmentToken",
    "ApproveNode",
    "DenyNode",
    "RetryNode",
    "RemoveNode",
    "LockNode",
    "UnlockNode",
    "JudgePreflight",
    "Instruct",
    "GrantPermit",
    "MintBootstrapToken",
    "OpenErrand",
    "ReleaseJoinCommand",
    "ReplaceCertificateKey",
    "FreePermit",
    "ChooseFirst",
    "SetCredentials",
    "AcceptTime",
    "Sweep",
    "ReleaseBackup",
    "CreateServerToken",
    "ApproveServer",
    "IssueServerCertificate",
    "PromoteServer",
    "RemoveServer",
    "HandDataKeys",
    "StartEpoch",
    "CompareState",
    "ResealSecrets",
    "EndEpoch",
    "ReplaceDataKeyCopies",
    "RenewOperator",
    // The leader's own, from its links to clusters' APIs.
    "RecordLink",
    "ObserveNodes",
    "DecideCsr",
    "MoveTokens",
    "ObserveEtcd",
    "DropEtcdLearner",
    "EndEtcdRemoval",
    "RemoveEtcdMember",
    "CompareTokens",
    "MoveCertificates",
    "ExtendJoinWindow",
];

/// Whether member `from`, which does or does not vote, may forward this verb to the leader. Default is deny: what has no row is
/// for voters. Nobody tells of another server's start, or state.
#[must_use]
pub fn may_forward(from: ServerId, votes: bool, verb: &Verb) -> bool {
    match verb {
        Verb::RecordServer(start) => start.server == from,
        Verb::CompareState(word) => votes && word.server == from,
        Verb::ReplaceDataKeyCopies(copies) => votes && copies.server == from,
        verb => votes || OF_ANY_MEMBER.contains(&verb.name()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use muster_state::command::{ConfirmIdentity, LockNode, RecordServer};
    use muster_state::record::ServerUrls;
    use muster_state::{Bytes, Digest, NodeId};

    use super::*;

    #[test]
    fn every_verb_is_in_exactly_one_list() {
        let listed: BTreeSet<&str> = OF_ANY_MEMBER.iter().chain(OF_VOTERS).copied().collect();
        assert_eq!(listed, Verb::NAMES.iter().copied().collect());
        assert_eq!(listed.len(), OF_ANY_MEMBER.len() + OF_VOTERS.len(), "a verb stands twice");
    }

    #[test]
    fn a_relay_speaks_for_machines_and_not_for_operators() {
        let node = NodeId::from("n");
        let machines = Verb::from(ConfirmIdentity { node: node.clone(), key: Digest([0; 32]) });
        let operators = Verb::from(LockNode { node, reason: String::new() });
        assert!(may_forward(2, false, &machines) && may_forward(2, true, &machines));
        assert!(!may_forward(2, false, &operators) && may_forward(2, true, &operators));
    }

    #[test]
    fn a_server_tells_of_its_own_start_and_of_no_others() {
        let start = Verb::from(RecordServer {
            server: 2,
            key: Digest([0; 32]),
            sealing_key: Bytes::default(),
            address: String::new(),
            urls: ServerUrls::default(),
            version: String::new(),
            generation: 1,
        });
        for votes in [false, true] {
            assert!(may_forward(2, votes, &start) && !may_forward(3, votes, &start));
        }
    }
}
