//! The orderly end.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{Error, Outcome};
use crate::phase::Input;
use crate::session::Session;

/// How long tasks may take to end once they were told to.
const TASKS_LIMIT: Duration = Duration::from_secs(15);

impl Session {
    /// Lets a running call end within the grace, then ends it; its journal entry tells the next life to find out.
    pub(super) async fn stop(mut self) -> Result<Outcome, Error> {
        tracing::info!("stopping; a running call may take {} s more", self.settings.grace.as_secs());
        self.step(Input::Stopping)?;
        let deadline = Instant::now() + self.settings.grace;
        while !self.phase.is_idle() {
            match timeout_at(deadline, self.news.1.recv()).await {
                Ok(Some(news)) => self.on_news(news)?,
                Ok(None) | Err(_) => break,
            }
        }
        self.end_tasks().await;
        Ok(Outcome::Stopped)
    }

    pub(super) async fn end_tasks(&mut self) {
        for stop in self.stops.values() {
            stop.cancel();
        }
        self.tasks.close();
        // Tasks that wait to tell their end must not wait for ever.
        self.news.1.close();
        self.events.1.close();
        if timeout(TASKS_LIMIT, self.tasks.wait()).await.is_err() {
            tracing::warn!("a task did not end in time");
        }
    }
}

/// An agent that is dropped in the middle takes its calls with it, as a process that ends does.
impl Drop for Session {
    fn drop(&mut self) {
        for stop in self.stops.values() {
            stop.cancel();
        }
    }
}
