//! Approvals: an operator's word for exactly the machine that was seen.

use muster_proto::admin::v1::{ApproveNodeRequest, Node};
use muster_state::{NodeName, State, command::ApproveNode};
use tonic::{Request, Response};

use super::{Answer, call::changing, nodes::shown, resolve};
use crate::{
    api::{
        status::{of_operation, of_propose},
        wire::node::parse_fingerprint,
    },
    operations::{OperationError, Unsealed},
};

pub(super) async fn approve(server: &Unsealed, request: Request<ApproveNodeRequest>) -> Answer<Node> {
    let (request, body) = changing(server, request)?;
    let verb = server.ledger.read(|state| parse(state, body)).map_err(of_operation)?;
    let id = verb.node.clone();
    server.ledger.propose_for(request, verb).await.map_err(of_propose)?;
    Ok(Response::new(shown(server, &id, None)))
}

fn parse(state: &State, body: ApproveNodeRequest) -> Result<ApproveNode, OperationError> {
    let ApproveNodeRequest { request_id: _, node, key_fingerprint, facts_revision, cluster, pool, name, replace } =
        body;
    if key_fingerprint.is_empty() {
        let problem =
            "is needed: compare what `muster describe node` shows with the machine's own console, and send that";
        return Err(OperationError::invalid("key_fingerprint", problem));
    }
    if facts_revision == 0 {
        let problem = "is needed: the revision of the claims you read in `muster describe node`, so that an approval \
                       of a machine that changed them since is refused";
        return Err(OperationError::invalid("facts_revision", problem));
    }
    let cluster_id = || resolve::cluster(state, "cluster", &cluster).map(|cluster| cluster.id.clone());
    let node_name = || NodeName::parse(&name).map_err(|err| OperationError::invalid("name", err));
    Ok(ApproveNode {
        node: resolve::node_id(state, "node", &node)?,
        key: parse_fingerprint("key_fingerprint", &key_fingerprint)?,
        facts_revision,
        cluster: (!cluster.is_empty()).then(cluster_id).transpose()?,
        name: (!name.is_empty()).then(node_name).transpose()?,
        pool: (!pool.is_empty()).then_some(pool),
        replace,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_body() -> ApproveNodeRequest {
        ApproveNodeRequest {
            node: "6e0f3a51-0000-4000-8000-000000000001".into(),
            key_fingerprint: format!("sha256:{}", "ab".repeat(32)),
            facts_revision: 1,
            ..ApproveNodeRequest::default()
        }
    }

    fn refusal(body: ApproveNodeRequest) -> String {
        parse(&State::default(), body).unwrap_err().to_string()
    }

    #[test]
    fn an_approval_that_names_nothing_seen_is_told_what_to_compare() {
        let said = refusal(ApproveNodeRequest { key_fingerprint: String::new(), ..mk_body() });
        assert!(said.starts_with("key_fingerprint: ") && said.contains("console"), "{said}");
        let said = refusal(ApproveNodeRequest { facts_revision: 0, ..mk_body() });
        assert!(said.starts_with("facts_revision: ") && said.contains("describe node"), "{said}");
    }

    #[test]
    fn a_fingerprint_must_be_whole() {
        for bad in ["sha256:abab", &"ab".repeat(32), &format!("sha256:{}", "zz".repeat(32)), "sha1:abab"] {
            let said = refusal(ApproveNodeRequest { key_fingerprint: bad.into(), ..mk_body() });
            assert!(said.starts_with("key_fingerprint: is no fingerprint"), "{bad}: {said}");
        }
        let upper = ApproveNodeRequest { key_fingerprint: format!("sha256:{}", "AB".repeat(32)), ..mk_body() };
        assert_eq!(parse(&State::default(), upper).unwrap().key, muster_state::Digest([0xab; 32]));
    }

    #[test]
    fn what_is_not_said_is_left_to_the_suggestion() {
        let verb = parse(&State::default(), mk_body()).unwrap();
        assert_eq!((verb.cluster, verb.pool, verb.name, verb.replace), (None, None, None, false));
        assert!(refusal(ApproveNodeRequest { name: "N1".into(), ..mk_body() }).starts_with("name: "));
        assert!(refusal(ApproveNodeRequest { cluster: "prod".into(), ..mk_body() }).contains("no cluster \"prod\""));
    }
}
