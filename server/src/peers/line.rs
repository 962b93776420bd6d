//! One connection to one server, made when it is needed and made anew when it broke.
//!
//! Dialling happens in a task of its own: a caller whose time is up gives its message up, not the connection that others, or
//! its own next message, wait for. After a failure the line rests a little, so that a server that is down is not hammered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::dial::{self, Target};

/// The first rest after a failure.
const REST_MIN: Duration = Duration::from_millis(50);
/// The longest rest. It is part of how long a server that comes back waits for its first heartbeat.
const REST_MAX: Duration = Duration::from_millis(500);
/// How long one connection is used. Each new one shows and checks the certificates that are current then.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// A line to one server.
pub(super) struct Line {
    target: Target,
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
    Down { why: Arc<str>, failures: u32, again: Instant },
    Dialling,
    Up(Up),
}

/// A connection that stands, or stood a moment ago.
#[derive(Clone)]
pub(super) struct Up {
    /// Carries calls.
    pub(super) channel: Channel,
    since: Instant,
    /// Failures before it.
    failures: u32,
    /// A call was answered over it. In TLS 1.3 a server's refusal of our certificate comes after the handshake, with the first
    /// call, and must count as a failure to connect.
    proven: bool,
}

impl Line {
    pub(super) fn new(target: Target) -> Arc<Self> {
        let state = State::Down { why: "not tried yet".into(), failures: 0, again: Instant::now() };
        Arc::new(Self { target, state: watch::Sender::new(state) })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The connection; waits while it is being made.
    ///
    /// # Errors
    /// A sentence, if it could not be made.
    pub(super) async fn up(self: &Arc<Self>) -> Result<Up, Arc<str>> {
        if let Some(failures) = self.begin() {
            let line = Arc::clone(self);
            tokio::spawn(async move {
                let dialled = dial::dial(&line.target).await;
                line.state.send_replace(after(dialled, failures));
            });
        }
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Dialling)).await;
        match settled.as_deref() {
            Ok(State::Up(up)) => Ok(up.clone()),
            Ok(State::Down { why, .. }) => Err(why.clone()),
            Ok(State::Dialling) | Err(_) => Err("the connection is being made".into()),
        }
    }

    /// Whether to dial now, and after how many failures.
    fn begin(&self) -> Option<u32> {
        let now = Instant::now();
        let mut begun = None;
        self.state.send_if_modified(|state| {
            begun = match state {
                State::Down { failures, again, .. } if *again <= now => Some(*failures),
                State::Up(up) if now.duration_since(up.since) > AGE_MAX => Some(0),
                _ => None,
            };
            if begun.is_some() {
                *state = State::Dialling;
            }
            begun.is_some()
        });
        begun
    }

    /// Notes that a call over this connection was answered.
    pub(super) fn answered(&self, used: &Up) {
        if used.proven {
            return;
        }
        self.state.send_if_modified(|state| match state {
            State::Up(up) if up.since == used.since => {
                up.proven = true;
                false
            }
            _ => false,
        });
    }

    /// Notes that this connection broke. One that had worked is made anew at once.
    pub(super) fn broke(&self, used: &Up, why: &str) {
        self.state.send_if_modified(|state| match state {
            State::Up(up) if up.since == used.since => {
                let failures = if up.proven { 0 } else { up.failures + 1 };
                *state = down(why.into(), failures);
                true
            }
            _ => false,
        });
    }
}

fn after(dialled: Result<Channel, String>, failures: u32) -> State {
    match dialled {
        Ok(channel) => State::Up(Up { channel, since: Instant::now(), failures, proven: false }),
        Err(why) => down(why.into(), failures.saturating_add(1)),
    }
}

fn down(why: Arc<str>, failures: u32) -> State {
    State::Down { why, failures, again: Instant::now() + rest(failures) }
}

/// How long to rest after so many failures in a row.
fn rest(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        some => REST_MIN.saturating_mul(1 << (some - 1).min(10)).min(REST_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_a_bound() {
        assert_eq!(rest(0), Duration::ZERO);
        assert_eq!([1, 2, 3, 4].map(rest), [50, 100, 200, 400].map(Duration::from_millis));
        assert_eq!([5, 100, u32::MAX].map(rest), [REST_MAX; 3]);
    }
}
