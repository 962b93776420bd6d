//! A look at a cluster that is about to be brought in: does its API let the kubeconfig's user in, and what does it say of itself.

use kube::Client;

use super::{
    call::{answer, object},
    transport::{self, Target},
    trouble::Trouble,
};
use crate::{
    kubeadm::{
        cluster_configuration::{CONFIG_MAP, ClusterConfiguration, KEY, NAMESPACE},
        endpoint::Endpoint,
    },
    operations::link_identity,
    pki::kubeconfig::Kubeconfig,
};

/// What the cluster says of itself; `None` if the kubeconfig's user may not read it, or kubeadm has not made the cluster.
///
/// # Errors
/// A sentence on why its API could not be spoken to.
pub async fn survey(kubeconfig: &Kubeconfig) -> Result<Option<ClusterConfiguration>, String> {
    let client = connect(kubeconfig)?;
    let failed = |trouble: Trouble| format!("{}: {trouble}", kubeconfig.server);
    answer("version", client.apiserver_version()).await.map_err(failed)?;
    match configuration(&client).await {
        Ok(text) => ClusterConfiguration::parse(&text).map(Some).map_err(|err| err.to_string()),
        Err(Trouble::Absent) => Ok(None),
        Err(trouble) if trouble.is_forbidden() => Ok(None),
        Err(trouble) => Err(failed(trouble)),
    }
}

fn connect(kubeconfig: &Kubeconfig) -> Result<Client, String> {
    let server: Endpoint = kubeconfig.server.parse().map_err(|err| format!("server {err}"))?;
    let shown = link_identity::shown(&kubeconfig.login).map_err(|err| err.to_string())?;
    let targets = vec![Target::of(&server)];
    transport::client(targets, &kubeconfig.authority, Some(shown)).map_err(|trouble| trouble.to_string())
}

async fn configuration(client: &Client) -> Result<String, Trouble> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{CONFIG_MAP}");
    object(client, &path).await?["data"][KEY].as_str().map(str::to_owned).ok_or(Trouble::Absent)
}
