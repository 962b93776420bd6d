//! One simulated server: a disk, a clock and a directory that outlive its processes, and the process that runs now.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_server::consensus::{Consensus, OpenError, Options, ServerId, Status};
use muster_server::process::spawn_in;
use muster_state::State;
use tempfile::TempDir;

use super::clock::SteppedClock;
use super::conductor::{self, Deeds};
use super::disk::Disk;
use super::network::{Door, Network, Wire};
use super::process::{Ended, Process, Range};
use super::turnstile::Turnstile;

/// How long a healthy disk takes.
const HEALTHY: Range = Range { least: Duration::from_micros(100), most: Duration::from_millis(2) };

/// A server of the group, whether it runs or not.
#[derive(Debug)]
pub struct Server {
    /// Its number.
    pub id: ServerId,
    /// Its clock.
    pub clock: Arc<SteppedClock>,
    /// Its disk.
    pub disk: Disk,
    home: TempDir,
    seed: u64,
    snapshot_every: u64,
    network: Arc<Network>,
    turnstile: Arc<Turnstile>,
    deeds: Deeds,
    life: Mutex<Life>,
}

#[derive(Default)]
struct Life {
    process: Option<Arc<Process>>,
    consensus: Option<Consensus<State>>,
    starts: u64,
    /// So many faults keep it down.
    held_down: u32,
    /// It has left the group for good.
    gone: bool,
    slow: Option<Range>,
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Life({} starts, held down by {})", self.starts, self.held_down)
    }
}

/// What became of something that was asked of a server.
#[derive(Debug)]
pub enum Asked<R> {
    /// It was not there; nothing was asked.
    Down,
    /// It was asked and never answered.
    Silent,
    /// It answered.
    Answered(R),
}

impl<R> Asked<R> {
    /// The same with another answer.
    pub fn map<T>(self, change: impl FnOnce(R) -> T) -> Asked<T> {
        match self {
            Self::Down => Asked::Down,
            Self::Silent => Asked::Silent,
            Self::Answered(answer) => Asked::Answered(change(answer)),
        }
    }
}

impl Server {
    /// A server with an empty disk, not running; with the seed of its run and the entries between two snapshots. Its files lie in memory where the machine has such a place.
    ///
    /// # Panics
    /// If no directory can be made.
    #[must_use]
    pub fn new(
        id: ServerId,
        (seed, snapshot_every): (u64, u64),
        network: Arc<Network>,
        turnstile: Arc<Turnstile>,
        deeds: Deeds,
    ) -> Arc<Self> {
        let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory can be made");
        let (clock, disk) = (Arc::new(SteppedClock::new()), Disk::default());
        let life = Mutex::default();
        Arc::new(Self { id, clock, disk, home, seed, snapshot_every, network, turnstile, deeds, life })
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it, unless it runs, is held down, or is gone.
    ///
    /// # Errors
    /// A sentence, if what lies on its disk is refused. After no fault of the simulation may that be so.
    pub async fn start(&self) -> Result<(), String> {
        let (process, options) = {
            let mut life = self.life();
            if life.process.is_some() || life.held_down > 0 || life.gone {
                return Ok(());
            }
            life.starts += 1;
            let (seed, disk) = (self.seed ^ (self.id << 40) ^ (life.starts << 20), life.slow.unwrap_or(HEALTHY));
            let process = Process::new(seed, disk, self.turnstile.clone());
            life.process = Some(process.clone());
            (process, self.options())
        };
        let opening = spawn_in(process.clone(), async move { Consensus::<State>::open(options).await });
        match opening.await {
            // It died while it opened.
            Err(_) => Ok(()),
            Ok(Err(error)) => {
                process.kill();
                Err(format!("server {} does not start: {}", self.id, chain(&error)))
            }
            Ok(Ok(consensus)) => {
                let mut life = self.life();
                // Another process, or none, if it was killed in this very moment.
                if process.ended().is_none() {
                    let leading = conductor::conduct(consensus.clone(), self.id, life.starts, self.deeds.clone());
                    spawn_in(process.clone(), leading);
                    self.network.set_door(self.id, Some(Door { process, handle: consensus.peer() }));
                    life.consensus = Some(consensus);
                }
                Ok(())
            }
        }
    }

    fn options(&self) -> Options<Wire> {
        let wire = Wire { from: self.id, network: self.network.clone() };
        let mut options = Options::new(self.home.path().join("data"), self.id).with_transport(wire);
        options.disk = Some(self.disk.open());
        options.clock = self.clock.clone();
        options.snapshot_every = self.snapshot_every;
        options
    }

    /// Ends its process and keeps it down until [`Server::release`]. Of what was not synchronised the oldest `kept` batches
    /// survive.
    pub fn crash(&self, kept: usize) {
        self.life().held_down += 1;
        self.bury(kept);
    }

    /// Takes one hold back.
    pub fn release(&self) {
        let mut life = self.life();
        life.held_down = life.held_down.saturating_sub(1);
    }

    /// Ends it for good.
    pub fn retire(&self) {
        self.life().gone = true;
        self.bury(usize::MAX);
    }

    /// Whether it has left for good.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.life().gone
    }

    /// Ends what runs; what remains of it no longer reaches the disk.
    pub fn bury(&self, kept: usize) {
        let (process, consensus) = {
            let mut life = self.life();
            (life.process.take(), life.consensus.take())
        };
        if let Some(process) = process {
            process.kill();
            self.disk.cut_power(kept);
            self.network.set_door(self.id, None);
        }
        // Last, and not under the lock: it lets go of the directory.
        drop(consensus);
    }

    /// Why its process ended itself, if it did.
    #[must_use]
    pub fn suicide(&self) -> Option<String> {
        match self.process()?.ended()? {
            Ended::Itself(why) => Some(why),
            Ended::Killed => None,
        }
    }

    /// The process that runs now.
    #[must_use]
    pub fn process(&self) -> Option<Arc<Process>> {
        self.life().process.clone()
    }

    /// Makes its disk take up to `most` for each sync, or as long as a healthy one.
    pub fn set_slow(&self, most: Option<Duration>) {
        let mut life = self.life();
        life.slow = most.map(|most| Range { least: most / 4, most });
        let range = life.slow.unwrap_or(HEALTHY);
        if let Some(process) = &life.process {
            process.set_disk(range);
        }
    }

    /// Its consensus, if it is open.
    #[must_use]
    pub fn consensus(&self) -> Option<Consensus<State>> {
        self.life().consensus.clone()
    }

    /// How it is doing, if it runs and is not stopped.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let life = self.life();
        let runs = life.process.as_ref().is_some_and(|process| !process.is_stopped() && process.ended().is_none());
        life.consensus.as_ref().filter(|_| runs).map(Consensus::status)
    }

    /// Has something done in its process, and waits for at most `within`.
    pub async fn ask<R, F>(&self, within: Duration, what: impl FnOnce(Consensus<State>) -> F) -> Asked<R>
    where
        R: Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let asked = {
            let life = self.life();
            life.process.clone().zip(life.consensus.clone())
        };
        let Some((process, consensus)) = asked else { return Asked::Down };
        let answer = spawn_in(process, what(consensus));
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(answer)) => Asked::Answered(answer),
            Ok(Err(_)) | Err(_) => Asked::Silent,
        }
    }
}

fn chain(error: &OpenError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
