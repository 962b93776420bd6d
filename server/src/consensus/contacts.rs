//! When each peer answered this server last. openraft tells a leader how far its peers are, but not whether they still are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::types::ServerId;

/// The last answer of each peer; cheap to clone. A leader hears of each several times a second.
#[derive(Clone, Debug, Default)]
pub(super) struct Contacts {
    // Held for one look-up or one insertion.
    last: Arc<Mutex<BTreeMap<ServerId, Instant>>>,
}

impl Contacts {
    /// That peer has just answered.
    pub(super) fn heard(&self, from: ServerId) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(from, Instant::now());
    }

    /// How long ago that peer answered; `None`: never since this server started.
    pub(super) fn silence(&self, of: ServerId) -> Option<Duration> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get(&of).map(Instant::elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_grows_until_the_peer_answers_again() {
        let contacts = Contacts::default();
        assert_eq!(contacts.silence(2), None);
        contacts.heard(2);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!((contacts.silence(2), contacts.silence(3)), (Some(Duration::from_secs(3)), None));
        contacts.heard(2);
        assert_eq!(contacts.silence(2), Some(Duration::ZERO));
    }
}
