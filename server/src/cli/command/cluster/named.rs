//! Machines that a cluster file knows by name: each gets a token that admits it alone, once.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::admin::v1::{Cluster, ListNodesRequest, ListTokensRequest, NamedNode, Pool, Token};
use serde::Serialize;
use zeroize::Zeroizing;

use super::super::enrolment::{Door, Purpose, make_token};
use super::super::token::revoke_id;
use crate::cli::args::{ApplyArgs, Format};
use crate::cli::client::Session;
use crate::cli::console::{Console, plain};
use crate::cli::exit::Failure;
use crate::cli::show;

/// A line for one machine. Holds the token, so it has no `Debug` and is wiped.
#[derive(Serialize)]
pub(super) struct Enrolment {
    node: String,
    role: String,
    #[serde(serialize_with = "expose")]
    command: Zeroizing<String>,
}

fn expose<S: serde::Serializer>(secret: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret)
}

/// What was done for named nodes.
#[derive(Default)]
pub(super) struct Outcome {
    /// New lines.
    pub(super) made: Vec<Enrolment>,
}

/// A named node that may be admitted by a bound token and is not here yet.
struct Missing<'a> {
    pool: &'a Pool,
    node: &'a NamedNode,
}

/// Makes tokens for named nodes of `bound` pools that have not enrolled, and prints a line for each.
pub(super) async fn enrol(
    cluster: &Cluster,
    args: &ApplyArgs,
    session: &Session,
    console: &mut Console,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    if bound_nodes(cluster).next().is_none() {
        return Ok(outcome);
    }
    let name = show::cluster_name(cluster);
    let missing = missing(cluster, &enrolled(name, session).await?);
    if missing.is_empty() {
        return Ok(outcome);
    }
    let live = live_tokens(name, session).await?;
    let door = Door::of(session).await?;
    for Missing { pool, node } in missing {
        let earlier = live.get(&node.name).map(Vec::as_slice).unwrap_or_default();
        if let Some(token) = earlier.first().filter(|_| !args.new_tokens) {
            console.say(&format!(
                "{}: token {} was made earlier and is still live; --new-tokens replaces it",
                plain(&node.name),
                plain(&token.id)
            ));
            continue;
        }
        // The old one first: there is never a moment with two.
        for token in earlier {
            revoke_id(&token.id, session).await?;
        }
        let enrolment = one(name, pool, node, args, &door, session).await?;
        if console.for_people() || console.format == Format::Name {
            console.data(&format!(
                "# {} ({})\n{}",
                plain(&enrolment.node),
                plain(&enrolment.role),
                *enrolment.command
            ))?;
        }
        outcome.made.push(enrolment);
    }
    Ok(outcome)
}

async fn one(
    cluster: &str,
    pool: &Pool,
    node: &NamedNode,
    args: &ApplyArgs,
    door: &Door,
    session: &Session,
) -> Result<Enrolment, Failure> {
    let purpose = Purpose {
        cluster: cluster.to_owned(),
        pool: pool.name.clone(),
        node_name: node.name.clone(),
        ttl_s: args.ttl.as_secs(),
        uses: 1,
        selector: None,
    };
    let (token, _) = make_token(session, &purpose).await?;
    Ok(Enrolment { node: node.name.clone(), role: pool.role.clone(), command: door.line(&token) })
}

/// Named nodes of pools whose admission, their own or the cluster's, is `bound`.
fn bound_nodes(cluster: &Cluster) -> impl Iterator<Item = (&Pool, &NamedNode)> {
    cluster.spec.iter().flat_map(|spec| {
        let bound = |pool: &&Pool| match pool.admission.as_str() {
            "" => spec.admission == "bound",
            own => own == "bound",
        };
        spec.pools.iter().filter(bound).flat_map(|pool| pool.nodes.iter().map(move |node| (pool, node)))
    })
}

fn missing<'a>(cluster: &'a Cluster, enrolled: &BTreeSet<String>) -> Vec<Missing<'a>> {
    bound_nodes(cluster)
        .filter(|(_, node)| !enrolled.contains(&node.name))
        .map(|(pool, node)| Missing { pool, node })
        .collect()
}

async fn enrolled(cluster: &str, session: &Session) -> Result<BTreeSet<String>, Failure> {
    let request = ListNodesRequest { cluster: cluster.to_owned(), ..ListNodesRequest::default() };
    let nodes = session.call(async |mut client| client.list_nodes(request.clone()).await).await?;
    Ok(nodes.items.into_iter().map(|node| node.name).collect())
}

/// Live enrolment tokens by the node they are bound to.
async fn live_tokens(cluster: &str, session: &Session) -> Result<BTreeMap<String, Vec<Token>>, Failure> {
    let request = ListTokensRequest { cluster: cluster.to_owned() };
    let tokens = session.call(async |mut client| client.list_tokens(request.clone()).await).await?;
    let mut live: BTreeMap<String, Vec<Token>> = BTreeMap::new();
    for token in tokens.items {
        if token.state == "Live" && token.kind == "enrolment" && !token.node_name.is_empty() {
            live.entry(token.node_name.clone()).or_default().push(token);
        }
    }
    Ok(live)
}

#[cfg(test)]
mod tests {
    use muster_proto::admin::v1::ClusterSpec;

    use super::*;

    fn mk_pool(admission: &str, nodes: &[&str]) -> Pool {
        let node = |name: &&str| NamedNode { name: (*name).to_owned(), ..NamedNode::default() };
        Pool { admission: admission.into(), nodes: nodes.iter().map(node).collect(), ..Pool::default() }
    }

    fn mk_cluster(admission: &str, pools: Vec<Pool>) -> Cluster {
        let spec = ClusterSpec { admission: admission.into(), pools, ..ClusterSpec::default() };
        Cluster { spec: Some(spec), ..Cluster::default() }
    }

    #[test]
    fn a_pools_admission_comes_before_the_clusters() {
        let pools = || vec![mk_pool("", &["a"]), mk_pool("bound", &["b"]), mk_pool("approve", &["c"])];
        let names = |cluster: &Cluster| bound_nodes(cluster).map(|(_, node)| node.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&mk_cluster("approve", pools())), ["b"]);
        assert_eq!(names(&mk_cluster("bound", pools())), ["a", "b"]);
        assert_eq!(names(&mk_cluster("", pools())), ["b"]);
    }

    #[test]
    fn nodes_that_are_here_need_no_token() {
        let cluster = mk_cluster("bound", vec![mk_pool("", &["a", "b"])]);
        let here = BTreeSet::from(["a".to_owned()]);
        let names: Vec<&str> = missing(&cluster, &here).iter().map(|missing| missing.node.name.as_str()).collect();
        assert_eq!(names, ["b"]);
    }
}
