//! A group of servers on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_state::NodeId;
use muster_state::record::Certificate;
use muster_trust::sealing::SealedToNode;
use muster_trust::{IdentityCell, Role};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::consensus::machine::toy::{Toy, Write};
use crate::consensus::types::ServerId;
use crate::consensus::{Consensus, MembershipError, Options, Peer};
use crate::peers::greet::{Greeter, Memory};
use crate::peers::leader::{Leader, Progress};
use crate::peers::relay::{PayloadAsk, RelayError, RenewalAsk, Voter};
use crate::peers::roster::{Roster, Standing};
use crate::peers::service::{Door, service};
use crate::peers::{Client, Credentials, Gate};
use crate::pki::{FleetPki, LeafTerms};
use crate::sessions::Sessions;
use crate::storage::directory::DataDirectory;

pub(super) const FLEET: &str = "4f1c9c5e-0b1c-4a57-9a0e-6a1f2f0d3b7c";
pub(super) const LONG: Duration = Duration::from_secs(60);

/// One running server.
pub(super) struct Member {
    pub(super) id: ServerId,
    pub(super) consensus: Consensus<Toy>,
    pub(super) client: Client,
    pub(super) peer: Peer,
    pub(super) gate: Gate,
    pub(super) sessions: Sessions,
    stop: CancellationToken,
    directory: PathBuf,
    serving: JoinHandle<()>,
}

/// What a door is told of servers by Raft alone; everybody was approved.
struct Members(Consensus<Toy>);

impl Roster for Members {
    fn standing(&self, id: ServerId) -> Standing {
        let member = self.0.status().members.get(&id).map(|member| member.voter);
        Standing { member: member.is_some(), votes: member.unwrap_or_default(), approved: true, ..Standing::default() }
    }
}

#[async_trait::async_trait]
impl Leader for Members {
    fn progress(&self) -> Result<Progress, Option<ServerId>> {
        let status = self.0.status();
        Progress::of(&status).ok_or(status.leader)
    }

    async fn hand_over(&self, to: ServerId) -> Result<(), MembershipError> {
        self.0.hand_over_leadership(to).await
    }
}

/// What a relay may forward, among notes: those that machines write.
fn may_forward(_: ServerId, votes: bool, command: &Write) -> bool {
    votes || command.text.starts_with("machine")
}

/// A voter that answers every question with a no.
struct NoKeys;

#[async_trait::async_trait]
impl Voter for NoKeys {
    async fn render_payload(&self, from: ServerId, ask: PayloadAsk) -> Result<SealedToNode, RelayError> {
        Err(RelayError::Request(format!("server {from} asks for step {} of {}", ask.step, ask.node)))
    }

    async fn issue_certificate(&self, _: ServerId, _: NodeId) -> Result<Certificate, RelayError> {
        Err(RelayError::Moved)
    }

    async fn renew_certificate(&self, _: ServerId, _: RenewalAsk) -> Result<(u64, Certificate), RelayError> {
        Err(RelayError::Failed)
    }
}

impl Member {
    /// Ends it in order and frees its directory.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.consensus.shutdown().await;
        let _ = self.serving.await;
        // On a machine without breath the shutdown does not wait for the last writes, and the directory is about to be removed.
        until("the end of the last write", || DataDirectory::open(&self.directory).ok()).await;
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.consensus.read(|toy| toy.notes.iter().map(|note| note.text.clone()).collect())
    }

    pub(super) async fn write(&self, text: impl Into<String>) -> u64 {
        self.consensus.propose(Write::new(text), LONG).await.unwrap()
    }

    /// Will greet servers of these ids, as the start of this count.
    pub(super) fn greeter(&self, fleet: &Fleet, generation: u64, others: &[ServerId]) -> Greeter<Toy> {
        let others = others.iter().map(|id| (*id, fleet.peer(*id).clone())).collect();
        Greeter::new(self.client.clone(), self.gate.clone(), self.consensus.peer(), generation, others)
    }

    pub(super) fn leads(&self) -> bool {
        self.consensus.status().leader == Some(self.id)
    }
}

/// A fleet, and where its servers keep their data.
pub(super) struct Fleet {
    pub(super) pki: FleetPki,
    home: TempDir,
    addresses: BTreeMap<ServerId, Peer>,
    pub(super) snapshot_every: u64,
}

