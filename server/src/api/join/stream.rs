//! One node's stream: the latest instruction down, reports up.

use muster_proto::join::v1::{
    AgentMessage, Hello, Instruction as WireInstruction, LogLines, Report, ReportAck, ServerMessage, Welcome,
    agent_message::Message as FromAgent, server_message::Message as ToAgent,
};
use muster_state::{
    Change, NodeId, Refusal,
    command::{CompleteErrand, RecordHello, Release},
    limits::{CLAIM_MAX, clip_to},
    record::Errand,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::{
    api::{caller::NodeCaller, status, voters::Voters, wire},
    clock::now_ms,
    ledger::ProposeError,
    operations::{Unsealed, instruction},
    peers::relay::{PayloadAsk, RelayError},
    web::metrics::{self, AuthenticationFailure},
};

/// A node's stream, and what serves it.
pub(super) struct Line {
    pub(super) server: Unsealed,
    pub(super) voters: Voters,
    pub(super) node: NodeCaller,
    pub(super) out: mpsc::Sender<Result<ServerMessage, Status>>,
}

impl Line {
    async fn send(&self, message: ToAgent) -> Result<(), Status> {
        let message = ServerMessage { message: Some(message) };
        self.out.send(Ok(message)).await.map_err(|_| Status::cancelled("the agent is gone"))
    }
}

/// Records what the agent said of its machine.
pub(super) async fn record_hello(server: &Unsealed, node: &NodeCaller, hello: Hello) -> Result<(), Status> {
    let verb = RecordHello {
        node: node.id.clone(),
        boot_id: hello.boot_id,
        agent_version: hello.agent_version,
        facts: wire::facts::parse(hello.facts.unwrap_or_default()).map_err(Status::invalid_argument)?,
        preflight: wire::preflight::parse(hello.preflight.unwrap_or_default(), now_ms()),
        rehearsed: hello.rehearsed,
    };
    server.ledger.propose(verb).await.map_err(status::of_propose)
}

/// Serves the stream until either side ends it, a newer stream of the node takes over, or its identity is gone.
pub(super) async fn run(line: Line, mut from_agent: Streaming<AgentMessage>) {
    let Line { server, node, out, .. } = &line;
    let session = server.sessions.attach(&node.id);
    let mut watch = server.ledger.watch();
    let (mut told, mut sent) = (Vec::new(), None);
    loop {
        let up_to_date = async {
            welcome(&line, &mut told).await?;
            instruct(&line, &mut sent).await
        };
        if let Err(status) = up_to_date.await {
            let _ = out.send(Err(status)).await;
            return;
        }
        tokio::select! {
            () = out.closed() => return,
            () = server.stopping.cancelled() => {
                // The agent goes to the next server, or comes back to this one.
                let _ = out.try_send(Err(Status::unavailable("the server is stopping")));
                return;
            }
            () = session.replaced.cancelled() => {
                let _ = out.send(Err(Status::aborted("another stream of this node has taken over"))).await;
                return;
            }
            changed = watch.until(|change| concerns(change, &node.id)) => if changed.is_err() { return },
            message = from_agent.message() => match message {
                Ok(Some(AgentMessage { message: Some(message) })) => {
                    if let Err(status) = take(&line, message).await {
                        let _ = out.send(Err(status)).await;
                        return;
                    }
                }
                Ok(Some(AgentMessage { message: None })) => {}
                Ok(None) | Err(_) => return,
            },
        }
    }
}

/// What the agent is told of: its own node, and where it finds the servers.
fn concerns(change: &Change, own: &NodeId) -> bool {
    match change {
        Change::Node(node) => node == own,
        Change::Server(_) => true,
        Change::Cluster(_) | Change::Event(_) | Change::Other => false,
    }
}

/// Tells the agent where servers are, at first and whenever that has changed.
async fn welcome(line: &Line, told: &mut Vec<String>) -> Result<(), Status> {
    let node_urls = line.server.urls().nodes;
    if *told == node_urls {
        return Ok(());
    }
    *told = node_urls.clone();
    line.send(ToAgent::Welcome(Welcome { server_unix_ms: now_ms(), node_urls })).await
}

/// Sends the current instruction if it differs from the one sent last.
async fn instruct(line: &Line, sent: &mut Option<instruction::Instruction>) -> Result<(), Status> {
    let Line { server, node, .. } = line;
    let found = server.ledger.read(|state| {
        let record = state.nodes.get(&node.id)?;
        // A renewal moves the identity on; the old key is then no longer this node's.
        let current = record.owns_key(&node.key) && record.placement().is_some();
        Some((instruction::of(state, &node.id)?, record.revision, record.identity.sealing_key.clone(), current))
    });
    let Some((now, revision, sealing_key, true)) = found else {
        metrics::authentication_failed(AuthenticationFailure::Unknown);
        return Err(Status::permission_denied("this identity is no longer accepted; see `muster get nodes`"));
    };
    if sent.as_ref() == Some(&now) {
        return Ok(());
    }
    let mut message: WireInstruction = wire::instruction::render(&now, revision);
    for (step, wire_step) in now.steps.iter().zip(&mut message.steps) {
        if step.needs_payload() && !now.hold {
            match released(line, now.attempt, &step.id, &sealing_key.0).await {
                Ok(sealed) => wire_step.payload = Some(sealed),
                Err(ReleaseError::Moved) => {
                    // The state went on between reading and releasing: the change that did it wakes this stream again.
                    return Ok(());
                }
                // That step waits. The rest of the instruction goes out, and reports still come in.
                Err(ReleaseError::Unmade) => wire_step.open = false,
                Err(ReleaseError::Failed(status)) => return Err(status),
            }
        }
    }
    line.send(ToAgent::Instruction(message)).await?;
    *sent = Some(now);
    Ok(())
}

enum ReleaseError {
    /// The state has moved on.
    Moved,
    /// The payload can't be made; the log says why.
    Unmade,
    /// Nothing could be proposed.
    Failed(Status),
}

/// Trust rule 6: the release commits first; only then is anything unsealed, and sealed again to this node's key.
async fn released(
    line: &Line,
    attempt: u32,
    step: &str,
    sealing_key: &[u8],
) -> Result<muster_proto::join::v1::Sealed, ReleaseError> {
    let Line { server, voters, node, .. } = line;
    let release =
        Release { node: node.id.clone(), attempt, step: step.to_owned(), key: node.key, caller: server.spiffe.clone() };
    match server.ledger.propose(release).await {
        Ok(()) => {}
        Err(ProposeError::Refused(refusal)) => {
            tracing::info!(node = %node.id, step, why = %refusal, "nothing was released");
            return Err(ReleaseError::Moved);
        }
        Err(other) => return Err(ReleaseError::Failed(status::of_propose(other))),
    }
    let ask = PayloadAsk { node: node.id.clone(), attempt, step: step.to_owned(), key: node.key };
    match voters.render_payload(server, ask, sealing_key).await {
        Ok(sealed) => Ok(wire::payload::sealed(sealed)),
        Err(RelayError::Moved | RelayError::Refused(_)) => Err(ReleaseError::Moved),
        Err(RelayError::Failed | RelayError::Request(_)) => Err(ReleaseError::Unmade),
        // The agent goes to the next server, which may reach a voter.
        Err(RelayError::Unavailable(why)) => Err(ReleaseError::Failed(Status::unavailable(why))),
    }
}

async fn take(line: &Line, message: FromAgent) -> Result<(), Status> {
    let Line { server, node, .. } = line;
    match message {
        FromAgent::Hello(hello) => record_hello(server, node, hello).await,
        FromAgent::Preflight(preflight) => fresh_preflight(server, &node.id, preflight).await,
        FromAgent::Log(LogLines { step, lines, .. }) => {
            let step = clip_to(&step, CLAIM_MAX);
            server.sessions.log(&node.id, &step, wire::log::clip(lines), now_ms());
            Ok(())
        }
        FromAgent::Report(report) => {
            let sequence = report.sequence;
            record_report(server, node, report).await?;
            line.send(ToAgent::Ack(ReportAck { sequence })).await
        }
    }
}

async fn fresh_preflight(
    server: &Unsealed,
    id: &NodeId,
    preflight: muster_proto::join::v1::Preflight,
) -> Result<(), Status> {
    let known = server.ledger.read(|state| {
        let node = state.nodes.get(id)?;
        Some((node.boot_id.clone(), node.agent_version.clone(), node.facts.clone(), node.rehearsed))
    });
    let Some((boot_id, agent_version, facts, rehearsed)) = known else { return Ok(()) };
    let preflight = wire::preflight::parse(preflight, now_ms());
    let verb = RecordHello { node: id.clone(), boot_id, agent_version, facts, preflight, rehearsed };
    server.ledger.propose(verb).await.map_err(status::of_propose)
}

/// Commits a report. A refusal is final, so it is acknowledged too: sending it again would not change it. Not so for a
/// locked node: the stream ends, and the agent keeps its report until the node is unlocked.
async fn record_report(server: &Unsealed, node: &NodeCaller, report: Report) -> Result<(), Status> {
    let step = report.step.clone();
    let result = if let Some(number) = Errand::number_of(&report.step) {
        match wire::report::errand_outcome(report) {
            Some(outcome) => server.ledger.propose(CompleteErrand { number, node: node.id.clone(), outcome }).await,
            None => Ok(()),
        }
    } else {
        let verb = wire::report::parse(node.id.clone(), report).map_err(Status::invalid_argument)?;
        server.ledger.propose(verb).await
    };
    match result {
        Err(ProposeError::Refused(refusal)) if !matches!(refusal, Refusal::Locked(_)) => {
            tracing::warn!(node = %node.id, step, why = %refusal, "a report was refused");
            Ok(())
        }
        other => other.map_err(status::of_propose),
    }
}
