//! `muster cluster credentials`: another kubeconfig for a cluster that was brought in.

use muster_proto::admin::v1::SetClusterCredentialsRequest;

use super::import::read_kubeconfig;
use crate::cli::args::{CredentialsArgs, Format};
use crate::cli::client::{Session, request_id};
use crate::cli::console::{Console, Document, plain};
use crate::cli::exit::Failure;
use crate::cli::show;

pub(super) async fn run(args: &CredentialsArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let kubeconfig = read_kubeconfig(&args.kubeconfig, console)?;
    let request = SetClusterCredentialsRequest {
        request_id: request_id(),
        cluster: args.name.clone(),
        kubeconfig: kubeconfig.render().expose().to_owned(),
    };
    let bar = console.spinner("looking at the cluster");
    let changed = session.call(async |mut client| client.set_cluster_credentials(request.clone()).await).await;
    bar.finish_and_clear();
    let cluster = changed?;
    let name = plain(show::cluster_name(&cluster));
    match console.format {
        Format::Json | Format::Yaml => return console.document(&Document::new("Cluster", &cluster)),
        Format::Name => return console.data(&format!("cluster/{name}")),
        Format::Table | Format::Wide => console.data(&format!("cluster/{name} has new credentials"))?,
    }
    for warning in &cluster.warnings {
        console.warn(&format!("warning: {}", plain(warning)));
    }
    console.next(&format!("muster cluster describe {name}"));
    Ok(())
}
