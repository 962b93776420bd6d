//! Ids as people type them: names and unique prefixes become the one thing they mean.

use muster_proto::admin::v1::{
    Cluster, ListClustersRequest, ListNodesRequest, ListServersRequest, ListTokensRequest, Node, Server, Token,
};

use super::Session;
use crate::cli::console::plain;
use crate::cli::exit::{Exit, Failure};

impl Session {
    /// The node with this id, unique prefix of an id, or name; `node/` before it is ignored.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub(in crate::cli) async fn node(&self, text: &str, cluster: Option<&str>) -> Result<Node, Failure> {
        let text = text.strip_prefix("node/").unwrap_or(text);
        let request = ListNodesRequest {
            node: text.to_owned(),
            cluster: cluster.unwrap_or_default().to_owned(),
            phase: String::new(),
        };
        let nodes = self.call(async |mut client| client.list_nodes(request.clone()).await).await?;
        one("node", text, nodes.items, |node| (&node.id, &node.name))
    }

    /// The cluster with this name, id or unique prefix of an id; `cluster/` before it is ignored.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub(in crate::cli) async fn cluster(&self, text: &str) -> Result<Cluster, Failure> {
        let text = text.strip_prefix("cluster/").unwrap_or(text);
        let request = ListClustersRequest { cluster: text.to_owned() };
        let clusters = self.call(async |mut client| client.list_clusters(request.clone()).await).await?;
        one("cluster", text, clusters.items, |cluster| (&cluster.id, name_of(cluster)))
    }

    /// The cluster that `--cluster` names, or else the only one there is.
    ///
    /// # Errors
    /// If there is none, or several and none was named.
    pub(in crate::cli) async fn chosen_cluster(&self, named: Option<&str>) -> Result<Cluster, Failure> {
        if let Some(named) = named {
            return self.cluster(named).await;
        }
        let request = ListClustersRequest::default();
        let mut clusters = self.call(async |mut client| client.list_clusters(request.clone()).await).await?.items;
        match clusters.len() {
            0 => Err(Failure::new(Exit::Conflict, "there is no cluster yet")
                .with_next("muster cluster create NAME --endpoint HOST:6443 --kubernetes VERSION")),
            1 => Ok(clusters.remove(0)),
            _ => {
                let names: Vec<String> = clusters.iter().map(|cluster| plain(name_of(cluster))).collect();
                Err(Failure::new(Exit::Usage, format!("there are several clusters: {}", names.join(", ")))
                    .with_next("say which with --cluster"))
            }
        }
    }

    /// The server with this id, removed ones included.
    ///
    /// # Errors
    /// If there is none.
    pub(in crate::cli) async fn a_server(&self, id: u64) -> Result<Server, Failure> {
        let request = ListServersRequest { server: id, ..ListServersRequest::default() };
        let found = self.call(async |mut client| client.list_servers(request).await).await?.items;
        found
            .into_iter()
            .find(|server| server.id == id)
            .ok_or_else(|| Failure::new(Exit::Conflict, format!("no server {id}")).with_next("muster server list"))
    }

    /// The server with this id as it was typed; `server/` before it is ignored.
    ///
    /// # Errors
    /// If it is no number, or there is no such server.
    pub(in crate::cli) async fn server_named(&self, text: &str) -> Result<Server, Failure> {
        match text.strip_prefix("server/").unwrap_or(text).parse() {
            Ok(id) => self.a_server(id).await,
            Err(_) => Err(Failure::new(Exit::Usage, format!("{text:?} is no server: they have numbers"))
                .with_next("muster server list")),
        }
    }

    /// The token with this id or unique prefix of it; `token/` before it is ignored.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub(in crate::cli) async fn token(&self, text: &str) -> Result<Token, Failure> {
        let text = text.strip_prefix("token/").unwrap_or(text);
        let request = ListTokensRequest::default();
        let tokens = self.call(async |mut client| client.list_tokens(request.clone()).await).await?.items;
        let matching = tokens.into_iter().filter(|token| token.id.starts_with(text)).collect();
        one("token", text, matching, |token| (&token.id, ""))
    }
}

fn name_of(cluster: &Cluster) -> &str {
    cluster.spec.as_ref().map(|spec| spec.name.as_str()).unwrap_or_default()
}

/// The one that is meant: an exact id or name comes before those that only start so.
fn one<T>(kind: &str, text: &str, mut found: Vec<T>, id_and_name: impl Fn(&T) -> (&str, &str)) -> Result<T, Failure> {
    if found.len() > 1 {
        let exact = |item: &T| {
            let (id, name) = id_and_name(item);
            id == text || name == text
        };
        if found.iter().filter(|item| exact(item)).count() == 1 {
            found.retain(exact);
        }
    }
    match found.len() {
        0 => Err(Failure::new(Exit::Conflict, format!("no {kind} {text:?}")).with_next(format!("muster get {kind}s"))),
        1 => Ok(found.remove(0)),
        _ => {
            let ids = found.iter().map(&id_and_name).map(|(id, name)| match name {
                "" => plain(id),
                name => format!("{} ({})", plain(id), plain(name)),
            });
            let ids: Vec<String> = ids.collect();
            Err(Failure::new(
                Exit::Conflict,
                format!("{text:?} is not one {kind} but {}: {}", ids.len(), ids.join(", ")),
            )
            .with_next("write more of the id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, there: &[(&'static str, &'static str)]) -> Result<&'static str, Failure> {
        one("node", text, there.to_vec(), |(id, name)| (id, name)).map(|(id, _)| id)
    }

    #[test]
    fn one_candidate_is_it_and_none_is_not_found() {
        assert_eq!(find("7f", &[("7f3c", "n1")]), Ok("7f3c"));
        let failure = find("7f", &[]).unwrap_err();
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Conflict, "no node \"7f\""));
    }

    #[test]
    fn an_exact_name_comes_before_a_prefix() {
        assert_eq!(find("7f", &[("7f3c", "n1"), ("aa01", "7f")]), Ok("aa01"));
    }

    #[test]
    fn several_candidates_are_listed() {
        let failure = find("7f", &[("7f3c", "n1"), ("7f3d", "")]).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert_eq!(failure.message, "\"7f\" is not one node but 2: 7f3c (n1), 7f3d");
    }

    #[test]
    fn a_name_used_in_two_clusters_is_ambiguous() {
        assert_eq!(find("n1", &[("7f3c", "n1"), ("aa01", "n1")]).unwrap_err().exit, Exit::Conflict);
    }
}
