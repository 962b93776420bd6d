//! One kubeadm call: scrubbed output, phases as they come, and a diagnosis at the end.

use std::io;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::executor::Feed;
use crate::host::{Call, Exit, Host};
use crate::kubeadm::{Cause, Diagnosis, Scrubber, diagnose, phase_of};
use crate::report::Progress;

/// How a call of kubeadm ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallEnd {
    /// With code 0.
    Done,
    /// With an error.
    Failed(Diagnosis),
    /// The agent is being stopped.
    Stopped,
}

/// Calls kubeadm with `arguments`.
pub(super) async fn kubeadm(
    host: &dyn Host,
    arguments: Vec<String>,
    limit: Duration,
    stop: &CancellationToken,
    scrubber: &Scrubber,
    feed: &Feed,
) -> CallEnd {
    feed.line(format!("$ kubeadm {}", arguments.join(" ")));
    let call = Call { program: "kubeadm", arguments, stdin: None, limit, stop: stop.clone() };
    let mut phase = None;
    let ended = host
        .run(call, &mut |line| {
            let line = scrubber.line(line);
            if let Some(word) = phase_of(&line) {
                phase = Some(word.to_owned());
                feed.progress(Progress::Phase(word.to_owned()));
            }
            feed.line(line);
        })
        .await;
    let output = match ended {
        Ok(output) => output,
        Err(error) => return CallEnd::Failed(not_run(&error)),
    };
    match output.exit {
        Exit::Code(Some(0)) => CallEnd::Done,
        Exit::Stopped => CallEnd::Stopped,
        Exit::TimedOut => CallEnd::Failed(over_limit(limit, phase)),
        Exit::Code(code) => {
            let lines: Vec<String> = output.lines.iter().map(|line| scrubber.line(line)).collect();
            let found = diagnose(lines.iter().map(String::as_str));
            CallEnd::Failed(found.unwrap_or_else(|| without_words(code, &lines, phase)))
        }
    }
}

fn not_run(error: &io::Error) -> Diagnosis {
    let cause = if error.kind() == io::ErrorKind::NotFound { Cause::KubeadmMissing } else { Cause::Unknown };
    Diagnosis { cause, message: format!("kubeadm could not be run: {error}"), phase: None }
}

fn over_limit(limit: Duration, phase: Option<String>) -> Diagnosis {
    let at = phase.as_deref().unwrap_or("its start");
    Diagnosis {
        cause: Cause::TimedOut,
        message: format!("kubeadm was ended after {} s, at {at}", limit.as_secs()),
        // Wherever it was, it may have been writing.
        phase: Some(at.to_owned()),
    }
}

fn without_words(code: Option<i32>, lines: &[String], phase: Option<String>) -> Diagnosis {
    let how = code.map_or_else(|| "was ended by a signal".to_owned(), |code| format!("ended with code {code}"));
    let last = lines.iter().rev().find(|line| !line.trim().is_empty()).map_or("", String::as_str);
    Diagnosis {
        cause: Cause::Unknown,
        message: format!("kubeadm {how} and named no error; its last line: {last}"),
        phase: Some(phase.unwrap_or_else(|| "unknown".to_owned())),
    }
}
