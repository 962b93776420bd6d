//! `muster node approve`: an approval names what was seen, and is refused if that has changed.

use muster_proto::admin::v1::{ApproveNodeRequest, Cluster, Node};

use super::changed;
use crate::cli::args::ApproveArgs;
use crate::cli::client::{Session, request_id};
use crate::cli::command::compare;
use crate::cli::console::{Console, plain};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{names, show};

pub(super) async fn run(
    args: &ApproveArgs,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    if let Some(name) = &args.name {
        names::check_subdomain(name).map_err(|message| Failure::new(Exit::Invalid, message))?;
    }
    // Not narrowed by --cluster: a machine that waits is in no cluster yet.
    let node = session.node(&args.node, None).await?;
    let place = place(args, &node, session, cluster).await?;
    compare(args, &node, console)?;
    let request = ApproveNodeRequest {
        request_id: request_id(),
        node: node.id.clone(),
        key_fingerprint: node.key_fingerprint.clone(),
        facts_revision: node.facts_revision,
        cluster: place.cluster,
        pool: place.pool,
        name: args.name.clone().unwrap_or_default(),
        replace: args.replace,
    };
    let after = session.call(async |mut client| client.approve_node(request.clone()).await).await?;
    changed(&after, "approved", console)?;
    let next = match after.next.as_str() {
        "" => format!("muster wait node/{} --for phase=Ready", node.id),
        next => next.to_owned(),
    };
    console.next(&plain(&next));
    Ok(Exit::Done)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    cluster: String,
    pool: String,
}

/// Where the node goes, as far as the options say.
async fn place(args: &ApproveArgs, node: &Node, session: &Session, cluster: Option<&str>) -> Result<Place, Failure> {
    let named = cluster.or(Some(node.cluster.as_str()).filter(|cluster| !cluster.is_empty()));
    if args.pool.is_none() && args.role.is_none() {
        return Ok(Place { cluster: cluster.unwrap_or_default().to_owned(), pool: String::new() });
    }
    let cluster = session.chosen_cluster(named).await?;
    let pool = match (&args.pool, &args.role) {
        (Some(pool), _) => pool.clone(),
        (None, Some(role)) => pool_of_role(&cluster, role)?,
        (None, None) => String::new(),
    };
    Ok(Place { cluster: show::cluster_name(&cluster).to_owned(), pool })
}

fn pool_of_role(cluster: &Cluster, role: &str) -> Result<String, Failure> {
    let name = plain(show::cluster_name(cluster));
    let pools = cluster.spec.iter().flat_map(|spec| &spec.pools).filter(|pool| pool.role == role);
    let pools: Vec<&str> = pools.map(|pool| pool.name.as_str()).collect();
    match pools.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(Failure::new(Exit::Conflict, format!("cluster {name} has no pool of role {role}"))
            .with_next("muster get pools")),
        several => Err(Failure::new(
            Exit::Usage,
            format!("cluster {name} has several pools of role {role}: {}", plain(&several.join(", "))),
        )
        .with_next("say which with --pool")),
    }
}

/// Lets the operator compare the fingerprint, or compares it with the one that was typed.
fn compare(args: &ApproveArgs, node: &Node, console: &mut Console) -> Result<(), Failure> {
    if let Some(typed) = &args.fingerprint {
        let next =
            format!("find out which machine this is; if it is none of yours: muster node deny {}", plain(&node.id));
        return compare::fingerprints(typed, &node.key_fingerprint, "node", next);
    }
    if !args.yes {
        let mut fields = show::Fields::default();
        fields.add("Node", node.id.clone()).add("Key fingerprint", node.key_fingerprint.clone());
        if let Some(facts) = &node.facts {
            fields.section(format!("Claimed by the machine (revision {})", node.facts_revision));
            show::claims(&mut fields, facts);
        }
        console.warn(fields.render().trim_end());
    }
    console.confirm("Does the machine's own console show exactly this key fingerprint?", args.yes)
}

#[cfg(test)]
mod tests {
    use muster_proto::admin::v1::{ClusterSpec, Pool};

    use super::*;

    fn mk_cluster(pools: &[(&str, &str)]) -> Cluster {
        let pool = |(name, role): &(&str, &str)| Pool {
            name: (*name).to_owned(),
            role: (*role).to_owned(),
            ..Pool::default()
        };
        let spec =
            ClusterSpec { name: "prod".into(), pools: pools.iter().map(pool).collect(), ..ClusterSpec::default() };
        Cluster { spec: Some(spec), ..Cluster::default() }
    }

    #[test]
    fn a_role_means_the_only_pool_of_it() {
        let cluster = mk_cluster(&[("cp", "control-plane"), ("w1", "worker"), ("w2", "worker")]);
        assert_eq!(pool_of_role(&cluster, "control-plane"), Ok("cp".to_owned()));
        let failure = pool_of_role(&cluster, "worker").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("w1, w2"), "{failure}");
        assert_eq!(pool_of_role(&mk_cluster(&[]), "worker").unwrap_err().exit, Exit::Conflict);
    }
}
