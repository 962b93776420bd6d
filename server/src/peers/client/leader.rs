//! What is asked of a leader for an operator.

use std::time::Duration;

use super::{Client, meaningless};
use crate::consensus::{MembershipError, Peer, ServerId, TransportError};
use crate::peers::leader::Progress;
use crate::peers::wire::leader;
use crate::web::metrics::PeerCall;

impl Client {
    /// Asks a leader how the group is doing; the inner error is who leads, if that one does not.
    ///
    /// # Errors
    /// [`TransportError`] without an answer.
    pub async fn progress(
        &self,
        to: ServerId,
        peer: &Peer,
        within: Duration,
    ) -> Result<Result<Progress, Option<ServerId>>, TransportError> {
        let sent =
            self.send(PeerCall::Progress, (to, peer, within), leader::render_ask, |mut client, request| async move {
                client.progress(request).await
            });
        leader::parse_progress(sent.await?).map_err(meaningless)
    }

    /// Asks a leader to step down for server `next`.
    ///
    /// # Errors
    /// [`TransportError`] without an answer: it may have happened.
    pub async fn hand_over(
        &self,
        to: ServerId,
        peer: &Peer,
        next: ServerId,
        within: Duration,
    ) -> Result<Result<(), MembershipError>, TransportError> {
        let request = |envelope| leader::render_hand_over(envelope, next);
        let sent = self.send(PeerCall::HandOver, (to, peer, within), request, |mut client, request| async move {
            client.hand_over(request).await
        });
        leader::parse_handed_over(sent.await?).map_err(meaningless)
    }
}