pub(super) fn mk_pki(fleet: &str) -> FleetPki {
    FleetPki::generate(fleet, now_ms()).unwrap().pki
}

impl Fleet {
    pub(super) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { pki: mk_pki(FLEET), home, addresses: BTreeMap::new(), snapshot_every: 100_000 }
    }

    pub(super) fn directory(&self, id: ServerId) -> PathBuf {
        self.home.path().join(id.to_string())
    }

    pub(super) fn credentials(&self, id: ServerId) -> Credentials {
        let identity = self.pki.issue(&LeafTerms::server(&id.to_string(), vec![]), now_ms()).unwrap().to_tls();
        let identity = Arc::new(IdentityCell::new(identity).unwrap());
        Credentials { fleet: FLEET.to_owned(), id, root: self.pki.root().clone(), identity }
    }

    /// A client of server `id` that is not a server.
    pub(super) fn client(&self, id: ServerId) -> Client {
        let gate = Gate::default();
        gate.open();
        let client = Client::new(gate, Memory::default());
        client.present(self.credentials(id));
        client
    }

    /// Starts a server that has greeted nobody yet, on the port that it had before.
    pub(super) async fn start_shut(&mut self, id: ServerId) -> Member {
        let address = self.addresses.get(&id).map_or("127.0.0.1:0", |peer| peer.address.as_str());
        let socket = TcpListener::bind(address).await.unwrap();
        let peer = Peer { address: socket.local_addr().unwrap().to_string() };
        self.addresses.insert(id, peer.clone());
        let (gate, memory, credentials) = (Gate::default(), Memory::default(), self.credentials(id));
        let client = Client::new(gate.clone(), memory.clone());
        client.present(credentials.clone());
        let options = Options { snapshot_every: self.snapshot_every, ..Options::new(self.directory(id), id) };
        let consensus = Consensus::<Toy>::open(options.with_transport(client.clone())).await.unwrap();
        let sessions = Sessions::default();
        let door = Door {
            fleet: FLEET.to_owned(),
            id,
            consensus: consensus.peer(),
            gate: gate.clone(),
            memory,
            roster: Arc::new(Members(consensus.clone())),
            may_forward,
            voter: Arc::new(NoKeys),
            leader: Arc::new(Members(consensus.clone())),
            sessions: sessions.clone(),
            start: consensus.generation(),
        };
        let stop = CancellationToken::new();
        let servers = self.pki.anchors().unwrap().role_verifier(Role::Server).unwrap();
        let serving =
            crate::api::peers::serve(service(door), socket, credentials.identity, servers, stop.clone()).unwrap();
        let directory = self.directory(id);
        Member { id, consensus, client, peer, gate, sessions, stop, directory, serving: tokio::spawn(serving) }
    }

    pub(super) async fn start(&mut self, id: ServerId) -> Member {
        let member = self.start_shut(id).await;
        member.gate.open();
        member
    }

    /// Three voters, the first of which founded the group and leads.
    pub(super) async fn three(&mut self) -> [Member; 3] {
        let members = [self.start(1).await, self.start(2).await, self.start(3).await];
        let [founder, second, third] = &members;
        founder.consensus.initialize(founder.peer.clone()).await.unwrap();
        founder.consensus.wait_ready(LONG).await.unwrap();
        founder.consensus.add_learner(2, second.peer.clone()).await.unwrap();
        founder.consensus.add_learner(3, third.peer.clone()).await.unwrap();
        founder.consensus.change_voters(BTreeSet::from([1, 2, 3])).await.unwrap();
        for member in [second, third] {
            member.consensus.wait_ready(LONG).await.unwrap();
        }
        members
    }

    pub(super) fn peer(&self, id: ServerId) -> &Peer {
        &self.addresses[&id]
    }
}

/// Looks until there is something; fails after [`LONG`].
pub(super) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            match look() {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(LONG, looking).await.unwrap_or_else(|_| panic!("it never came: {what}"))
}

/// Copies a data directory as it lies there.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            std::fs::copy(entry.path(), target).map(|_| ()).unwrap()
        }
    }
}
