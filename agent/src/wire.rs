//! Between the messages of the wire and the agent's own words. Conversions live here and nowhere else.

use muster_proto::enrolment::v1 as enrolment;
use muster_proto::join::v1 as join;
use muster_trust::sealing::{SealedToNode, SealingPrivateKey, open};
use prost::Message;
use std::time::Duration;
use zeroize::Zeroizing;

use crate::facts::Facts;
use crate::instruction::{
    FileToLay, Instruction, Key, ObjectName, Payload, RequestsTask, SealedPayload, Step, Verb, Verdict,
};
use crate::preflight::Preflight;
use crate::report::{EtcdMembers, Failure, NodeObservation, Outcome, Progress, Report, RequestsSeen};

/// Why a message of a server cannot be used. All of these mean that the server is newer than the agent, or broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A verb that this agent does not know.
    #[error("step \"{step}\" asks for verb {verb}, which this agent does not know; a newer agent may")]
    Verb {
        /// Which step.
        step: String,
        /// Its number.
        verb: i32,
    },
    /// The payload is not for this machine, attempt and step.
    #[error("the payload is not for this machine and step, or was altered")]
    Sealed,
    /// The payload makes no sense.
    #[error("the payload makes no sense: {0}")]
    Payload(String),
}

/// An instruction.
///
/// # Errors
/// [`WireError::Verb`]. The whole instruction is refused: leaving a step out would change the order of the others.
pub fn instruction(message: join::Instruction) -> Result<Instruction, WireError> {
    Ok(Instruction {
        revision: message.revision,
        attempt: message.attempt,
        node_name: message.node_name,
        cluster: message.cluster,
        phase: message.phase,
        message: message.message,
        hold: message.hold,
        steps: message.steps.into_iter().map(step).collect::<Result<_, _>>()?,
        complete: message.complete,
        kubernetes_version: message.kubernetes_version,
    })
}

fn step(message: join::Step) -> Result<Step, WireError> {
    let verb = verb(message.verb).ok_or_else(|| WireError::Verb { step: message.id.clone(), verb: message.verb })?;
    Ok(Step {
        id: message.id,
        verb,
        open: message.open,
        done: message.done,
        payload: message.payload.map(|sealed| SealedPayload { enc: sealed.enc, ciphertext: sealed.ciphertext }),
        limit: (message.limit_ms > 0).then(|| Duration::from_millis(message.limit_ms)),
        errand: message.errand,
        requests: message.requests.map(requests_task).transpose()?.unwrap_or_default(),
    })
}

/// Names become paths of the API and arguments of kubectl.
fn requests_task(message: join::RequestsTask) -> Result<RequestsTask, WireError> {
    let verdict = |verdict: join::RequestVerdict| {
        let name = object(&format!("certificatesigningrequest//{}", verdict.name))?;
        let join::RequestVerdict { uid, version, approve, why, .. } = verdict;
        Ok(Verdict { uid, name, version, approve, why })
    };
    let names = message.node_names.iter().map(|name| object(&format!("node//{name}")));
    Ok(RequestsTask {
        passed_over: message.passed_over.into_iter().collect(),
        node_names: names.collect::<Result<_, _>>()?,
        verdicts: message.verdicts.into_iter().map(verdict).collect::<Result<_, WireError>>()?,
    })
}

fn verb(number: i32) -> Option<Verb> {
    Some(match join::Verb::try_from(number).ok()? {
        join::Verb::Unspecified => return None,
        join::Verb::Init => Verb::Init,
        join::Verb::JoinPrepare => Verb::JoinPrepare,
        join::Verb::JoinEtcd => Verb::JoinEtcd,
        join::Verb::JoinFinish => Verb::JoinFinish,
        join::Verb::JoinWhole => Verb::JoinWhole,
        join::Verb::JoinWorker => Verb::JoinWorker,
        join::Verb::WaitReady => Verb::WaitReady,
        join::Verb::Reset => Verb::Reset,
        join::Verb::Apply => Verb::Apply,
        join::Verb::Delete => Verb::Delete,
        join::Verb::UploadCerts => Verb::UploadCerts,
        join::Verb::ListEtcdMembers => Verb::ListEtcdMembers,
        join::Verb::ObserveRequests => Verb::ObserveRequests,
        join::Verb::ConcludeRequests => Verb::ConcludeRequests,
    })
}

