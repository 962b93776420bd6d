//! `muster logs`: what kubeadm said, line by line.

use std::ops::ControlFlow;

use muster_proto::admin::v1::{FollowLogsRequest, LogLine};

use crate::cli::args::{Format, LogsArgs};
use crate::cli::client::Session;
use crate::cli::console::{Console, Document, json_line, plain, stamp, yaml};
use crate::cli::exit::{Exit, Failure};

pub(super) async fn run(
    args: &LogsArgs,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let node = session.node(&args.node, cluster).await?;
    let request = FollowLogsRequest { node: node.id.clone(), no_follow: !args.follow };
    let lines = session.call(async |mut client| client.follow_logs(request.clone()).await).await?;
    // A stream that broke is not opened again: it would begin with lines that were printed already.
    let mut each = |line: LogLine| show(&line, console).map(ControlFlow::Continue);
    match session.read(lines, &mut each).await? {
        ControlFlow::Continue(()) | ControlFlow::Break(()) => Ok(Exit::Done),
    }
}

fn show(line: &LogLine, console: &mut Console) -> Result<(), Failure> {
    let text = match console.format {
        Format::Json => json_line(&Document::new("LogLine", line))?,
        Format::Yaml => format!("---\n{}", yaml(&Document::new("LogLine", line))?),
        Format::Table | Format::Name => plain(&line.text),
        Format::Wide => format!("{} {} {}", stamp(line.at.as_ref()), plain(&line.step), plain(&line.text)),
    };
    console.data(&text)
}
