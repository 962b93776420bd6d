//! The order in which the servers' tasks run that are ready at the same moment: that of their birth.
//!
//! tokio draws in which order it wakes those who wait for one value, and nobody can seed that draw. So a task that was woken
//! takes a number here and waits until all that are ready have done the same; then they run one after the other, the oldest first.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Through which every task of a run's servers goes each time it runs.
#[derive(Debug, Default)]
pub struct Turnstile {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Who is ready, by birth.
    ready: BTreeMap<u64, Waker>,
    /// Whose turn it is.
    admitted: BTreeSet<u64>,
    keeper: Option<Waker>,
}

impl Turnstile {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is this task's turn; if not, `waker` is called once it is.
    pub fn admits(&self, waker: &Waker) -> bool {
        let Some(task) = birth() else { return true };
        let mut inner = self.inner();
        if inner.admitted.remove(&task) {
            return true;
        }
        inner.ready.insert(task, waker.clone());
        let keeper = inner.keeper.take();
        drop(inner);
        keeper.into_iter().for_each(Waker::wake);
        false
    }

    /// Lets those who are ready through, until it is aborted. Without it nobody gets through.
    pub async fn keep(self: Arc<Self>) {
        loop {
            poll_fn(|context| {
                let mut inner = self.inner();
                if inner.ready.is_empty() {
                    inner.keeper = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
            // Goes on only when no task is left that could run, so that all who are ready have come.
            tokio::task::yield_now().await;
            let ready = {
                let mut inner = self.inner();
                let ready = std::mem::take(&mut inner.ready);
                inner.admitted.extend(ready.keys());
                ready
            };
            ready.into_values().for_each(Waker::wake);
        }
    }
}

/// tokio numbers tasks as they are spawned, but says so in words only.
fn birth() -> Option<u64> {
    tokio::task::try_id()?.to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Context;

    use tokio::sync::watch;

    use super::*;

    struct Turned<F>(Arc<Turnstile>, Pin<Box<F>>);

    impl<F: Future> Future for Turned<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
            if self.0.admits(context.waker()) { self.1.as_mut().poll(context) } else { Poll::Pending }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_for_one_value_run_in_the_order_of_their_birth() {
        let turnstile = Arc::new(Turnstile::default());
        let keeper = tokio::spawn(turnstile.clone().keep());
        let (value, order) = (watch::Sender::new(0), Arc::new(Mutex::new(Vec::new())));
        let tasks: Vec<_> = (0..40)
            .map(|number| {
                let (mut seen, order) = (value.subscribe(), order.clone());
                let task = async move {
                    seen.changed().await.unwrap();
                    order.lock().unwrap().push(number);
                };
                tokio::spawn(Turned(turnstile.clone(), Box::pin(task)))
            })
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        value.send_replace(1);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..40).collect::<Vec<_>>());
        keeper.abort();
    }
}
