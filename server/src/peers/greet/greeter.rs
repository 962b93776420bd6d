//! A server's first words to its peers.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Greeted, Greeting, Refused};
use crate::consensus::types::Peers;
use crate::consensus::{Machine, PeerHandle, ReadError, ServerId};
use crate::peers::client::Client;
use crate::peers::gate::Gate;

/// How long one peer may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Between two rounds. A server that was down waits so long at most until those that started before it speak to it.
const PAUSE: Duration = Duration::from_millis(300);

/// Greets every peer until each has answered, and opens the gate to those that welcome this server.
pub struct Greeter<M: Machine> {
    client: Client,
    gate: Gate,
    consensus: PeerHandle<M>,
    generation: u64,
    start: [u8; 16],
    silent: Peers,
}

/// Why a server does not get to take part.
#[derive(Debug, thiserror::Error)]
pub enum NotWelcome {
    /// A peer said so: this server must stop.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Consensus has stopped meanwhile.
    #[error(transparent)]
    Stopped(#[from] ReadError),
}

impl<M: Machine> Greeter<M> {
    /// Will greet the `others`, who are the members of the group that this server knows of, without itself. `generation` counts
    /// the starts of its data directory. Nothing passes to or from them until they have answered.
    #[must_use]
    pub fn new(client: Client, gate: Gate, consensus: PeerHandle<M>, generation: u64, others: Peers) -> Self {
        gate.wait_for(others.keys().copied());
        Self { client, gate, consensus, generation, start: Uuid::new_v4().into_bytes(), silent: others }
    }

    /// Ends, with the gate open, when one peer has answered, or when there are no others. Without an answer of one there is no
    /// majority either, so there is nothing to hurry for. Propose nothing before.
    ///
    /// # Errors
    /// [`NotWelcome`].
    pub async fn first(&mut self) -> Result<(), NotWelcome> {
        let others = self.silent.len();
        while others > 0 && self.silent.len() == others {
            self.round(true).await?;
        }
        self.gate.open();
        Ok(())
    }

    /// Ends when each peer has answered; run it beside the server.
    ///
    /// # Errors
    /// [`NotWelcome`].
    pub async fn rest(mut self) -> Result<(), NotWelcome> {
        while !self.silent.is_empty() {
            self.round(false).await?;
        }
        Ok(())
    }

    /// Asks all who have not answered, and rests if nobody did. `fresh`: nothing was proposed by this start yet.
    async fn round(&mut self, fresh: bool) -> Result<(), NotWelcome> {
        let (last_index, vote) = self.consensus.promised().await?;
        let greeting = Greeting { generation: self.generation, start: self.start, fresh, last_index, vote: Some(vote) };
        let mut asked = JoinSet::new();
        for (id, peer) in self.silent.clone() {
            let client = self.client.clone();
            asked.spawn(async move { (id, client.greet(id, &peer, &greeting, ANSWER_WITHIN).await) });
        }
        let before = self.silent.len();
        let answers: BTreeMap<ServerId, _> = asked.join_all().await.into_iter().collect();
        for (id, answer) in answers {
            match answer {
                Ok(Greeted::Welcome) => {
                    self.gate.welcomed_by(id);
                    self.silent.remove(&id);
                }
                Ok(Greeted::Refused(refused)) => return Err(refused.into()),
                Ok(Greeted::Unknown) => tracing::debug!(id, "a peer does not know this server yet"),
                Err(error) => tracing::debug!(id, %error, "a peer could not be greeted"),
            }
        }
        if self.silent.len() == before {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}
