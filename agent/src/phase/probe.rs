//! What to do with a call that an earlier life of the agent began and did not end: decided by evidence, never by hope.

use crate::instruction::Verb;
use crate::report::EtcdMembers;

/// An answer that may be lacking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// It is so.
    Yes,
    /// It is not so.
    No,
    /// Nobody could be asked, for now.
    #[default]
    Unknown,
}

/// This machine's place in etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Membership {
    /// It votes.
    Voter,
    /// It is listed and does not vote yet.
    Learner,
    /// It is not listed, or its etcd does not run.
    #[default]
    Absent,
}

/// What the machine shows of the call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// `/etc/kubernetes/admin.conf` exists.
    pub admin_conf: bool,
    /// `/etc/kubernetes/kubelet.conf` exists: the kubelet has its own certificate.
    pub kubelet_conf: bool,
    /// The API server's manifest exists.
    pub manifests: bool,
    /// Any file that kubeadm or the kubelet leaves exists, the above among them.
    pub traces: bool,
    /// The API server answers ready, asked with `admin.conf`.
    pub api_ready: Answer,
    /// The `kubeadm-config` ConfigMap exists.
    pub kubeadm_config: Answer,
    /// The own Node exists, asked with `kubelet.conf`.
    pub node: Answer,
    /// Place in etcd.
    pub membership: Membership,
    /// What the own etcd answered.
    pub members: Option<EtcdMembers>,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The call had done its work.
    Completed,
    /// Make it again: it changed nothing, or may be repeated.
    Again,
    /// Only the rest is to be made, which may be repeated.
    Remainder,
    /// Reset the machine, then make it again.
    ResetThenAgain,
    /// It rests on an earlier call whose work is gone: reset and report the failure.
    GiveUp,
    /// Ask again later.
    Unclear,
}

/// The verdict on an interrupted `verb`. With `patient`, an answer that is lacking is waited for; without, it counts as no.
pub fn judge(verb: Verb, evidence: &Evidence, patient: bool) -> Verdict {
    match verb {
        Verb::Init => judge_init(evidence, patient),
        Verb::JoinPrepare => unless_traces(evidence, Verdict::ResetThenAgain),
        Verb::JoinEtcd => judge_etcd(evidence),
        Verb::JoinFinish if evidence.admin_conf => Verdict::Again,
        Verb::JoinFinish => Verdict::GiveUp,
        Verb::JoinWhole => judge_whole(evidence, patient),
        Verb::JoinWorker => judge_worker(evidence, patient),
        Verb::WaitReady
        | Verb::Reset
        | Verb::Apply
        | Verb::Delete
        | Verb::UploadCerts
        | Verb::ListEtcdMembers
        | Verb::ObserveRequests
        | Verb::ConcludeRequests => Verdict::Again,
    }
}

fn unless_traces(evidence: &Evidence, otherwise: Verdict) -> Verdict {
    if evidence.traces { otherwise } else { Verdict::Again }
}

/// From the moment the control plane answers, every further phase of init may be repeated; before, none can be trusted.
fn judge_init(evidence: &Evidence, patient: bool) -> Verdict {
    if !evidence.admin_conf || !evidence.manifests {
        return unless_traces(evidence, Verdict::ResetThenAgain);
    }
    match (evidence.api_ready, evidence.kubeadm_config) {
        (Answer::Yes, Answer::Yes) if evidence.node != Answer::No => Verdict::Remainder,
        // The static pods may be starting still: a reboot is not a failure.
        (Answer::Unknown | Answer::No, _) | (_, Answer::Unknown) if patient => Verdict::Unclear,
        _ => Verdict::ResetThenAgain,
    }
}

/// kubeadm finds its own peer URL and goes on, so the phase may be repeated as long as what it rests on is there.
fn judge_etcd(evidence: &Evidence) -> Verdict {
    if evidence.membership == Membership::Voter {
        Verdict::Completed
    } else if evidence.admin_conf && evidence.manifests {
        Verdict::Again
    } else {
        Verdict::GiveUp
    }
}

fn judge_whole(evidence: &Evidence, patient: bool) -> Verdict {
    if !evidence.traces {
        return Verdict::Again;
    }
    let member = evidence.membership == Membership::Voter && evidence.kubelet_conf && evidence.manifests;
    match evidence.node {
        // Labels and taints may be missing still. Only phases that may be repeated set them.
        Answer::Yes if member && evidence.admin_conf => Verdict::Remainder,
        Answer::Unknown if member && patient => Verdict::Unclear,
        _ => Verdict::ResetThenAgain,
    }
}

