//! A group of servers in one process, for tests: messages are calls, and any way between two servers can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use super::error::{ForwardError, ReadError};
use super::machine::Machine;
use super::machine::toy::{Toy, Write};
use super::parcel::{Forwarded, Parcel};
use super::transport::{Append, Appended, Ballot, Installed, SnapshotChunk, Transport, TransportError, Voted};
use super::types::{Peer, ServerId};
use super::{Consensus, Options, PeerHandle, ProposeError};
use crate::storage::Error as StorageError;
use crate::storage::directory::DataDirectory;

/// Longer than anything takes that a test waits for.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The ways between servers.
pub(crate) struct Mesh<M: Machine = Toy> {
    inner: Arc<Mutex<Ways<M>>>,
}

impl<M: Machine> Clone for Mesh<M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<M: Machine> Default for Mesh<M> {
    fn default() -> Self {
        let (doors, cut, deaf) = Default::default();
        Self { inner: Arc::new(Mutex::new(Ways { doors, cut, deaf })) }
    }
}

struct Ways<M: Machine> {
    doors: BTreeMap<ServerId, PeerHandle<M>>,
    cut: BTreeSet<(ServerId, ServerId)>,
    /// Servers that never hear what became of what they forwarded.
    deaf: BTreeSet<ServerId>,
}

impl<M: Machine> Mesh<M> {
    /// What a server sends through.
    pub(crate) fn end(&self, from: ServerId) -> MeshEnd<M> {
        MeshEnd { from, mesh: self.clone() }
    }

    /// The server can be reached from now on.
    pub(crate) fn open_door(&self, id: ServerId, door: PeerHandle<M>) {
        self.ways().doors.insert(id, door);
    }

    fn ways(&self) -> MutexGuard<'_, Ways<M>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the server off from all others, both ways.
    pub(crate) fn isolate(&self, id: ServerId) {
        for other in 1..=9 {
            self.ways().cut.extend([(id, other), (other, id)]);
        }
    }

    /// Cuts one way: what `from` sends does not reach `to`.
    pub(crate) fn cut(&self, from: ServerId, to: ServerId) {
        self.ways().cut.insert((from, to));
    }

    /// What the server forwards arrives, and the answer is lost.
    pub(crate) fn lose_answers_to(&self, id: ServerId) {
        self.ways().deaf.insert(id);
    }

    /// Mends every way.
    pub(crate) fn mend(&self) {
        let mut ways = self.ways();
        ways.cut.clear();
        ways.deaf.clear();
    }

    fn door(&self, from: ServerId, to: ServerId) -> Result<PeerHandle<M>, TransportError> {
        let ways = self.ways();
        let open = ways.doors.get(&to).filter(|_| !ways.cut.contains(&(from, to)));
        open.cloned().ok_or_else(|| TransportError::Unreachable("cut".to_owned()))
    }
}

/// One server's end of the mesh.
#[derive(Clone)]
pub(crate) struct MeshEnd<M: Machine = Toy> {
    from: ServerId,
    mesh: Mesh<M>,
}

impl<M: Machine> MeshEnd<M> {
    /// A cut that comes while the other end works loses the answer.
    fn answered<T>(&self, to: ServerId, answer: T) -> Result<T, TransportError> {
        self.mesh.door(self.from, to).map(|_| answer)
    }
}

impl<M: Machine> Transport<M> for MeshEnd<M> {
    async fn append_entries(&self, to: u64, _: &Peer, rpc: Append<M>, _: Duration) -> Result<Appended, TransportError> {
        let answer = self.mesh.door(self.from, to)?.append_entries(self.from, rpc).await?;
        self.answered(to, answer)
    }

    async fn vote(&self, to: u64, _: &Peer, rpc: Ballot, _: Duration) -> Result<Voted, TransportError> {
        let answer = self.mesh.door(self.from, to)?.vote(self.from, rpc).await?;
        self.answered(to, answer)
    }

    async fn install_snapshot(
        &self,
        to: u64,
        _: &Peer,
        rpc: SnapshotChunk<M>,
        _: Duration,
    ) -> Result<Installed, TransportError> {
        let answer = self.mesh.door(self.from, to)?.install_snapshot(self.from, rpc).await?;
        self.answered(to, answer)
    }

    async fn forward(
        &self,
        to: u64,
        _: &Peer,
        parcel: Parcel<M>,
        _: Duration,
    ) -> Result<Result<Forwarded, ForwardError>, TransportError> {
        let answer = self.mesh.door(self.from, to)?.forward(self.from, parcel).await?;
        if self.mesh.ways().deaf.contains(&self.from) {
            return Err(TransportError::TimedOut);
        }
        self.answered(to, answer)
    }

