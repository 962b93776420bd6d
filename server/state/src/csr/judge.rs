//! The rules.

use std::collections::BTreeSet;

use super::{
    CLIENT_SIGNER, CsrClaim, CsrContent, CsrDecision, Judgement, NODE_USER, NODES, SERVING_SIGNER, TOKEN_USER,
    bootstrap_group, hold::Way,
};
use crate::{
    ClusterId, NodeName, State, TokenId,
    record::{BootstrapToken, Cluster, Hold, Node, Placement, Purpose, Role},
};

impl Judgement {
    fn of(decision: CsrDecision) -> Self {
        Self { decision, node: None, token: None, stolen: false, hold: Hold::Never }
    }

    fn about(node: &Node, token: Option<&TokenId>, decision: CsrDecision) -> Self {
        Self { node: Some(node.id.clone()), token: token.cloned(), ..Self::of(decision) }
    }
}

fn deny(why: impl Into<String>) -> CsrDecision {
    CsrDecision::Deny(why.into())
}

impl State {
    /// What is to happen to that request in that cluster now. Changes nothing; [`crate::command::DecideCsr`] commits it.
    #[must_use]
    pub fn judge_csr(&self, cluster: &ClusterId, uid: &str, claim: &CsrClaim) -> CsrDecision {
        self.judgement(cluster, uid, claim, self.now_ms).decision
    }

    pub(crate) fn judgement(&self, cluster: &ClusterId, uid: &str, claim: &CsrClaim, now_ms: u64) -> Judgement {
        let cluster = self.clusters.get(cluster);
        let is_ours = |cluster: &&Cluster| cluster.spec.csr_approval().is_musters();
        let Some(cluster) = cluster.filter(is_ours) else { return Judgement::of(CsrDecision::Ignore) };
        if let Some(token) = claim.user.strip_prefix(TOKEN_USER) {
            let token = self.bootstrap_tokens.get(&TokenId(token.to_owned()));
            return match token.filter(|token| token.cluster == cluster.id) {
                Some(token) => self.of_token(cluster, token, (uid, claim), now_ms),
                None => Judgement::of(CsrDecision::Ignore),
            };
        }
        match claim.user.strip_prefix(NODE_USER) {
            Some(name) if claim.signer == SERVING_SIGNER => self.of_kubelet(cluster, name, claim),
            Some(name) if claim.signer == CLIENT_SIGNER => self.of_renewal(cluster, name, claim),
            Some(_) | None => Judgement::of(CsrDecision::Ignore),
        }
    }

    fn of_token(
        &self,
        cluster: &Cluster,
        token: &BootstrapToken,
        (uid, claim): (&str, &CsrClaim),
        now_ms: u64,
    ) -> Judgement {
        let id = match &token.purpose {
            Purpose::Node(id) => id,
            Purpose::NamedJoinCommand(role, name) | Purpose::FileJoinCommand(role, Some(name)) => {
                return self.of_line(cluster, token, (*role, name), (uid, claim), now_ms);
            }
            Purpose::JoinCommand(_) | Purpose::FileJoinCommand(_, None) => {
                let why = "it comes from a printed join line without a node name, which stands for no machine that Muster knows";
                return Judgement::of(CsrDecision::Wait(why.into()));
            }
        };
        let Some(node) = self.nodes.get(id) else {
            return Judgement::of(deny(format!("the machine of bootstrap token {} is not known any more", token.id)));
        };
        let about = |decision| Judgement::about(node, Some(&token.id), decision);
        let Some(place) = node.placement().filter(|place| place.cluster == cluster.id) else {
            return about(deny(format!("the machine of bootstrap token {} was not admitted", token.id)));
        };
        if node.requests.iter().any(|seen| seen.token.as_ref() == Some(&token.id) && seen.uid != uid) {
            let why = format!("a second certificate request was made with bootstrap token {}", token.id);
            return Judgement { stolen: true, ..about(deny(why)) };
        }
        let seen = node.requests.iter().find(|seen| seen.token.as_ref() == Some(&token.id) && seen.uid == uid);
        let way = Way { token, seen, now_ms, machine_is_there: node.has_come_to_its_kubelet() };
        if let Some(why) = why_not_the_holder(node, &way) {
            return about(deny(why));
        }
        match why_not_a_kubelets(claim, cluster, (place.role, &place.name)) {
            None => way.go_on(cluster, about(CsrDecision::Approve)),
            Some(why) => about(deny(why)),
        }
    }

