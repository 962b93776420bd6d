//! The wire between simulated servers: messages are calls, and the weather decides what becomes of each.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_server::consensus::transport::{Append, Appended, Ballot, Installed, SnapshotChunk, Voted};
use muster_server::consensus::{
    ForwardError, Forwarded, Parcel, Peer, PeerError, PeerHandle, ReadError, ServerId, Transport, TransportError,
};
use muster_server::process::spawn_in;
use muster_state::State;
use tokio::sync::oneshot;

use super::journal::Journal;
use super::process::Process;
use super::weather::{Rule, Weather};

/// All wires of a run.
#[derive(Debug)]
pub struct Network {
    journal: Arc<Journal>,
    inner: Mutex<Inner>,
}

struct Inner {
    weather: Weather,
    doors: BTreeMap<ServerId, Door>,
}

/// Where a server takes messages: in its process.
#[derive(Clone)]
pub struct Door {
    /// The process that the message is handled in.
    pub process: Arc<Process>,
    /// Who handles it.
    pub handle: PeerHandle<State>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.weather.fmt(f)
    }
}

impl Network {
    /// A calm network without servers.
    #[must_use]
    pub fn new(seed: u64, journal: Arc<Journal>) -> Arc<Self> {
        let inner = Inner { weather: Weather::new(seed), doors: BTreeMap::new() };
        Arc::new(Self { journal, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a server's door, or shuts it.
    pub fn set_door(&self, id: ServerId, door: Option<Door>) {
        let mut inner = self.inner();
        match door {
            Some(door) => inner.doors.insert(id, door),
            None => inner.doors.remove(&id),
        };
    }

    /// Puts a rule in force under a number.
    pub fn set(&self, number: u64, rule: Rule) {
        self.inner().weather.set(number, rule);
    }

    /// Lifts a rule.
    pub fn lift(&self, number: u64) {
        self.inner().weather.lift(number);
    }

    /// Lifts all rules.
    pub fn calm(&self) {
        self.inner().weather.calm();
    }

    /// Draws what becomes of one message; counted into the journal.
    fn fate(&self, from: ServerId, to: ServerId, kind: Kind) -> Vec<Duration> {
        let fate = self.inner().weather.fate(from, to);
        let first = fate.first().map_or(0, |delay| u64::try_from(delay.as_micros()).unwrap_or(u64::MAX));
        self.journal.count(&[from, to, kind as u64, fate.len() as u64, first]);
        fate
    }

    /// The door that a message reaches, after it was under way.
    fn arrive(&self, from: ServerId, to: ServerId) -> Arrival {
        let inner = self.inner();
        match inner.doors.get(&to) {
            _ if !inner.weather.passes(from, to) => Arrival::Swallowed,
            None => Arrival::NobodyThere,
            Some(door) => Arrival::At(door.clone()),
        }
    }
}

enum Arrival {
    At(Door),
    /// The machine is there and nobody listens: the sender hears so.
    NobodyThere,
    Swallowed,
}

#[derive(Clone, Copy)]
enum Kind {
    Append = 1,
    Vote,
    Snapshot,
    Forward,
    ReadIndex,
    Campaign,
    Answer,
}

/// One server's end of all its wires.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Whose end it is.
    pub from: ServerId,
    /// The network.
    pub network: Arc<Network>,
}

/// A connection on which nothing comes back for so long is given up: the wire looks whether its other end still lives.
const BROKEN_AFTER: Duration = Duration::from_secs(3);

fn unreachable<R>(why: &str) -> Answered<R> {
    Err(TransportError::Unreachable(why.to_owned()))
}

type Answered<R> = Result<R, TransportError>;
/// Where the first answer goes; later ones, of doubled messages, go nowhere.
type Slot<R> = Arc<Mutex<Option<oneshot::Sender<Answered<R>>>>>;

impl Wire {
    /// Sends a message, has each copy that arrives handled at the other end, and waits for the first answer that comes back.
    async fn call<R, F, H>(&self, to: ServerId, kind: Kind, within: Duration, handle: H) -> Answered<R>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, PeerError>> + Send + 'static,
        H: Fn(PeerHandle<State>) -> F + Send + Sync + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let slot: Slot<R> = Arc::new(Mutex::new(Some(sender)));
        let handle = Arc::new(handle);
        for delay in self.network.fate(self.from, to, kind) {
            let (wire, handle, slot) = (self.clone(), handle.clone(), slot.clone());
            // Under way it belongs to no process: it arrives even if its sender has died.
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                wire.deliver(to, handle.as_ref(), &slot).await;
            });
        }
        // The slot is held here, so that a lost message is learnt of by waiting only.
        let answered = tokio::time::timeout(within.min(BROKEN_AFTER), answer).await;
        drop(slot);
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) if within > BROKEN_AFTER => unreachable("the connection is dead"),
            Ok(Err(_)) | Err(_) => Err(TransportError::TimedOut),
        }
    }

    async fn deliver<R, F>(&self, to: ServerId, handle: &impl Fn(PeerHandle<State>) -> F, slot: &Slot<R>)
    where
        R: Send + 'static,
        F: Future<Output = Result<R, PeerError>> + Send + 'static,
    {
        let answer = match self.network.arrive(self.from, to) {
            Arrival::Swallowed => return,
            Arrival::NobodyThere => unreachable("the connection is refused"),
            Arrival::At(door) => match spawn_in(door.process, handle(door.handle)).await {
                Ok(answer) => answer.map_err(TransportError::from),
                Err(_) => unreachable("the connection broke"),
            },
        };
        let Some(delay) = self.network.fate(to, self.from, Kind::Answer).first().copied() else { return };
        tokio::time::sleep(delay).await;
        if matches!(self.network.arrive(to, self.from), Arrival::At(_)) {
            let waiting = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Whoever asked may have given up.
            let _ = waiting.map(|waiting| waiting.send(answer));
        }
    }
}

