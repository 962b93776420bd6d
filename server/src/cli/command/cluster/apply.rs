//! `muster cluster apply`.

use muster_proto::admin::v1::{ApplyClusterRequest, ApplyClusterResponse};
use serde::Serialize;

use super::super::pin::read_file;
use super::named::{self, Enrolment, Outcome};
use super::{NEXT_MACHINES, made};
use crate::cli::args::{ApplyArgs, Format};
use crate::cli::client::{Session, request_id};
use crate::cli::cluster_file;
use crate::cli::console::{Console, Document, plain};
use crate::cli::exit::{Exit, Failure};
use crate::cli::show;

/// The answer, and the lines that were made for named nodes.
#[derive(Serialize)]
struct Applied<'a> {
    #[serde(flatten)]
    response: &'a ApplyClusterResponse,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    enrolments: &'a [Enrolment],
}

pub(super) async fn run(args: &ApplyArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let content = read_file(&args.file, cluster_file::BYTES_MAX, console)?;
    let file = if args.file.as_os_str() == "-" { "standard input".to_owned() } else { args.file.display().to_string() };
    let text = String::from_utf8(content).map_err(|_| Failure::new(Exit::Invalid, format!("{file} is not UTF-8")))?;
    let spec = cluster_file::read(&text, &file)?;
    let request = ApplyClusterRequest { request_id: request_id(), spec: Some(spec), dry_run: args.dry_run };
    let bar = console.spinner("applying");
    let applied = session.call(async |mut client| client.apply_cluster(request.clone()).await).await;
    bar.finish_and_clear();
    let response = applied?;
    if console.for_people() || console.format == Format::Name {
        show_outcome(&response, args.dry_run, console)?;
    }
    // What was applied is what the server now has; names are taken from there.
    let outcome = match &response.cluster {
        Some(cluster) if !args.dry_run => named::enrol(cluster, args, session, console).await?,
        _ => Outcome::default(),
    };
    if matches!(console.format, Format::Json | Format::Yaml) {
        let applied = Applied { response: &response, enrolments: &outcome.made };
        console.document(&Document::new("ApplyClusterResponse", &applied))?;
    }
    console.next(&next(args, &response, &outcome));
    Ok(())
}

fn show_outcome(response: &ApplyClusterResponse, dry_run: bool, console: &mut Console) -> Result<(), Failure> {
    let Some(cluster) = &response.cluster else {
        return console.data(&plain(&response.outcome));
    };
    let verb = if dry_run { format!("{} (dry run)", plain(&response.outcome)) } else { plain(&response.outcome) };
    if response.outcome == "created" && !dry_run {
        made(cluster, &verb, console)?;
    } else if console.format == Format::Name {
        console.data(&format!("cluster/{}", plain(show::cluster_name(cluster))))?;
    } else {
        console.data(&format!("cluster/{} {verb}", plain(show::cluster_name(cluster))))?;
    }
    if console.for_people() {
        for change in &response.changes {
            console.data(&format!("  {}", plain(change)))?;
        }
    }
    Ok(())
}

fn next(args: &ApplyArgs, response: &ApplyClusterResponse, outcome: &Outcome) -> String {
    let name = response.cluster.as_ref().map(|cluster| plain(show::cluster_name(cluster))).unwrap_or_default();
    match response.outcome.as_str() {
        "unchanged" if args.dry_run => String::new(),
        _ if args.dry_run => format!("muster cluster apply -f {}", args.file.display()),
        _ if !outcome.made.is_empty() => {
            format!("paste each line on its machine as root, then: muster get nodes --cluster {name} -w")
        }
        "created" => NEXT_MACHINES.to_owned(),
        _ => format!("muster cluster describe {name}"),
    }
}
