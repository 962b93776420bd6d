//! Logs: to standard error only, as readable lines or as one flat JSON object per line.
//!
//! Absent on purpose: files and rotation (the service manager's work), and any scrubbing. Secrets are types that cannot be
//! printed; a filter here would only hide that one was handed over.

mod json;

use std::fmt;
use std::io;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::{Log, LogFormat};

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `level` is no list of `target=level`.
    #[error("log level {level:?} is not understood (such as info,openraft=warn)")]
    Level {
        /// What was given.
        level: String,
        /// What the parser says.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something in this process logs already.
    #[error("logging was started twice")]
    Twice(#[from] TryInitError),
}

/// Starts logging for the whole process. `log.level` already has `MUSTER_LOG` in it ([`crate::config::Config::load`]).
///
/// # Errors
/// [`LoggingError`].
pub fn start(log: &Log) -> Result<(), LoggingError> {
    subscriber(log, io::stderr)?.try_init().map_err(LoggingError::from)
}

fn subscriber<W>(log: &Log, writer: W) -> Result<impl tracing::Subscriber + Send + Sync + use<W>, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Clone + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(&log.level)
        .map_err(|source| LoggingError::Level { level: log.level.clone(), source })?;
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => {
            Box::new(tracing_subscriber::fmt::layer().with_timer(Milliseconds).with_ansi(false).with_writer(writer))
        }
        LogFormat::Json => Box::new(json::JsonLines::new(writer)),
    };
    Ok(tracing_subscriber::registry().with(layer).with(filter))
}

/// RFC 3339, UTC, milliseconds.
struct Milliseconds;

impl FormatTime for Milliseconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", now())
    }
}

/// The time of a log line. It decides nothing, so it is read where it is written.
#[expect(clippy::disallowed_methods, reason = "a named clock: it only ends up in a line of text")]
fn now() -> impl fmt::Display {
    struct Line(jiff::Timestamp);
    impl fmt::Display for Line {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:.3}", self.0)
        }
    }
    Line(jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, work: impl FnOnce()) -> String {
        let lines = Lines::default();
        let sink = lines.clone();
        let log = Log { format, level: level.to_owned() };
        tracing::subscriber::with_default(subscriber(&log, move || sink.clone()).unwrap(), work);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn is_rfc3339_milliseconds(text: &str) -> bool {
        text.len() == "2026-11-22T10:00:00.123Z".len() && text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
    }

    #[test]
    fn a_line_for_people_has_time_level_target_message_and_fields() {
        let text = logged(LogFormat::Text, "info", || {
            tracing::info!(target: "join", node = "7f3c", phase = "EtcdPermit", "phase changed");
        });
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(is_rfc3339_milliseconds(time), "{text}");
        assert_eq!(rest.trim(), "INFO join: phase changed node=\"7f3c\" phase=\"EtcdPermit\"");
    }

    #[test]
    fn a_line_for_machines_is_one_flat_object_with_lower_camel_case_names() {
        let text = logged(LogFormat::Json, "info", || {
            let span = tracing::info_span!("attempt", attempt = 3_u64, node = "outer");
            let _entered = span.enter();
            let error = io::Error::other("torn");
            tracing::warn!(target: "join", raft_index = 7_u64, node = "7f3c", linked = true, err = %error, "two\nlines");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let mut line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert!(is_rfc3339_milliseconds(line.remove("timestamp").unwrap().as_str().unwrap()), "{text}");
        let expected = serde_json::json!({
            "level": "WARN", "target": "join", "message": "two\nlines",
            "raftIndex": 7, "node": "7f3c", "linked": true, "attempt": 3, "err": "torn",
        });
        assert_eq!(serde_json::Value::Object(line), expected);
    }

    #[test]
    fn a_field_cannot_take_the_place_of_what_every_line_has() {
        let text = logged(LogFormat::Json, "info", || {
            tracing::info!(level = "forged", timestamp = "never", "true message");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_ne!(line["timestamp"], "never");
        assert_eq!(line["message"], "true message");
    }

    #[test]
    fn levels_apply_per_target() {
        let default = Log::default();
        let text = logged(LogFormat::Json, &default.level, || {
            tracing::info!(target: "openraft", "hidden");
            tracing::warn!(target: "openraft", "shown");
            tracing::debug!(target: "join", "hidden");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("shown"), "{text}");
    }

    #[test]
    fn a_level_that_is_not_understood_is_refused() {
        let log = Log { level: "join=loud".to_owned(), ..Log::default() };
        let Err(error) = subscriber(&log, io::stderr) else { panic!("refused") };
        assert!(error.to_string().contains("join=loud"), "{error}");
    }
}