/// Opens a step's payload with this machine's sealing key.
///
/// # Errors
/// [`WireError::Sealed`] or [`WireError::Payload`].
pub fn payload(
    sealed: &SealedPayload,
    key: &SealingPrivateKey,
    fleet: &str,
    node_id: &str,
    of: &Key,
) -> Result<Payload, WireError> {
    let context = join::SealContext {
        fleet: fleet.to_owned(),
        node_id: node_id.to_owned(),
        attempt: of.attempt,
        step: of.step.clone(),
    };
    let sealed = SealedToNode { enc: sealed.enc.clone(), ciphertext: sealed.ciphertext.clone() };
    let plain = open(key, &context.encode_to_vec(), &sealed).map_err(|_| WireError::Sealed)?;
    let message = join::StepPayload::decode(plain.as_slice())
        .map_err(|_| WireError::Payload("it is no StepPayload".to_owned()))?;
    opened(message)
}

fn opened(message: join::StepPayload) -> Result<Payload, WireError> {
    Ok(Payload {
        files: message.files.into_iter().map(file).collect::<Result<_, _>>()?,
        config_path: if message.config_path.is_empty() { None } else { Some(path(message.config_path)?) },
        manifest: Zeroizing::new(message.manifest),
        delete: message.delete.iter().map(|name| object(name)).collect::<Result<_, _>>()?,
        scrub: message.scrub.into_iter().map(Zeroizing::new).collect(),
    })
}

fn file(message: join::File) -> Result<FileToLay, WireError> {
    // Wiped even when the path is refused.
    let content = Zeroizing::new(message.content);
    if message.mode > 0o7777 {
        return Err(WireError::Payload(format!("{} has mode {:o}", message.path, message.mode)));
    }
    Ok(FileToLay { path: path(message.path)?, mode: message.mode, content, transient: message.transient })
}

/// A path must say where it leads: absolute, and down all the way.
fn path(path: String) -> Result<String, WireError> {
    let good = path.starts_with('/')
        && !path.ends_with('/')
        && !path.contains('\0')
        && !path.split('/').any(|part| part == "..");
    if good { Ok(path) } else { Err(WireError::Payload(format!("{path:?} is no absolute path of a file"))) }
}

/// `kind/namespace/name`. The words become arguments of kubectl, so none may look like an option.
fn object(name: &str) -> Result<ObjectName, WireError> {
    let bad = || WireError::Payload(format!("{name:?} is no kind/namespace/name"));
    let [kind, namespace, name] = name.split('/').collect::<Vec<_>>().try_into().map_err(|_| bad())?;
    let word = |text: &str| {
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b':' | b'_');
        text.bytes().all(plain) && !text.starts_with('-')
    };
    if kind.is_empty() || name.is_empty() || !word(kind) || !word(namespace) || !word(name) {
        return Err(bad());
    }
    Ok(ObjectName { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() })
}

/// A report.
pub fn report(report: Report) -> join::Report {
    let mut message = join::Report {
        sequence: report.sequence,
        attempt: report.key.attempt,
        step: report.key.step,
        elapsed_ms: report.elapsed_ms,
        ..join::Report::default()
    };
    match report.outcome {
        Outcome::Started => message.set_outcome(join::Outcome::Started),
        Outcome::Progress(Progress::Phase(phase)) => {
            message.set_outcome(join::Outcome::Progress);
            message.phase = phase;
        }
        Outcome::Progress(Progress::Node(seen)) => {
            message.set_outcome(join::Outcome::Progress);
            message.node = Some(node(seen));
        }
        Outcome::Succeeded(seen) => {
            message.set_outcome(join::Outcome::Succeeded);
            message.etcd_members = seen.members.map(members);
            message.node = seen.node.map(node);
            message.requests = seen.requests.map(|seen| requests(*seen));
        }
        Outcome::Failed(why) => {
            message.set_outcome(join::Outcome::Failed);
            message.failure = Some(failure(why));
        }
    }
    message
}

