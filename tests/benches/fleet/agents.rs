//! Agents as the server sees them: each with a key, a certificate and a connection of its own.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use muster_agent::client::connect_server;
use muster_proto::enrolment::v1::Issued;
use muster_proto::join::v1::agent_message::Message as Said;
use muster_proto::join::v1::join_service_client::JoinServiceClient;
use muster_proto::join::v1::server_message::Message as Heard;
use muster_proto::join::v1::{AgentMessage, Hello, Instruction, Preflight, ServerMessage};
use muster_tests::Fleet;
use muster_tests::raw::{Answer, Applicant, Certified};
use muster_trust::{Anchor, client_config};
use rustls_pki_types::CertificateDer;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::system::{CHANGE_BYTES, Watcher, round_mark};

/// Machines that enrol at the same time.
const ENROLLING: usize = 64;

/// A machine that was admitted.
pub(crate) struct Identity {
    machine: Applicant,
    certified: Certified,
    issued: Issued,
}

impl Identity {
    pub(crate) fn node_id(&self) -> &str {
        &self.certified.node_id
    }
}

/// Enrols machines honestly with one token; in the order of their numbers.
pub(crate) async fn enrol(fleet: &Arc<Fleet>, count: usize) -> Result<Vec<Identity>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let uses = count.to_string();
    let made = fleet.json(&["token", "create", "--cluster", "bench", "--pool", "worker", "--uses", &uses])?;
    let token: Arc<str> = made["token"].as_str().context("no token was made")?.into();
    let turns = Arc::new(Semaphore::new(ENROLLING));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (fleet, turns, token) = (fleet.clone(), turns.clone(), token.clone());
        tasks.spawn(async move {
            let _turn = turns.acquire().await?;
            let machine = Applicant::new(&format!("bench-{number}"))?;
            let Answer::Issued(issued) = machine.enrol(&fleet.servers[0], &token).await? else {
                bail!("{number} is not in")
            };
            Ok((number, Identity { certified: Certified::new(&machine.key, &issued), machine, issued }))
        });
    }
    let mut identities = Vec::new();
    while let Some(enrolled) = tasks.join_next().await {
        identities.push(enrolled??);
    }
    identities.sort_by_key(|(number, _)| *number);
    Ok(identities.into_iter().map(|(_, identity)| identity).collect())
}

/// An attached agent.
pub(crate) struct Agent {
    // Dropping it would end the stream.
    _says: mpsc::Sender<AgentMessage>,
    heard: Streaming<ServerMessage>,
}

impl Agent {
    /// All that a machine needs to attach to the node listener at `address`; it attaches once awaited.
    pub(crate) fn prepared(
        address: &str,
        identity: &Identity,
    ) -> Result<impl Future<Output = Result<Self>> + Send + 'static + use<>> {
        let url = address.parse()?;
        let Identity { machine, certified, issued } = identity;
        // What an agent trusts once it has enrolled.
        let root = Anchor::Root(CertificateDer::from(issued.fleet_root.clone()));
        let config = Arc::new(client_config(root, Some(&issued.fleet), Some(certified.tls()))?);
        let hello = AgentMessage { message: Some(Said::Hello(hello(machine, certified.generation)?)) };
        Ok(async move {
            let channel = connect_server(&url, config).await?;
            let (says, said) = mpsc::channel(1);
            says.send(hello).await?;
            let heard = JoinServiceClient::new(channel).attach(ReceiverStream::new(said)).await?.into_inner();
            let mut agent = Self { _says: says, heard };
            agent.instruction().await?;
            Ok(agent)
        })
    }

    async fn instruction(&mut self) -> Result<Instruction> {
        while let Some(message) = self.heard.message().await? {
            if let Some(Heard::Instruction(instruction)) = message.message {
                return Ok(instruction);
            }
        }
        bail!("the server closed the stream")
    }
}

impl Watcher for Agent {
    async fn changed(&mut self, round: usize) -> Result<()> {
        let mark = round_mark(round);
        loop {
            let instruction = self.instruction().await?;
            if instruction.hold && instruction.message.len() >= CHANGE_BYTES && instruction.message.starts_with(&mark) {
                return Ok(());
            }
        }
    }
}

fn hello(machine: &Applicant, generation: u64) -> Result<Hello> {
    let version = || "v1.36.2".to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let preflight = Preflight {
        kubeadm_version: version(),
        kubelet_version: version(),
        kubectl_version: version(),
        container_runtime: "rehearsal 1.0.0".to_owned(),
        agent_unix_ms: u64::try_from(now.as_millis())?,
        ..Preflight::default()
    };
    Ok(Hello {
        agent_version: "0.0.0".to_owned(),
        boot_id: "00000000-0000-4000-8000-000000000000".to_owned(),
        facts: Some(machine.facts.clone()),
        preflight: Some(preflight),
        generation,
        rehearsed: true,
    })
}
