//! The leader, asked by any server for an operator: only it knows who keeps up, and only it can step down.

use std::time::Duration;

use crate::{
    ledger::{Ledger, MembershipError, Peer, Role, Status},
    operations::{NotHere, OperationError},
    peers::Client,
};

/// The leader knows it without asking anybody.
const PROGRESS_WITHIN: Duration = Duration::from_secs(2);
/// Stepping down takes an election and what the library waits for before it.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(15);

/// A way to the leader; cheap to clone.
#[derive(Clone)]
pub struct Leader {
    /// Calls other servers.
    pub client: Client,
    /// Knows who leads.
    pub ledger: Ledger,
}

impl Leader {
    /// The group as its leader sees it.
    ///
    /// # Errors
    /// [`NotHere`] if this server does not lead and the leader does not say.
    pub async fn view(&self) -> Result<Status, NotHere> {
        let own = self.ledger.status();
        if own.role == Role::Leader {
            return Ok(own);
        }
        let (leader, peer) = other(&own)?;
        match self.client.progress(leader, &peer, PROGRESS_WITHIN).await {
            Ok(Ok(progress)) => Ok(progress.seen_from(leader, own)),
            Ok(Err(leader)) => Err(NotHere { leader }),
            Err(error) => {
                tracing::debug!(leader, %error, "the leader did not say how the group is doing");
                Err(NotHere { leader: Some(leader) })
            }
        }
    }

    /// Has the leader step down for another voter.
    ///
    /// # Errors
    /// [`OperationError::Group`], or [`OperationError::NotHere`] if the leader is not reached.
    pub async fn hand_over(&self, to: u64) -> Result<(), OperationError> {
        let own = self.ledger.status();
        if own.role == Role::Leader {
            return Ok(self.ledger.hand_over_leadership(to).await?);
        }
        let (leader, peer) = other(&own)?;
        match self.client.hand_over(leader, &peer, to, HAND_OVER_WITHIN).await {
            Ok(outcome) => Ok(outcome?),
            // It may have happened all the same: the leader hangs up on those it does not lead any more.
            Err(_) if self.ledger.status().leader == Some(to) => Ok(()),
            Err(_) => Err(MembershipError::TimedOut.into()),
        }
    }
}

/// The leader, which is another server, and where it is.
fn other(own: &Status) -> Result<(u64, Peer), NotHere> {
    let leader = own.leader.filter(|leader| *leader != own.id).ok_or(NotHere { leader: None })?;
    let peer = own.members.get(&leader).map(|member| member.peer.clone());
    Ok((leader, peer.ok_or(NotHere { leader: Some(leader) })?))
}