    async fn read_index(&self, to: u64, _: &Peer, _: Duration) -> Result<Result<u64, ReadError>, TransportError> {
        let answer = self.mesh.door(self.from, to)?.read_index(self.from).await?;
        self.answered(to, answer)
    }

    async fn campaign(&self, to: u64, _: &Peer, _: Duration) -> Result<(), TransportError> {
        self.mesh.door(self.from, to)?.campaign(self.from).await?;
        self.answered(to, ())
    }
}

/// A group of servers, each with a data directory of its own.
pub(crate) struct Group {
    pub(crate) mesh: Mesh,
    homes: BTreeMap<ServerId, TempDir>,
    servers: BTreeMap<ServerId, Consensus<Toy>>,
    snapshot_every: u64,
}

pub(crate) fn peer(id: ServerId) -> Peer {
    Peer { address: format!("server-{id}:9446") }
}

/// Servers of a test that failed still run, and would end the process when their disk goes: its message is worth more.
impl Drop for Group {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (_, home) in std::mem::take(&mut self.homes) {
                let _ = home.keep();
            }
        }
    }
}

impl Group {
    /// A group with these voters, the first of which founded it and leads.
    pub(crate) async fn of(voters: &[ServerId], snapshot_every: u64) -> Self {
        let (mesh, homes, servers) = Default::default();
        let mut group = Self { mesh, homes, servers, snapshot_every };
        for id in voters {
            group.start(*id).await;
        }
        let founder = group.server(voters[0]);
        founder.initialize(peer(voters[0])).await.unwrap();
        founder.wait_ready(LONG).await.unwrap();
        for id in &voters[1..] {
            founder.add_learner(*id, peer(*id)).await.unwrap();
        }
        if voters.len() > 1 {
            founder.change_voters(voters.iter().copied().collect()).await.unwrap();
        }
        for id in voters {
            group.server(*id).wait_ready(LONG).await.unwrap();
        }
        group
    }

    /// Starts a server, or starts it again where it stopped.
    pub(crate) async fn start(&mut self, id: ServerId) -> Consensus<Toy> {
        let home = self.homes.entry(id).or_insert_with(|| tempfile::tempdir().unwrap()).path().to_owned();
        let end = self.mesh.end(id);
        let server = loop {
            match Consensus::open(self.options(&home, id).with_transport(end.clone())).await {
                Ok(server) => break server,
                // One that was killed lets go of its directory when its disk is idle.
                Err(super::OpenError::Storage(StorageError::Locked { .. })) => tokio::task::yield_now().await,
                Err(error) => panic!("server {id}: {error}"),
            }
        };
        self.mesh.open_door(id, server.peer());
        self.servers.insert(id, server.clone());
        server
    }

    fn options(&self, home: &Path, id: ServerId) -> Options {
        Options { snapshot_every: self.snapshot_every, ..Options::new(home, id) }
    }

    pub(crate) fn server(&self, id: ServerId) -> Consensus<Toy> {
        self.servers[&id].clone()
    }

    /// Ends a server without a word, and nobody reaches it any more.
    pub(crate) fn kill(&mut self, id: ServerId) {
        self.mesh.ways().doors.remove(&id);
        self.servers.remove(&id);
    }

    /// Ends the group in order.
    pub(crate) async fn stop(self) {
        for server in self.servers.values() {
            server.shutdown().await;
        }
        for (id, home) in &self.homes {
            if !self.servers.contains_key(id) {
                // One that was killed may still write to what is about to be removed.
                until(|| DataDirectory::open(home.path()).ok()).await;
            }
        }
    }

    /// Who leads, by the word of one that runs; waits for it. A leader that nobody reaches does not count.
    pub(crate) async fn leader(&self) -> Consensus<Toy> {
        until(|| {
            let leaders = self.servers.iter().filter(|(id, server)| server.status().leader == Some(**id));
            // The one of the latest term, if an earlier one does not know yet.
            leaders.max_by_key(|(_, server)| server.status().term).map(|(_, server)| server.clone())
        })
        .await
    }

    /// Waits until all these servers hold the same notes as the first.
    pub(crate) async fn agree(&self, ids: &[ServerId]) {
        until(|| {
            let all: Vec<_> = ids.iter().map(|id| texts(&self.servers[id])).collect();
            all.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
        })
        .await;
    }
}

/// Looks until there is something; gives up, and fails, after [`LONG`].
pub(crate) async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            match look() {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    tokio::time::timeout(LONG, looking).await.expect("it never came")
}

pub(crate) fn texts(server: &Consensus<Toy>) -> Vec<String> {
    server.read(|toy| toy.notes.iter().map(|note| note.text.clone()).collect())
}

pub(crate) async fn write(server: &Consensus<Toy>, text: &str) -> Result<u64, ProposeError> {
    server.propose(Write::new(text), LONG).await
}
