//! A fleet of one server that leads it, with a real log in a folder of its own: for tests.

use std::{sync::Arc, time::Duration};

use muster_state::State;
use muster_trust::{Role, SpiffeId, sealing::SealingPrivateKey};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{
    Unsealed, found_fleet,
    keyring::{self, Keyring},
    urls::Places,
};
use crate::{
    clock::now_ms,
    consensus::{self, Consensus},
    ledger::Ledger,
    seal::{OwnKeys, SealKey},
    sessions::Sessions,
};

/// Longest wait for the first leader; a loaded machine takes its time.
const SOON: Duration = Duration::from_secs(40);

/// Stop it at the end of a test: a log whose folder is gone ends the process.
pub(crate) struct Founded {
    pub(crate) server: Unsealed,
    consensus: Consensus<State>,
    home: Option<TempDir>,
}

impl Founded {
    pub(crate) async fn start(places: Places) -> Self {
        let home = tempfile::tempdir().unwrap();
        let consensus = Consensus::open(consensus::Options::new(home.path(), 1)).await.unwrap();
        consensus.initialize(consensus::Peer { address: "127.0.0.1:1".into() }).await.unwrap();
        consensus.wait_ready(SOON).await.unwrap();
        let ledger = Ledger::new(consensus.clone());
        let seal = SealKey::from_bytes(&[7; 32]).unwrap();
        ledger.propose(found_fleet::make(&seal, 1, now_ms()).unwrap()).await.unwrap();
        let fleet = ledger.read(|state| state.fleet.clone()).unwrap();
        let own = OwnKeys { seal, before: None, sealing: SealingPrivateKey::generate().unwrap() };
        let keyring = Keyring::new(1, Arc::new(own));
        assert!(keyring.refresh(&fleet).unwrap());
        let server = Unsealed {
            spiffe: SpiffeId::new(fleet.id.as_str(), Role::Server, "1").unwrap().to_string(),
            anchors: Arc::new(keyring::anchors(&fleet).unwrap()),
            fleet: fleet.id,
            id: 1,
            start: 1,
            ledger,
            keyring,
            sessions: Sessions::default(),
            places: Arc::new(places),
            stopping: CancellationToken::new(),
        };
        Self { server, consensus, home: Some(home) }
    }

    pub(crate) async fn stop(self) {
        self.server.stopping.cancel();
        self.consensus.shutdown().await;
    }
}

/// The server of a test that failed still runs, and would end the process when its folder goes: its message is worth more.
impl Drop for Founded {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.home.take().map(TempDir::keep);
        }
    }
}