    /// From a join line that was printed for one name: its first request is approved if it is what the kubelet of that name
    /// asks for. An operator has said who that is; no machine has shown it.
    fn of_line(
        &self,
        cluster: &Cluster,
        token: &BootstrapToken,
        line: (Role, &NodeName),
        (uid, claim): (&str, &CsrClaim),
        now_ms: u64,
    ) -> Judgement {
        let about = |decision| Judgement { token: Some(token.id.clone()), ..Judgement::of(decision) };
        let (id, name) = (&token.id, line.1);
        if token.requests.iter().any(|seen| seen.uid != uid) {
            let why = format!("a second certificate request was made with bootstrap token {id}");
            return Judgement { stolen: true, ..about(deny(why)) };
        }
        let seen = token.requests.iter().find(|seen| seen.uid == uid);
        // No machine of a line's says how far it is.
        let way = Way { token, seen, now_ms, machine_is_there: true };
        if !way.is_open() {
            return about(deny(format!("bootstrap token {id} of the join line for {name} has ended")));
        }
        if let Some(holder) = self.node_named(&cluster.id, name) {
            return about(deny(format!(
                "{name} is the name of node {}, which joins with a token of its own",
                holder.id
            )));
        }
        if claim.node_is_ready {
            return about(deny(format!("a Node {name} is in the cluster and Ready")));
        }
        match why_not_a_kubelets(claim, cluster, line) {
            None => way.go_on(cluster, about(CsrDecision::Approve)),
            Some(why) => about(deny(why)),
        }
    }

    /// The name that a join line with the token of this requester is for: whether its Node is Ready has to be looked at first.
    #[must_use]
    pub fn line_name_of(&self, cluster: &ClusterId, claim: &CsrClaim) -> Option<&NodeName> {
        let token = self.bootstrap_tokens.get(&TokenId(claim.user.strip_prefix(TOKEN_USER)?.to_owned()))?;
        token.purpose.line_name().filter(|_| token.cluster == *cluster)
    }

    /// A kubelet renews what it shows to API servers: for its own name and nothing else. One that Muster does not know, because it
    /// joined by a printed line, must not lose its certificate for that; it gets no more than it has.
    fn of_renewal(&self, cluster: &Cluster, name: &str, claim: &CsrClaim) -> Judgement {
        let node = NodeName::parse(name).ok().and_then(|name| self.node_named(&cluster.id, &name));
        let decision = match (node.filter(|node| node.locked.is_some()), why_not_a_clients(claim, name, &[NODES])) {
            (Some(_), _) => deny(format!("node {name} is locked")),
            (None, Some(why)) => deny(why),
            (None, None) => CsrDecision::Approve,
        };
        node.map_or_else(|| Judgement::of(decision.clone()), |node| Judgement::about(node, None, decision.clone()))
    }

    fn of_kubelet(&self, cluster: &Cluster, name: &str, claim: &CsrClaim) -> Judgement {
        let node = NodeName::parse(name).ok().and_then(|name| self.node_named(&cluster.id, &name));
        let Some((node, place)) = node.and_then(|node| Some((node, node.placement()?))) else {
            return Judgement::of(CsrDecision::Wait(format!("Muster has no node {name:?} in this cluster")));
        };
        if node.locked.is_some() {
            return Judgement::about(node, None, deny(format!("node {name} is locked")));
        }
        Judgement::about(node, None, serving(cluster, place, claim))
    }
}

/// The node does not hold this token now.
fn why_not_the_holder(node: &Node, way: &Way<'_>) -> Option<String> {
    let token = &way.token.id;
    if node.locked.is_some() {
        Some(format!("node {} is locked", node.label()))
    } else if node.bootstrap_token.as_ref() != Some(token) || !way.is_open() {
        Some(format!("bootstrap token {token} is not, or no longer, the one that node {} joins with", node.label()))
    } else if !node.is_proven() || node.steps.is_empty() || node.has_joined() {
        Some(format!("node {} is not joining now", node.label()))
    } else {
        None
    }
}