fn failure(failure: Failure) -> join::Failure {
    join::Failure { cause: failure.cause.as_str().to_owned(), message: failure.message, clean: failure.clean }
}

fn members(members: EtcdMembers) -> join::EtcdMembers {
    let member = |member: crate::report::EtcdMember| join::EtcdMember {
        started: !member.name.is_empty(),
        id: member.id,
        name: member.name,
        peer_urls: member.peer_urls,
        learner: member.learner,
    };
    join::EtcdMembers { members: members.members.into_iter().map(member).collect(), self_id: members.self_id }
}

fn requests(seen: RequestsSeen) -> join::RequestsSeen {
    let request = |request: crate::report::CertificateRequest| join::CertificateRequest {
        uid: request.uid,
        name: request.name,
        version: request.version,
        signer: request.signer,
        user: request.user,
        groups: request.groups,
        usages: request.usages,
        request: request.request,
    };
    join::RequestsSeen {
        requests: seen.requests.into_iter().map(request).collect(),
        passed_over: seen.passed_over,
        nodes: seen.nodes.into_iter().map(|(name, ready)| join::NodeReady { name, ready }).collect(),
        more: seen.more,
    }
}

fn node(node: NodeObservation) -> join::NodeObservation {
    join::NodeObservation {
        found: node.found,
        ready: node.ready,
        reason: node.reason,
        message: node.message,
        kubelet_version: node.kubelet_version,
        uid: node.uid,
    }
}

/// Facts.
pub fn facts(facts: &Facts) -> enrolment::Facts {
    let dropped = |dropped: &crate::facts::Dropped| enrolment::Dropped {
        field: dropped.field.clone(),
        value: dropped.value.clone(),
    };
    enrolment::Facts {
        uuid: facts.uuid.clone(),
        serial: facts.serial.clone(),
        asset: facts.asset.clone(),
        manufacturer: facts.manufacturer.clone(),
        product: facts.product.clone(),
        board_serial: facts.board_serial.clone(),
        macs: facts.macs.clone(),
        boot_mac: facts.boot_mac.clone(),
        hostname: facts.hostname.clone(),
        addresses: facts.addresses.clone(),
        architecture: facts.architecture.clone(),
        dropped: facts.dropped.iter().map(dropped).collect(),
        wanted_role: facts.wanted_role.clone(),
        wanted_node_name: facts.wanted_node_name.clone(),
        labels: facts.labels.clone(),
        ephemeral_state: facts.ephemeral_state,
    }
}

/// A preflight report.
pub fn preflight(report: &Preflight) -> join::Preflight {
    let finding = |finding: &crate::preflight::Finding| join::Finding {
        check: finding.check.to_owned(),
        message: finding.message.clone(),
        fatal: finding.fatal,
    };
    join::Preflight {
        kubeadm_version: report.kubeadm_version.clone(),
        kubelet_version: report.kubelet_version.clone(),
        kubectl_version: report.kubectl_version.clone(),
        container_runtime: report.container_runtime.clone(),
        cri_socket: report.cri_socket.clone(),
        kernel: report.kernel.clone(),
        agent_unix_ms: report.agent_unix_ms,
        swap_on: report.swap_on,
        ports_in_use: report.ports_in_use.iter().copied().map(u32::from).collect(),
        leftovers: report.leftovers.clone(),
        findings: report.findings.iter().map(finding).collect(),
        joined: report.joined,
    }
}

#[cfg(test)]
mod tests;