impl Transport<State> for Wire {
    async fn append_entries(&self, to: u64, _: &Peer, rpc: Append<State>, within: Duration) -> Answered<Appended> {
        let from = self.from;
        let handle = move |door: PeerHandle<State>| {
            let rpc = rpc.clone();
            async move { door.append_entries(from, rpc).await }
        };
        self.call(to, Kind::Append, within, handle).await
    }

    async fn vote(&self, to: u64, _: &Peer, rpc: Ballot, within: Duration) -> Answered<Voted> {
        let from = self.from;
        let handle = move |door: PeerHandle<State>| {
            let rpc = rpc.clone();
            async move { door.vote(from, rpc).await }
        };
        self.call(to, Kind::Vote, within, handle).await
    }

    async fn install_snapshot(
        &self,
        to: u64,
        _: &Peer,
        rpc: SnapshotChunk<State>,
        within: Duration,
    ) -> Answered<Installed> {
        let from = self.from;
        let handle = move |door: PeerHandle<State>| {
            let rpc = rpc.clone();
            async move { door.install_snapshot(from, rpc).await }
        };
        self.call(to, Kind::Snapshot, within, handle).await
    }

    async fn forward(
        &self,
        to: u64,
        _: &Peer,
        parcel: Parcel<State>,
        within: Duration,
    ) -> Answered<Result<Forwarded, ForwardError>> {
        let from = self.from;
        let handle = move |door: PeerHandle<State>| {
            let parcel = parcel.clone();
            async move { door.forward(from, parcel).await }
        };
        self.call(to, Kind::Forward, within, handle).await
    }

    async fn read_index(&self, to: u64, _: &Peer, within: Duration) -> Answered<Result<u64, ReadError>> {
        let from = self.from;
        let handle = move |door: PeerHandle<State>| async move { door.read_index(from).await };
        self.call(to, Kind::ReadIndex, within, handle).await
    }

    async fn campaign(&self, to: u64, _: &Peer, within: Duration) -> Answered<()> {
        let from = self.from;
        let handle = move |door: PeerHandle<State>| async move { door.campaign(from).await };
        self.call(to, Kind::Campaign, within, handle).await
    }
}