/// `kubelet.conf` appears when the certificate has been signed, which is all that kubeadm waits for.
fn judge_worker(evidence: &Evidence, patient: bool) -> Verdict {
    match evidence.node {
        _ if !evidence.traces => Verdict::Again,
        Answer::Yes if evidence.kubelet_conf => Verdict::Completed,
        Answer::Unknown if evidence.kubelet_conf && patient => Verdict::Unclear,
        _ => Verdict::ResetThenAgain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Evidence {
        Evidence::default()
    }

    fn traces() -> Evidence {
        Evidence { traces: true, ..none() }
    }

    fn control_plane() -> Evidence {
        Evidence { admin_conf: true, manifests: true, ..traces() }
    }

    fn answering() -> Evidence {
        Evidence { api_ready: Answer::Yes, kubeadm_config: Answer::Yes, node: Answer::Yes, ..control_plane() }
    }

    fn voter() -> Evidence {
        Evidence { membership: Membership::Voter, kubelet_conf: true, ..control_plane() }
    }

    fn worker(node: Answer) -> Evidence {
        Evidence { kubelet_conf: true, node, ..traces() }
    }

    #[test]
    fn every_verb_is_judged_by_its_evidence() {
        use Verdict::{Again, Completed, GiveUp, Remainder, ResetThenAgain, Unclear};
        let no_config = Evidence { kubeadm_config: Answer::No, ..answering() };
        let learner = Evidence { membership: Membership::Learner, ..control_plane() };
        let no_node = Evidence { node: Answer::No, ..answering() };
        // verb, evidence, verdict with patience, verdict without
        let table = [
            (Verb::Init, none(), Again, Again),
            (Verb::Init, traces(), ResetThenAgain, ResetThenAgain),
            (Verb::Init, control_plane(), Unclear, ResetThenAgain),
            (Verb::Init, no_config, ResetThenAgain, ResetThenAgain),
            (Verb::Init, no_node, ResetThenAgain, ResetThenAgain),
            (Verb::Init, answering(), Remainder, Remainder),
            (Verb::JoinPrepare, none(), Again, Again),
            (Verb::JoinPrepare, traces(), ResetThenAgain, ResetThenAgain),
            (Verb::JoinPrepare, control_plane(), ResetThenAgain, ResetThenAgain),
            (Verb::JoinEtcd, none(), GiveUp, GiveUp),
            (Verb::JoinEtcd, control_plane(), Again, Again),
            (Verb::JoinEtcd, learner, Again, Again),
            (Verb::JoinEtcd, voter(), Completed, Completed),
            (Verb::JoinFinish, voter(), Again, Again),
            (Verb::JoinFinish, traces(), GiveUp, GiveUp),
            (Verb::JoinWhole, none(), Again, Again),
            (Verb::JoinWhole, control_plane(), ResetThenAgain, ResetThenAgain),
            (Verb::JoinWhole, voter(), Unclear, ResetThenAgain),
            (Verb::JoinWhole, Evidence { node: Answer::Yes, ..voter() }, Remainder, Remainder),
            (Verb::JoinWorker, none(), Again, Again),
            (Verb::JoinWorker, traces(), ResetThenAgain, ResetThenAgain),
            (Verb::JoinWorker, worker(Answer::Yes), Completed, Completed),
            (Verb::JoinWorker, worker(Answer::Unknown), Unclear, ResetThenAgain),
            (Verb::JoinWorker, worker(Answer::No), ResetThenAgain, ResetThenAgain),
            (Verb::WaitReady, none(), Again, Again),
            (Verb::Reset, traces(), Again, Again),
            (Verb::Apply, none(), Again, Again),
            (Verb::Delete, none(), Again, Again),
            (Verb::UploadCerts, none(), Again, Again),
            (Verb::ListEtcdMembers, none(), Again, Again),
        ];
        for (verb, evidence, patient, impatient) in table {
            assert_eq!(judge(verb, &evidence, true), patient, "{verb:?} {evidence:?}");
            assert_eq!(judge(verb, &evidence, false), impatient, "{verb:?} {evidence:?}, impatient");
        }
    }

    #[test]
    fn without_patience_there_is_always_a_verdict() {
        let answers = [Answer::Yes, Answer::No, Answer::Unknown];
        for verb in Verb::ALL {
            for bits in 0..16_u8 {
                for node in answers {
                    for api_ready in answers {
                        let evidence = Evidence {
                            admin_conf: bits & 1 != 0,
                            kubelet_conf: bits & 2 != 0,
                            manifests: bits & 4 != 0,
                            traces: bits & 8 != 0,
                            api_ready,
                            kubeadm_config: api_ready,
                            node,
                            ..Evidence::default()
                        };
                        assert_ne!(judge(verb, &evidence, false), Verdict::Unclear, "{verb:?} {evidence:?}");
                    }
                }
            }
        }
    }
}
