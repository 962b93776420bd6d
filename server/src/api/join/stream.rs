//! One node's stream: the latest instruction down, reports up.

use muster_proto::join::v1::{
    AgentMessage, Hello, Instruction as WireInstruction, LogLines, Report, ReportAck, ServerMessage, Welcome,
    agent_message::Message as FromAgent, server_message::Message as ToAgent,
};
use muster_state::{
    Refusal,
    command::{CompleteErrand, RecordDetached, RecordHello, Release},
    limits::{CLAIM_MAX, clip_to},
    record::{Attachment, Errand},
};
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

use crate::{
    api::{caller::NodeCaller, status, voters::Voters, wire},
    clock::now_ms,
    ledger::ProposeError,
    operations::{Unsealed, instruction},
    peers::relay::{PayloadAsk, RelayError},
    sessions::Session,
    web::metrics::{self, AuthenticationFailure},
};

/// A message on its way down. Boxed, because a channel keeps room for 32 of its items however few it may hold, and each of ten
/// thousand streams has one.
pub(super) type Down = Box<Result<ServerMessage, Status>>;

/// A node's stream, and what serves it.
pub(super) struct Line {
    pub(super) server: Unsealed,
    pub(super) voters: Voters,
    pub(super) node: NodeCaller,
    pub(super) session: Session,
    pub(super) out: mpsc::Sender<Down>,
}

impl Line {
    /// Confirms the identity that the agent has shown and records what it said of its machine: one command, so that a thousand
    /// agents that come back at once cost the log no more than that.
    async fn attach(&self, hello: Hello) -> Result<(), Status> {
        let verb = RecordHello { key: Some(self.node.key), ..self.verb_of(hello)? };
        self.server.ledger.propose(verb).await.map_err(super::of_identity)?;
        // A copied key is noticed by its use, and locks the node.
        let locked = self.server.ledger.read(|state| state.nodes.get(&self.node.id)?.locked.clone());
        locked.map_or(Ok(()), |reason| Err(status::of_propose(Refusal::Locked(reason).into())))
    }

    fn verb_of(&self, hello: Hello) -> Result<RecordHello, Status> {
        Ok(RecordHello {
            node: self.node.id.clone(),
            boot_id: hello.boot_id,
            agent_version: hello.agent_version,
            facts: wire::facts::parse(hello.facts.unwrap_or_default()).map_err(Status::invalid_argument)?,
            preflight: wire::preflight::parse(hello.preflight.unwrap_or_default(), now_ms()),
            rehearsed: hello.rehearsed,
            stream: Some(self.attachment()),
            key: None,
        })
    }

    /// The fleet believes that the agent is attached by this stream.
    fn is_recorded(&self) -> bool {
        let at = self.server.ledger.read(|state| state.nodes.get(&self.node.id)?.attached);
        at == Some(self.attachment())
    }

    fn attachment(&self) -> Attachment {
        Attachment { server: self.server.id, start: self.server.start, stream: self.session.number }
    }

    async fn send(&self, message: ToAgent) -> Result<(), Status> {
        let message = ServerMessage { message: Some(message) };
        self.out.send(Box::new(Ok(message))).await.map_err(|_| Status::cancelled("the agent is gone"))
    }
}

/// Hears how the attempt to attach went.
type Began = oneshot::Sender<Result<(), Status>>;

/// Records that the agent is attached, serves its stream to the end, and records that too. `began` hears how the first went.
pub(super) async fn run(line: Line, hello: Hello, from_agent: Streaming<AgentMessage>, began: Began) {
    let attached = line.attach(hello).await;
    let is_attached = attached.is_ok();
    let is_heard = began.send(attached).is_ok();
    if is_attached && is_heard {
        serve(&line, from_agent).await;
    }
    // A server that stops forgets all its streams at its next start; most of its agents are attached elsewhere by then.
    if line.is_recorded() && !line.server.stopping.is_cancelled() {
        let ended = RecordDetached { node: line.node.id.clone(), stream: line.attachment() };
        if let Err(err) = line.server.ledger.propose(ended).await {
            tracing::debug!(node = %line.node.id, %err, "the end of a stream was not recorded");
        }
    }
}

/// Serves the stream until either side ends it, a newer stream of the node takes over, or its identity is gone.
async fn serve(line: &Line, mut from_agent: Streaming<AgentMessage>) {
    let Line { server, node, session, out, .. } = line;
    let mut watch = server.ledger.watch_node(&node.id);
    let (mut told, mut sent) = (Vec::new(), None);
    loop {
        let up_to_date = async {
            stay_attached(line).await?;
            welcome(line, &mut told).await?;
            instruct(line, &mut sent).await
        };
        if let Err(status) = up_to_date.await {
            let _ = out.send(Box::new(Err(status))).await;
            return;
        }
        tokio::select! {
            () = out.closed() => return,
            () = server.stopping.cancelled() => {
                // The agent goes to the next server, or comes back to this one.
                let _ = out.try_send(Box::new(Err(Status::unavailable("the server is stopping"))));
                return;
            }
            () = session.replaced.cancelled() => {
                let _ = out.send(Box::new(Err(Status::aborted("another stream of this node has taken over")))).await;
                return;
            }
            changed = watch.changed() => if changed.is_err() { return },
            message = from_agent.message() => match message {
                Ok(Some(AgentMessage { message: Some(message) })) => {
                    if let Err(status) = take(line, message).await {
                        let _ = out.send(Box::new(Err(status))).await;
                        return;
                    }
                }
                Ok(Some(AgentMessage { message: None })) => {}
                Ok(None) | Err(_) => return,
            },
        }
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
        FromAgent::Hello(hello) => server.ledger.propose(line.verb_of(hello)?).await.map_err(status::of_propose),
        FromAgent::Preflight(preflight) => fresh_preflight(line, preflight).await,
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

async fn fresh_preflight(line: &Line, preflight: muster_proto::join::v1::Preflight) -> Result<(), Status> {
    let Some(known) = last_hello(line) else { return Ok(()) };
    let verb = RecordHello { preflight: wire::preflight::parse(preflight, now_ms()), ..known };
    line.server.ledger.propose(verb).await.map_err(status::of_propose)
}

/// Says again where the agent is, when the fleet has forgotten it: a hello on an earlier stream, to another server, was carried out
/// late, and its end too.
async fn stay_attached(line: &Line) -> Result<(), Status> {
    let is_forgotten = line.server.ledger.read(|state| {
        let node = state.nodes.get(&line.node.id);
        node.is_some_and(|node| node.attached.is_none() && node.locked.is_none())
    });
    let Some(known) = last_hello(line).filter(|_| is_forgotten) else { return Ok(()) };
    line.server.ledger.propose(known).await.map_err(status::of_propose)
}

/// What the agent said last, as said on this stream.
fn last_hello(line: &Line) -> Option<RecordHello> {
    line.server.ledger.read(|state| {
        let node = state.nodes.get(&line.node.id)?;
        Some(RecordHello {
            node: node.id.clone(),
            boot_id: node.boot_id.clone(),
            agent_version: node.agent_version.clone(),
            facts: node.facts.clone(),
            preflight: node.preflight.clone().unwrap_or_default(),
            rehearsed: node.rehearsed,
            stream: Some(line.attachment()),
            key: None,
        })
    })
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
