//! The process that a server runs in, as consensus and storage see it: tasks, blocking work, chance, and its end.
//!
//! In a program these are tokio's and the operating system's. The simulation in `tests` runs a whole group of servers on one
//! thread and virtual time; there each server's tasks carry a [`Simulated`] process, which can be killed or stopped as a
//! whole, draws from a seeded generator, and whose disk takes virtual time. Nothing in a program ever sets one.
//!
//! Absent on purpose: what is killed, stopped or drawn, and when. The simulation says so.

use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};

/// One simulated process: everything its tasks share.
pub trait Simulated: Send + Sync {
    /// A task was born in it.
    fn adopt(&self, task: AbortHandle);
    /// Whether its tasks may run now; if not, `waker` is called once they may.
    fn may_run(&self, waker: &Waker) -> bool;
    /// The next of its random numbers.
    fn random(&self) -> u64;
    /// How long its disk takes for what it is about to make durable.
    fn disk_pause(&self) -> Duration;
    /// It ends itself, and says why. Its tasks must not run on.
    fn end(&self, why: &str);
}

tokio::task_local! {
    static CURRENT: Arc<dyn Simulated>;
}

/// The simulated process that this task belongs to; `None` in a program.
#[must_use]
pub fn simulated() -> Option<Arc<dyn Simulated>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Spawns a task that lives and dies with the process of whoever spawns it.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match simulated() {
        Some(process) => spawn_in(process, future),
        None => tokio::spawn(future),
    }
}

/// Spawns a task into a simulated process.
pub fn spawn_in<F>(process: Arc<dyn Simulated>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let future = Box::pin(CURRENT.scope(process.clone(), future));
    let task = tokio::spawn(Gated { process: process.clone(), future });
    process.adopt(task.abort_handle());
    task
}

/// Runs work that blocks on disk or CPU off the async threads. If it panics, the process ends.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let guarded = move || {
        let _guard = EndOnPanic("work on the disk");
        work()
    };
    if let Some(process) = simulated() {
        tokio::time::sleep(process.disk_pause()).await;
        return guarded();
    }
    match tokio::task::spawn_blocking(guarded).await {
        Ok(value) => value,
        // Only a runtime that is shutting down refuses blocking work; then nobody waits for this either.
        Err(_) => std::future::pending().await,
    }
}

/// Says why and ends the process at once: nothing may be acknowledged, read or written after this.
pub fn end(why: &str) -> ! {
    note_end(why);
    // Only a simulated process comes here; its tasks are gone with the next turn, and this one goes now.
    std::panic::resume_unwind(Box::new("the simulated process has ended"))
}

/// Turns a panic while it lives into the end of the process, also in builds that unwind: whatever was half done has no
/// defined state, and others would go on without it. Holds what was being done.
pub struct EndOnPanic(pub &'static str);

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            note_end(&format!("{} panicked", self.0));
        }
    }
}

/// Returns in a simulation only.
fn note_end(why: &str) {
    if let Some(process) = simulated() {
        return process.end(why);
    }
    tracing::error!("{why}; the server stops");
    // The subscriber may be gone or buffered, and a test's harness holds back what `eprintln!` writes; this line must get out.
    let _ = writeln!(std::io::stderr(), "muster: {why}; the server stops");
    std::process::abort()
}

/// A task that runs only while its process may.
struct Gated<F> {
    process: Arc<dyn Simulated>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if !self.process.may_run(context.waker()) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(context)
    }
}
