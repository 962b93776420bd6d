//! Instructions, without their payloads.

use muster_proto::join::v1::{Instruction as Wire, Step as WireStep, Verb as WireVerb};
use muster_state::record::{ErrandKind, Verb};

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
    }
}