/// Anything in which it is not exactly what the kubelet of that node asks for with a bootstrap token.
fn why_not_a_kubelets(claim: &CsrClaim, cluster: &Cluster, (role, name): (Role, &NodeName)) -> Option<String> {
    let group = bootstrap_group(&cluster.spec.name, role);
    why_not_a_clients(claim, name.as_str(), &["system:bootstrappers", &group])
}

/// Anything in which it is not exactly the request for a client certificate of that node's kubelet, made by a member of these groups.
fn why_not_a_clients(claim: &CsrClaim, name: &str, groups: &[&str]) -> Option<String> {
    let Some(content) = claim.content.as_ref().filter(|_| claim.is_bounded()) else {
        return Some("it holds no certificate request that can be read".into());
    };
    let user = format!("{NODE_USER}{name}");
    let groups: BTreeSet<&str> = groups.iter().copied().chain(["system:authenticated"]).collect();
    if claim.signer != CLIENT_SIGNER {
        Some(format!("its signer is {:?}, not {CLIENT_SIGNER}", claim.signer))
    } else if !claim.groups.iter().map(String::as_str).eq(groups) {
        Some("its requester is in other groups than who may ask for this".into())
    } else if !are_usages(claim, "client auth") {
        Some("its usages are not those of a kubelet's client certificate".into())
    } else if !is_subject(content, &user) {
        Some(format!("its subject is not {user} in {NODES}"))
    } else if !content.dns_names.is_empty() || !content.addresses.is_empty() || !content.others.is_empty() {
        Some("it asks for more than a name".into())
    } else {
        None
    }
}

fn serving(cluster: &Cluster, place: &Placement, claim: &CsrClaim) -> CsrDecision {
    let Some(content) = claim.content.as_ref().filter(|_| claim.is_bounded()) else {
        return deny("it holds no certificate request that can be read");
    };
    let user = format!("{NODE_USER}{}", place.name);
    if !claim.groups.contains(NODES) || !is_subject(content, &user) {
        return deny(format!("its subject or its requester is not {user} in {NODES}"));
    }
    if !are_usages(claim, "server auth") || !content.others.is_empty() {
        return deny("it asks for more than a kubelet's server needs");
    }
    if content.dns_names.is_empty() && content.addresses.is_empty() {
        return deny("it asks for no name");
    }
    let declared = cluster.spec.named_node(&place.name).map(|(_, node)| node.address.as_str());
    if let Some(name) = content.dns_names.iter().find(|name| name.as_str() != place.name.as_str()) {
        return deny(format!("{name:?} is not the name of node {}", place.name));
    }
    match content.addresses.iter().find(|address| Some(address.as_str()) != declared) {
        None => CsrDecision::Approve,
        Some(address) if belongs_to_another(cluster, place, address) => {
            deny(format!("address {address} belongs to the cluster's endpoint, or to another node"))
        }
        Some(address) => {
            CsrDecision::Wait(format!("address {address} of node {} is not in the cluster file", place.name))
        }
    }
}

fn belongs_to_another(cluster: &Cluster, place: &Placement, address: &str) -> bool {
    let mut named = cluster.spec.pools.iter().flat_map(|pool| &pool.nodes);
    cluster.spec.endpoint_host() == address || named.any(|node| node.address == address && node.name != place.name)
}

/// RSA keys may encipher keys as well.
fn are_usages(claim: &CsrClaim, purpose: &str) -> bool {
    let needed = ["digital signature", purpose];
    let allowed = |usage: &String| needed.contains(&usage.as_str()) || usage == "key encipherment";
    needed.iter().all(|usage| claim.usages.contains(*usage)) && claim.usages.iter().all(allowed)
}

fn is_subject(content: &CsrContent, user: &str) -> bool {
    content.common_names == [user] && content.organizations == [NODES]
}
