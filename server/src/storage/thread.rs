//! The thread that keeps the log, and its end.

use std::future::Future;
use std::thread::JoinHandle;

use super::Error;
use super::error::chain;
use crate::process::{self, EndOnPanic};

/// The thread itself; the owner joins it at the end.
#[must_use]
pub struct StoreThread(Option<JoinHandle<()>>);

impl StoreThread {
    pub(super) fn start(run: impl FnOnce() + Send + 'static) -> Result<Self, Error> {
        let guarded = move || {
            let _guard = EndOnPanic("the storage thread");
            run();
        };
        let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(guarded);
        thread.map(|thread| Self(Some(thread))).map_err(Error::engine("start the storage thread"))
    }

    /// A simulated server has a task instead.
    pub(super) fn simulate(run: impl Future<Output = ()> + Send + 'static) -> Self {
        process::spawn(async move {
            let _guard = EndOnPanic("the storage thread");
            run.await;
        });
        Self(None)
    }

    /// Waits until all handles are gone, the queue is drained and the engine is closed. Blocks, but not on a task.
    pub fn join(self) {
        // The thread cannot panic without ending the process.
        let _ = self.0.map(JoinHandle::join);
    }
}

/// Ends the process: after an error of the disk or the engine nothing may be acknowledged any more. `what` is what can't be
/// kept: "the log".
pub(crate) fn end(what: &str, error: &Error) -> ! {
    process::end(&format!("{what} cannot be kept safely: {}", chain(error)))
}
