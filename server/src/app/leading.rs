//! What other servers may ask of this one while it leads.

use crate::{
    ledger::{Ledger, MembershipError},
    peers::leader::{Leader, Progress},
};

#[async_trait::async_trait]
impl Leader for Ledger {
    fn progress(&self) -> Result<Progress, Option<u64>> {
        let status = self.status();
        Progress::of(&status).ok_or(status.leader)
    }

    async fn hand_over(&self, to: u64) -> Result<(), MembershipError> {
        self.hand_over_leadership(to).await
    }
}
