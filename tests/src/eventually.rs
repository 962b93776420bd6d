//! The only way to wait: for a condition, with a deadline, and with the last status in the error.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What takes milliseconds on an idle machine.
pub const MOMENT: Duration = Duration::from_secs(10);
/// What takes a second or two, such as an enrolment or a start.
pub const SOON: Duration = Duration::from_secs(30);
/// What takes several back-offs, such as a fleet that is killed again and again.
pub const WHILE: Duration = Duration::from_secs(120);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks again and again until `look` gives a value; while it does not, it gives a status in words.
///
/// # Errors
/// If the deadline passes; the error holds the last status.
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(status) if Instant::now() >= deadline => bail!("{what}: not within {within:?}; last seen: {status}"),
            Err(_) => sleep(PAUSE),
        }
    }
}

/// As [`eventually`], for a look that has to await.
///
/// # Errors
/// As [`eventually`].
pub async fn eventually_async<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(status) if Instant::now() >= deadline => bail!("{what}: not within {within:?}; last seen: {status}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_the_wait_and_a_deadline_tells_the_last_status() {
        let mut looks = 0;
        let value = eventually("it", MOMENT, || {
            looks += 1;
            if looks < 3 { Err(format!("look {looks}")) } else { Ok(looks) }
        });
        assert_eq!(value.unwrap(), 3);
        let error = eventually("the door", Duration::ZERO, || Err::<(), _>("shut".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "the door: not within 0ns; last seen: shut");
    }
}
