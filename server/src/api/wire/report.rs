//! Reports of steps and errands.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_proto::join::v1::{
    CertificateRequest, EtcdMembers, Failure, NodeObservation, Outcome, Report as Wire, RequestsSeen as WireRequests,
};
use muster_state::{
    NodeId, NodeName,
    command::{ErrandOutcome, Report, StepOutcome},
    csr::CsrClaim,
    limits::{CLAIM_MAX, clip, clip_to},
    record::{EtcdMember, Observation, RequestsSeen, SeenRequest},
};

use crate::operations::kubelet_request;

/// Members of one etcd cluster: nine is the most anybody runs.
const MEMBERS_MAX: usize = 64;

/// Parses a report on a node's own step.
pub fn parse(node: NodeId, wire: Wire) -> Result<Report, String> {
    let observation = wire.node.map(observed);
    let outcome = match Outcome::try_from(wire.outcome) {
        Ok(Outcome::Started | Outcome::Progress) => StepOutcome::Running { phase: clip(&wire.phase), observation },
        Ok(Outcome::Succeeded) => StepOutcome::Succeeded { members: wire.etcd_members.map(members), observation },
        Ok(Outcome::Failed) => {
            let Failure { cause, message, clean } = wire.failure.unwrap_or_default();
            StepOutcome::Failed { cause: clip(&cause), message: clip(&message), clean }
        }
        Ok(Outcome::Unspecified) | Err(_) => return Err("the outcome of a report is not known to this server".into()),
    };
    Ok(Report { node, attempt: wire.attempt, step: wire.step, outcome, elapsed_ms: wire.elapsed_ms })
}

/// What a report says of an errand; `None` while it runs.
pub fn errand_outcome(wire: Wire) -> Option<ErrandOutcome> {
    match Outcome::try_from(wire.outcome) {
        Ok(Outcome::Succeeded) => Some(match wire.requests {
            Some(seen) => ErrandOutcome::Requests(requests(seen)),
            None => ErrandOutcome::Done(wire.etcd_members.map(members)),
        }),
        Ok(Outcome::Failed) => {
            let Failure { cause, message, .. } = wire.failure.unwrap_or_default();
            Some(ErrandOutcome::Failed(clip(&format!("{cause}: {message}"))))
        }
        Ok(Outcome::Started | Outcome::Progress | Outcome::Unspecified) | Err(_) => None,
    }
}

/// How many there may be is for the state to say.
fn requests(wire: WireRequests) -> RequestsSeen {
    let node = |node: muster_proto::join::v1::NodeReady| Some((NodeName::parse(&node.name).ok()?, node.ready));
    RequestsSeen {
        requests: wire.requests.into_iter().map(request).collect(),
        passed_over: wire.passed_over.into_iter().collect(),
        nodes: wire.nodes.into_iter().filter_map(node).collect(),
        more: wire.more,
    }
}

fn request(wire: CertificateRequest) -> SeenRequest {
    // What can't be read is no request that is approved.
    let pem = STANDARD.decode(&wire.request).unwrap_or_default();
    let claim = CsrClaim {
        signer: wire.signer,
        user: wire.user,
        groups: wire.groups.into_iter().collect(),
        usages: wire.usages.into_iter().collect(),
        content: kubelet_request::content(&pem),
        node_is_ready: false,
    };
    SeenRequest {
        uid: clip_to(&wire.uid, CLAIM_MAX),
        name: clip_to(&wire.name, CLAIM_MAX),
        version: clip_to(&wire.version, CLAIM_MAX),
        digest: kubelet_request::digest(&pem),
        claim: claim.bounded(),
    }
}

fn members(wire: EtcdMembers) -> Vec<EtcdMember> {
    let member = |member: muster_proto::join::v1::EtcdMember| EtcdMember {
        id: clip(&member.id),
        name: clip(&member.name),
        peer_urls: member.peer_urls.iter().take(MEMBERS_MAX).map(|url| clip(url)).collect(),
        learner: member.learner,
    };
    wire.members.into_iter().take(MEMBERS_MAX).map(member).collect()
}

fn observed(wire: NodeObservation) -> Observation {
    let message = match (wire.reason.as_str(), wire.message.as_str()) {
        ("", message) => clip(message),
        (reason, "") => clip(reason),
        (reason, message) => clip(&format!("{reason}: {message}")),
    };
    Observation {
        found: wire.found,
        ready: wire.ready,
        message,
        kubelet_version: clip(&wire.kubelet_version),
        uid: clip(&wire.uid),
    }
}
