//! `muster cluster`.

mod apply;
mod create;
mod credentials;
mod import;
mod named;
mod rbac;

use muster_proto::admin::v1::{Cluster, ListClustersRequest, Pool};

use super::describe::describe_cluster;
use super::get::Listing;
use crate::cli::args::{ClusterCommand, Format};
use crate::cli::client::Session;
use crate::cli::console::{Console, Document, plain};
use crate::cli::exit::{Exit, Failure};
use crate::cli::show;

pub(super) fn refuse_early(command: &ClusterCommand) -> Result<(), Failure> {
    match command {
        ClusterCommand::Create(args) => create::check(args),
        ClusterCommand::Import(args) => import::check(args),
        ClusterCommand::Credentials(_)
        | ClusterCommand::Rbac { .. }
        | ClusterCommand::Apply(_)
        | ClusterCommand::List
        | ClusterCommand::Describe { .. } => Ok(()),
    }
}

pub(super) async fn run(command: ClusterCommand, session: &Session, console: &mut Console) -> Result<Exit, Failure> {
    match command {
        ClusterCommand::Create(args) => create::run(args, session, console).await?,
        ClusterCommand::Import(args) => import::run(args, session, console).await?,
        ClusterCommand::Apply(args) => apply::run(&args, session, console).await?,
        ClusterCommand::Credentials(args) => credentials::run(&args, session, console).await?,
        ClusterCommand::Rbac { name, link } => rbac::run(&name, link.as_ref(), session, console).await?,
        ClusterCommand::List => list(session, console).await?,
        ClusterCommand::Describe { name } => {
            let cluster = session.cluster(&name).await?;
            describe_cluster(&cluster, session, console).await?;
        }
    }
    Ok(Exit::Done)
}

async fn list(session: &Session, console: &mut Console) -> Result<(), Failure> {
    let request = ListClustersRequest::default();
    let clusters = session.call(async |mut client| client.list_clusters(request.clone()).await).await?;
    Listing::Clusters(clusters).show(false, console)
}

/// The two pools of a cluster that was made without a file: every machine of either is approved by an operator.
fn default_pools() -> Vec<Pool> {
    let pool = |role: &str| Pool { name: role.to_owned(), role: role.to_owned(), ..Pool::default() };
    vec![pool("control-plane"), pool("worker")]
}

/// Says what a new cluster is known by.
fn made(cluster: &Cluster, verb: &str, console: &mut Console) -> Result<(), Failure> {
    let name = show::cluster_name(cluster);
    match console.format {
        Format::Json | Format::Yaml => return console.document(&Document::new("Cluster", cluster)),
        Format::Name => return console.data(&format!("cluster/{}", plain(name))),
        Format::Table | Format::Wide => {}
    }
    console.data(&format!("cluster/{} {verb}", plain(name)))?;
    let mut fields = show::Fields::default();
    fields.add("Endpoint", cluster.spec.as_ref().map(|spec| spec.endpoint.clone()).unwrap_or_default());
    for pin in &cluster.ca_pins {
        fields.add("CA pin", pin.clone());
    }
    console.data(&fields.render())?;
    for warning in &cluster.warnings {
        console.warn(&format!("warning: {}", plain(warning)));
    }
    Ok(())
}

/// What to do with a cluster that has no machines yet.
const NEXT_MACHINES: &str = "muster snippet kernel-args for machines that boot from the network, or: muster token create --node NAME \
                             for one machine";
