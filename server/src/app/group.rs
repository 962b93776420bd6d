//! This server among the others: its log, opened over the wire between servers, and its first words to them.

use std::sync::Arc;

use anyhow::Context as _;
use muster_state::State;
use muster_trust::Role;
use tokio::net::TcpListener;

use super::Running;
use crate::{
    api::{self, relay::ForRelays},
    config::Config,
    consensus::{self, Consensus, Peer},
    ledger::Ledger,
    peers::{
        Client, Credentials, Gate,
        greet::{Greeter, Memory, NotWelcome},
        service::{self, Door},
        verbs,
    },
};

/// The log and the ways to and from other servers. Nothing passes before [`Group::meet`].
pub(super) struct Group {
    pub(super) consensus: Consensus<State>,
    pub(super) ledger: Ledger,
    pub(super) client: Client,
    gate: Gate,
    memory: Memory,
}

/// Opens the log of server `id`.
///
/// # Errors
/// A data directory that is in use or damaged, or another server's.
pub(super) async fn open(config: &Config, id: u64) -> anyhow::Result<Group> {
    let (gate, memory) = (Gate::default(), Memory::default());
    let client = Client::new(gate.clone(), memory.clone());
    let mut options = consensus::Options::new(&config.server.data_dir, id).with_transport(client.clone());
    options.engine = config.storage.backend;
    let consensus = Consensus::open(options).await?;
    let ledger = Ledger::new(consensus.clone());
    Ok(Group { consensus, ledger, client, gate, memory })
}

impl Group {
    /// Listens to the other servers and greets them. Ends when this server may take part, which takes the answer of one of
    /// them if there are any; the rest are greeted on and on.
    ///
    /// # Errors
    /// A sentence with what to do, if a peer knows that this server must not take part.
    pub(super) async fn meet(&self, running: &Running, socket: TcpListener) -> anyhow::Result<()> {
        let Running { server, own, id, ends, tasks, shutdown, .. } = running;
        let (id, fleet) = (*id, server.fleet.to_string());
        let credentials =
            Credentials { fleet: fleet.clone(), id, root: server.anchors.root().clone(), identity: own.cell() };
        self.client.present(credentials);
        let door = Door {
            fleet,
            id,
            consensus: self.consensus.peer(),
            gate: self.gate.clone(),
            memory: self.memory.clone(),
            roster: Arc::new(self.ledger.clone()),
            may_forward: |from, votes, command| verbs::may_forward(from, votes, &command.verb),
            voter: Arc::new(ForRelays { server: server.clone() }),
            leader: Arc::new(self.ledger.clone()),
            sessions: server.sessions.clone(),
            start: server.start,
        };
        let servers = server.anchors.role_verifier(Role::Server)?;
        let mut greeter = self.greeter(id);
        tasks.spawn(api::peers::serve(service::service(door), socket, own.cell(), servers, shutdown.clone())?);
        greeter.first().await.map_err(|why| sentence(why, id))?;
        let (ends, stop) = (ends.clone(), shutdown.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                rest = greeter.rest() => if let Err(why) = rest { ends.end(sentence(why, id)) },
            }
        });
        Ok(())
    }

    /// Will greet the other members that this server's own log knows of.
    fn greeter(&self, id: u64) -> Greeter<State> {
        let others = self.consensus.status().members.into_iter().filter(|(member, _)| *member != id);
        let others = others.map(|(member, known)| (member, known.peer)).collect();
        let (client, gate, peer) = (self.client.clone(), self.gate.clone(), self.consensus.peer());
        Greeter::new(client, gate, peer, self.consensus.generation(), others)
    }

    /// Founds a group of this one server, if it belongs to none.
    ///
    /// # Errors
    /// If the log refuses.
    pub(super) async fn found(&self, config: &Config) -> anyhow::Result<()> {
        self.consensus
            .initialize(Peer { address: config.server.peer_address() })
            .await
            .context("founding the group")?;
        Ok(())
    }
}

fn sentence(why: NotWelcome, id: u64) -> anyhow::Error {
    match why {
        NotWelcome::Refused(refused) => anyhow::anyhow!("{refused}. {}", refused.advice(id)),
        NotWelcome::Stopped(stopped) => stopped.into(),
    }
}
