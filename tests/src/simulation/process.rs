//! A simulated process: the tasks of one server, from a start to the end of it, that stop, go on and die together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use muster_server::process::Simulated;
use tokio::task::AbortHandle;

use super::turnstile::Turnstile;

/// Task handles beyond which those of finished tasks are let go.
const TASKS_KEPT: usize = 256;

/// One start of one server.
#[derive(Debug)]
pub struct Process {
    life: Mutex<Life>,
    turnstile: Arc<Turnstile>,
}

#[derive(Debug)]
struct Life {
    tasks: Vec<AbortHandle>,
    sleepers: Vec<Waker>,
    /// Stopped by that many faults at once.
    stops: u32,
    ended: Option<Ended>,
    random: fastrand::Rng,
    disk: Range,
}

/// How a process came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was killed, or its machine lost power.
    Killed,
    /// It ended itself, and said why.
    Itself(String),
}

/// How long a disk takes, at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// At least.
    pub least: Duration,
    /// At most.
    pub most: Duration,
}

impl Process {
    /// A process that runs.
    #[must_use]
    pub fn new(seed: u64, disk: Range, turnstile: Arc<Turnstile>) -> Arc<Self> {
        let life = Life {
            tasks: Vec::new(),
            sleepers: Vec::new(),
            stops: 0,
            ended: None,
            random: fastrand::Rng::with_seed(seed),
            disk,
        };
        Arc::new(Self { life: Mutex::new(life), turnstile })
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it at once, between two instructions as it were: no task of it runs again.
    pub fn kill(&self) {
        self.finish(Ended::Killed);
    }

    /// Stops it, as SIGSTOP does.
    pub fn stop(&self) {
        self.life().stops += 1;
    }

    /// Takes one stop back; after the last it goes on.
    pub fn go_on(&self) {
        let mut life = self.life();
        life.stops = life.stops.saturating_sub(1);
        if life.stops == 0 {
            let sleepers = std::mem::take(&mut life.sleepers);
            drop(life);
            sleepers.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether it is stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.life().stops > 0
    }

    /// Sets how long its disk takes from now on.
    pub fn set_disk(&self, disk: Range) {
        self.life().disk = disk;
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.life().ended.clone()
    }

    fn finish(&self, ended: Ended) {
        let mut life = self.life();
        life.ended.get_or_insert(ended);
        let tasks = std::mem::take(&mut life.tasks);
        life.sleepers.clear();
        drop(life);
        tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Simulated for Process {
    fn adopt(&self, task: AbortHandle) {
        let mut life = self.life();
        if life.ended.is_some() {
            drop(life);
            return task.abort();
        }
        if life.tasks.len() >= TASKS_KEPT {
            life.tasks.retain(|task| !task.is_finished());
        }
        life.tasks.push(task);
    }

    fn may_run(&self, waker: &Waker) -> bool {
        let mut life = self.life();
        if life.ended.is_some() {
            return false;
        }
        if life.stops > 0 {
            life.sleepers.push(waker.clone());
            return false;
        }
        drop(life);
        self.turnstile.admits(waker)
    }

    fn random(&self) -> u64 {
        self.life().random.u64(..)
    }

    fn disk_pause(&self) -> Duration {
        let mut life = self.life();
        let Range { least, most } = life.disk;
        let spread = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(life.random.u64(0..=spread))
    }

    fn end(&self, why: &str) {
        self.finish(Ended::Itself(why.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use muster_server::process::{self, spawn_in};

    use super::*;

    const AT_ONCE: Range = Range { least: Duration::ZERO, most: Duration::ZERO };

    fn mk_process() -> Arc<Process> {
        let turnstile = Arc::new(Turnstile::default());
        tokio::spawn(turnstile.clone().keep());
        Process::new(1, AT_ONCE, turnstile)
    }

    /// Counts up each millisecond, in a task that a task of the process has spawned.
    fn counting(process: &Arc<Process>) -> Arc<AtomicU32> {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        spawn_in(process.clone(), async move {
            process::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        count
    }

    async fn after_ten_ms(count: &AtomicU32) -> u32 {
        let before = count.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
        count.load(Ordering::Relaxed) - before
    }

    #[tokio::test(start_paused = true)]
    async fn a_killed_process_never_runs_again_nor_do_its_children() {
        let process = mk_process();
        let count = counting(&process);
        assert!(after_ten_ms(&count).await >= 9);
        process.kill();
        assert_eq!(after_ten_ms(&count).await, 0);
        let late = counting(&process);
        assert_eq!(after_ten_ms(&late).await, 0, "nor does what is born after its death");
        assert_eq!(process.ended(), Some(Ended::Killed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_process_goes_on_after_the_last_stop_is_taken_back() {
        let process = mk_process();
        let count = counting(&process);
        process.stop();
        process.stop();
        after_ten_ms(&count).await;
        process.go_on();
        assert_eq!(after_ten_ms(&count).await, 0);
        process.go_on();
        assert!(after_ten_ms(&count).await >= 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_ends_itself_says_why_and_runs_no_more() {
        let process = mk_process();
        let count = counting(&process);
        let ending = spawn_in(process.clone(), async { process::end("enough") });
        assert!(ending.await.is_err());
        assert_eq!(after_ten_ms(&count).await, 0);
        assert_eq!(process.ended(), Some(Ended::Itself("enough".into())));
    }
}
