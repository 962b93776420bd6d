//! A server's first words to its peers.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Greeted, Greeting, Refused};
use crate::consensus::types::{Peers, ServerId};
use crate::peers::client::Client;

/// How long one peer may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Between two rounds, while nobody has answered.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two rounds to those who have not answered yet.
const LONG_PAUSE: Duration = Duration::from_secs(2);

/// Greets every peer until each has answered.
pub struct Greeter {
    client: Client,
    greeting: Greeting,
    silent: Peers,
}

impl Greeter {
    /// Will greet the other members of the group.
    #[must_use]
    pub fn new(client: Client, greeting: Greeting, others: Peers) -> Self {
        Self { client, greeting, silent: others }
    }

    /// Ends when one peer has answered and every other has been asked once, or when there are no others. Without an answer of
    /// one there is no majority either, so there is nothing to hurry for.
    ///
    /// # Errors
    /// [`Refused`]: this server must stop.
    pub async fn first(&mut self) -> Result<(), Refused> {
        let others = self.silent.len();
        while !self.silent.is_empty() {
            self.round().await?;
            if self.silent.len() < others {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Ends when each peer has answered; run it beside the server.
    ///
    /// # Errors
    /// [`Refused`]: this server must stop.
    pub async fn rest(mut self) -> Result<(), Refused> {
        while !self.silent.is_empty() {
            tokio::time::sleep(LONG_PAUSE).await;
            self.round().await?;
        }
        Ok(())
    }

    async fn round(&mut self) -> Result<(), Refused> {
        let mut asked = JoinSet::new();
        for (id, peer) in self.silent.clone() {
            let (client, greeting) = (self.client.clone(), self.greeting);
            asked.spawn(async move { (id, client.greet(id, &peer, &greeting, ANSWER_WITHIN).await) });
        }
        let answers: BTreeMap<ServerId, _> = asked.join_all().await.into_iter().collect();
        for (id, answer) in answers {
            match answer {
                Ok(Greeted::Welcome) => drop(self.silent.remove(&id)),
                Ok(Greeted::Refused(refused)) => return Err(refused),
                Ok(Greeted::Unknown) => tracing::debug!(id, "a peer does not know this server yet"),
                Err(error) => tracing::debug!(id, %error, "a peer could not be greeted"),
            }
        }
        Ok(())
    }
}
