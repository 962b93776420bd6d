//! A node's stream.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use muster_proto::join::v1::agent_message::Message as Said;
use muster_proto::join::v1::join_service_client::JoinServiceClient;
use muster_proto::join::v1::server_message::Message as Heard;
use muster_proto::join::v1::{AgentMessage, Hello, Instruction, Preflight, Report, ServerMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Applicant, Certified, Listener, connect, soon};
use crate::Server;

/// An open stream.
pub struct Attached {
    say: mpsc::Sender<AgentMessage>,
    heard: Streaming<ServerMessage>,
}

impl Attached {
    /// Attaches with a certificate, as a rehearsal of a machine without fault.
    ///
    /// # Errors
    /// If the server is not reached, or refuses; its status is inside the error.
    pub async fn open(server: &Server, node: &Certified, machine: &Applicant) -> Result<Self> {
        let channel = connect(server, Listener::Nodes, Some(node.tls())).await?;
        let (say, said) = mpsc::channel(8);
        let version = || "v1.36.2".to_owned();
        let preflight = Preflight {
            kubeadm_version: version(),
            kubelet_version: version(),
            kubectl_version: version(),
            container_runtime: "rehearsal 1.0.0".to_owned(),
            agent_unix_ms: u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?,
            ..Preflight::default()
        };
        let hello = Hello {
            agent_version: "0.0.0".to_owned(),
            boot_id: "00000000-0000-4000-8000-000000000000".to_owned(),
            facts: Some(machine.facts.clone()),
            preflight: Some(preflight),
            generation: node.generation,
            rehearsed: true,
        };
        say.send(AgentMessage { message: Some(Said::Hello(hello)) }).await?;
        let mut client = JoinServiceClient::new(channel);
        let heard = soon("a stream", client.attach(ReceiverStream::new(said))).await??.into_inner();
        Ok(Self { say, heard })
    }

    /// Sends a report and waits until the server acknowledges it.
    ///
    /// # Errors
    /// If the stream breaks.
    pub async fn report(&mut self, report: Report) -> Result<()> {
        let sequence = report.sequence;
        self.say.send(AgentMessage { message: Some(Said::Report(report)) }).await?;
        loop {
            if let Heard::Ack(ack) = self.next().await?
                && ack.sequence == sequence
            {
                return Ok(());
            }
        }
    }

    /// The next instruction.
    ///
    /// # Errors
    /// If the stream breaks; the status is inside the error.
    pub async fn instruction(&mut self) -> Result<Instruction> {
        loop {
            if let Heard::Instruction(instruction) = self.next().await? {
                return Ok(instruction);
            }
        }
    }

    async fn next(&mut self) -> Result<Heard> {
        let message =
            soon("a message", self.heard.message()).await??.ok_or_else(|| anyhow!("the server closed the stream"))?;
        message.message.ok_or_else(|| anyhow!("an empty message"))
    }

    /// Reads until the server ends the stream, and gives the status that it ended with.
    ///
    /// # Errors
    /// If it ended without one.
    pub async fn end(&mut self) -> Result<Status> {
        loop {
            match soon("the end of the stream", self.heard.message()).await? {
                Ok(Some(_)) => {}
                Ok(None) => return Err(anyhow!("the stream ended without a word")),
                Err(status) => return Ok(status),
            }
        }
    }
}

/// All that an error and its causes say, for looking into.
pub fn words_of(error: &anyhow::Error) -> String {
    format!("{error:#} / {error:?}")
}
