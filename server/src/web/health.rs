//! Whether this server lives and is ready: told by the loop that runs it, read by whoever asks.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// A main loop that has told nothing for this long hangs. It reports every second; a long stall of a slow disk is shorter.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);

/// One thing that must be well, and whether it is. Both words are public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// A short word, such as `seal` or `leader`.
    pub name: &'static str,
    /// Or why not.
    pub result: Result<(), String>,
}

impl Check {
    /// A check that failed if there is a reason.
    pub fn new(name: &'static str, failure: Option<String>) -> Self {
        Self { name, result: failure.map_or(Ok(()), Err) }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(()) => write!(f, "[+]{} ok", self.name),
            Err(why) => write!(f, "[-]{} failed: {why}", self.name),
        }
    }
}

#[derive(Clone, Debug)]
struct Report {
    at: Instant,
    checks: Vec<Check>,
}

/// The end that tells; the main loop holds it.
#[derive(Debug)]
pub struct HealthReporter(watch::Sender<Report>);

/// The end that is asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health(watch::Receiver<Report>);

impl Health {
    /// A server that has just started: alive, not ready.
    pub fn starting() -> (HealthReporter, Self) {
        let checks = vec![Check::new("start", Some("still starting".to_owned()))];
        let (sender, receiver) = watch::channel(Report { at: Instant::now(), checks });
        (HealthReporter(sender), Self(receiver))
    }

    /// Whether the main loop turns. Says nothing about readiness: a sealed server is alive, and a restart would not unseal it.
    pub fn liveness(&self) -> Vec<Check> {
        vec![Check::new("main-loop", self.silence(Instant::now()))]
    }

    /// Everything that must be well before this server is sent work, the main loop included.
    pub fn readiness(&self) -> Vec<Check> {
        let mut checks = self.liveness();
        checks.extend(self.0.borrow().checks.iter().cloned());
        checks
    }

    /// All of [`Health::readiness`] is well.
    pub fn is_ready(&self) -> bool {
        self.readiness().iter().all(|check| check.result.is_ok())
    }

    /// Waits for the next report; `false` when there will be none any more.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    fn silence(&self, now: Instant) -> Option<String> {
        if self.0.has_changed().is_err() {
            return Some("it has ended".to_owned());
        }
        let silence = now.saturating_duration_since(self.0.borrow().at);
        (silence > SILENCE_MAX).then(|| format!("no sign of life for {} s", silence.as_secs()))
    }
}

impl HealthReporter {
    /// Tells that the main loop turns, and what is well and what is not.
    pub fn report(&self, checks: Vec<Check>) {
        self.0.send_replace(Report { at: Instant::now(), checks });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(checks: &[Check]) -> Vec<&'static str> {
        checks.iter().filter(|check| check.result.is_err()).map(|check| check.name).collect()
    }

    #[test]
    fn a_server_that_starts_is_alive_and_not_ready() {
        let (_reporter, health) = Health::starting();
        assert_eq!(failed(&health.liveness()), [""; 0]);
        assert_eq!(failed(&health.readiness()), ["start"]);
    }

    #[test]
    fn readiness_is_what_was_last_reported() {
        let (reporter, health) = Health::starting();
        reporter.report(vec![Check::new("seal", None), Check::new("leader", Some("none known".to_owned()))]);
        assert_eq!(failed(&health.readiness()), ["leader"]);
        reporter.report(vec![Check::new("seal", None), Check::new("leader", None)]);
        assert!(health.is_ready());
    }

    #[test]
    fn a_main_loop_that_is_silent_for_too_long_hangs() {
        let (_reporter, health) = Health::starting();
        let told = health.0.borrow().at;
        assert_eq!(health.silence(told + SILENCE_MAX), None);
        let hung = health.silence(told + SILENCE_MAX + Duration::from_secs(1)).unwrap();
        assert_eq!(hung, "no sign of life for 16 s");
    }

    #[test]
    fn every_report_is_a_sign_of_life() {
        let (reporter, health) = Health::starting();
        let told = health.0.borrow().at;
        reporter.report(Vec::new());
        assert!(health.0.borrow().at > told);
    }

    #[tokio::test]
    async fn a_main_loop_that_ended_is_not_alive() {
        let (reporter, mut health) = Health::starting();
        drop(reporter);
        assert_eq!(failed(&health.liveness()), ["main-loop"]);
        assert!(!health.is_ready());
        assert!(!health.changed().await);
    }
}
