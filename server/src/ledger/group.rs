//! Who keeps the ledger: what is asked of the group itself, by operators and by the leader's membership task.

use std::collections::BTreeSet;

use super::Ledger;
use crate::consensus::{MembershipError, Peer, ServerId};

impl Ledger {
    /// Adds a server that receives the log and does not vote. Done when committed, not when it has caught up.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(&self, server: ServerId, address: &str) -> Result<(), MembershipError> {
        self.consensus.add_learner(server, Peer { address: address.to_owned() }).await
    }

    /// Says where a member is reached now.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn set_address(&self, server: ServerId, address: &str) -> Result<(), MembershipError> {
        self.consensus.set_peer(server, Peer { address: address.to_owned() }).await
    }

    /// Makes exactly these servers voters.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn change_voters(&self, voters: BTreeSet<ServerId>) -> Result<(), MembershipError> {
        self.consensus.change_voters(voters).await
    }

    /// Completes a change of voters that was interrupted.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn finish_joint(&self) -> Result<(), MembershipError> {
        self.consensus.finish_joint().await
    }

    /// Takes a server out of the group.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn remove_member(&self, server: ServerId) -> Result<(), MembershipError> {
        self.consensus.remove(server).await
    }

    /// The leader steps down for another voter, and returns when that leads.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn hand_over_leadership(&self, to: ServerId) -> Result<(), MembershipError> {
        self.consensus.hand_over_leadership(to).await
    }

    /// Has this server put its state into a snapshot soon.
    ///
    /// # Errors
    /// [`MembershipError::Unavailable`].
    pub async fn trigger_snapshot(&self) -> Result<(), MembershipError> {
        self.consensus.trigger_snapshot().await
    }
}
