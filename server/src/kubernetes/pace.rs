//! How long to wait before the next try: half a second, doubling up to half a minute, each with chance in it, so that the links to
//! a hundred clusters do not come back all at once.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// The first pause.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause, without what chance adds.
const LONGEST: Duration = Duration::from_secs(30);
/// What has gone well for so long begins anew with the first pause.
const GOOD_AFTER: Duration = Duration::from_secs(60);
/// An API server may ask for patience, but not for ever.
const ASKED_MAX: Duration = Duration::from_secs(120);

/// The pauses of one piece of work.
pub(super) struct Pace {
    pauses: ExponentialBackoff,
    begun: Instant,
}

impl Pace {
    /// From the first pause on; the work begins now.
    pub(super) fn new() -> Self {
        Self { pauses: pauses(), begun: Instant::now() }
    }

    /// Waits before the next try, at least as long as was asked for.
    pub(super) async fn wait(&mut self, asked: Option<Duration>) {
        if self.begun.elapsed() >= GOOD_AFTER {
            self.pauses = pauses();
        }
        let own = self.pauses.next().unwrap_or(LONGEST);
        tokio::time::sleep(own.max(asked.unwrap_or_default().min(ASKED_MAX))).await;
        self.begun = Instant::now();
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST)
        .with_max_delay(LONGEST)
        .without_max_times()
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_are_bounded_and_never_end() {
        let all: Vec<Duration> = pauses().take(1_000).collect();
        assert_eq!(all.len(), 1_000);
        assert!(all[0] >= FIRST && all[0] <= 2 * FIRST);
        assert!(all.iter().skip(8).all(|pause| *pause >= LONGEST && *pause <= 2 * LONGEST));
    }
}
