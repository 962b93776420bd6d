//! `muster etcd`: the members of a linked cluster's etcd.

use muster_proto::admin::v1::{Cluster, Etcd, EtcdMember, RemoveEtcdMemberRequest};

use crate::cli::args::{EtcdCommand, Format, RemoveEtcdMemberArgs};
use crate::cli::client::{Session, request_id};
use crate::cli::console::{Console, Document, plain};
use crate::cli::exit::{Exit, Failure};
use crate::cli::show;

pub(super) async fn run(
    command: EtcdCommand,
    session: &Session,
    chosen: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    match command {
        EtcdCommand::List(args) => {
            let cluster = session.chosen_cluster(args.name.as_deref().or(chosen)).await?;
            list(&cluster, console)?;
        }
        EtcdCommand::Remove(args) => remove(&args, session, console).await?,
    }
    Ok(Exit::Done)
}

fn list(cluster: &Cluster, console: &mut Console) -> Result<(), Failure> {
    let etcd = seen(cluster)?;
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Etcd", etcd))?,
        Format::Name => {
            for member in &etcd.members {
                console.data(&name(member))?;
            }
        }
        Format::Table | Format::Wide => console.table(&show::etcd_table(&etcd.members))?,
    }
    // Words: what is shown may not be what is.
    if let Some(words) = show::etcd_problem(etcd) {
        console.warn(&plain(&words));
    }
    Ok(())
}

async fn remove(args: &RemoveEtcdMemberArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let cluster = session.cluster(&args.name).await?;
    let of = show::cluster_name(&cluster).to_owned();
    let member = one(seen(&cluster)?, &args.member)
        .map_err(|failure| failure.with_next(format!("muster etcd list {of}")))?
        .clone();
    let called = if member.name.is_empty() { "never started".to_owned() } else { member.name.clone() };
    let question = format!(
        "Take {} {} ({called}, {}) out of the etcd of {of} for good? What its machine holds of the cluster's data is of no use after \
         that.",
        member.role,
        member.id,
        member.peer_urls.join(", ")
    );
    console.confirm(&plain(&question), args.yes)?;
    let request = RemoveEtcdMemberRequest {
        request_id: request_id(),
        cluster: cluster.id.clone(),
        member: member.id.clone(),
        reason: args.reason.clone().unwrap_or_default(),
    };
    let after = session.call(async |mut client| client.remove_etcd_member(request.clone()).await).await?;
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Cluster", &after))?,
        Format::Name => console.data(&name(&member))?,
        Format::Table | Format::Wide => console.data(&format!("{} is being taken out", name(&member)))?,
    }
    console.next(&format!("muster etcd list {of} shows when it is gone"));
    Ok(())
}

fn name(member: &EtcdMember) -> String {
    format!("etcd/{}", plain(&member.id))
}

/// What the leader sees of its etcd.
fn seen(cluster: &Cluster) -> Result<&Etcd, Failure> {
    cluster.etcd.as_ref().ok_or_else(|| {
        let name = plain(show::cluster_name(cluster));
        let why = if cluster.mode == "Linked" {
            "its leader has not looked yet, or the key of etcd's authority is not here (external etcd)"
        } else {
            "it is detached"
        };
        Failure::new(Exit::Conflict, format!("nothing is known of the etcd of {name}: {why}"))
            .with_next(format!("muster cluster describe {name}"))
    })
}

/// The member that is meant: an exact id comes before those that only start so.
fn one<'a>(etcd: &'a Etcd, text: &str) -> Result<&'a EtcdMember, Failure> {
    let text = text.strip_prefix("etcd/").unwrap_or(text).to_ascii_lowercase();
    if let Some(exact) = etcd.members.iter().find(|member| member.id == text) {
        return Ok(exact);
    }
    let found: Vec<&EtcdMember> = etcd.members.iter().filter(|member| member.id.starts_with(&text)).collect();
    match found[..] {
        [only] if !text.is_empty() => Ok(only),
        [] => Err(Failure::new(Exit::Conflict, format!("etcd has no member {:?}", plain(&text)))),
        _ => {
            let ids: Vec<String> = found.iter().map(|member| plain(&member.id)).collect();
            Err(Failure::new(Exit::Conflict, format!("{:?} is not one member: {}", plain(&text), ids.join(", "))))
        }
    }
}
