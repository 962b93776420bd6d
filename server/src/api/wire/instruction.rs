//! Instructions, without their payloads.

use muster_proto::join::v1::{Instruction as Wire, RequestVerdict, RequestsTask, Step as WireStep, Verb as WireVerb};
use muster_state::record::{ErrandKind, Verb, Verdict};

use crate::operations::instruction::{Instruction, StepOf, Task};

/// An instruction as an agent gets it, payloads still absent.
pub fn render(now: &Instruction, revision: u64) -> Wire {
    Wire {
        revision,
        attempt: now.attempt,
        node_name: now.node_name.clone(),
        cluster: now.cluster.clone(),
        phase: now.phase.clone(),
        message: now.message.clone(),
        hold: now.hold,
        steps: now.steps.iter().map(step).collect(),
        complete: now.complete,
        kubernetes_version: now.kubernetes_version.clone(),
    }
}

fn step(step: &StepOf) -> WireStep {
    WireStep {
        id: step.id.clone(),
        verb: verb(&step.task).into(),
        open: step.open,
        done: step.done,
        payload: None,
        limit_ms: step.limit_ms(),
        errand: matches!(step.task, Task::Errand(_)),
        requests: requests(&step.task),
    }
}

fn requests(task: &Task) -> Option<RequestsTask> {
    let verdict = |verdict: &Verdict| RequestVerdict {
        uid: verdict.uid.clone(),
        name: verdict.name.clone(),
        version: verdict.version.clone(),
        approve: verdict.approve,
        why: verdict.why.clone(),
    };
    match task {
        Task::Errand(ErrandKind::ObserveRequests { passed_over, nodes }) => Some(RequestsTask {
            passed_over: passed_over.clone(),
            node_names: nodes.iter().map(ToString::to_string).collect(),
            verdicts: Vec::new(),
        }),
        Task::Errand(ErrandKind::ConcludeRequests(verdicts)) => {
            Some(RequestsTask { verdicts: verdicts.iter().map(verdict).collect(), ..RequestsTask::default() })
        }
        Task::Own(_) | Task::Errand(_) => None,
    }
}

fn verb(task: &Task) -> WireVerb {
    match task {
        Task::Own(Verb::Init) => WireVerb::Init,
        Task::Own(Verb::Custodian) | Task::Errand(ErrandKind::ApplyTokens(_)) => WireVerb::Apply,
        Task::Own(Verb::JoinPrepare) => WireVerb::JoinPrepare,
        Task::Own(Verb::JoinEtcd) => WireVerb::JoinEtcd,
        Task::Own(Verb::JoinFinish) => WireVerb::JoinFinish,
        Task::Own(Verb::JoinWhole) => WireVerb::JoinWhole,
        Task::Own(Verb::JoinWorker) => WireVerb::JoinWorker,
        Task::Own(Verb::WaitReady) => WireVerb::WaitReady,
        Task::Own(Verb::Reset) => WireVerb::Reset,
        Task::Errand(ErrandKind::DeleteTokens(_)) => WireVerb::Delete,
        Task::Errand(ErrandKind::UploadCertificates) => WireVerb::UploadCerts,
        Task::Errand(ErrandKind::ListEtcdMembers(_)) => WireVerb::ListEtcdMembers,
        Task::Errand(ErrandKind::ObserveRequests { .. }) => WireVerb::ObserveRequests,
        Task::Errand(ErrandKind::ConcludeRequests(_)) => WireVerb::ConcludeRequests,
    }
}
