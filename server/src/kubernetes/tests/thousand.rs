//! A thousand tokens on a real API server: made, used and swept, and what that asks of it. Runs where `K8S_LAB` and `LAB_SCRIPTS` are
//! set; `THOUSAND` is another number of machines.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, Request};
use kube::Client;
use muster_state::{
    ClusterId, NodeId, TokenId,
    command::Instruct,
    record::{BootstrapTokenState, LinkCondition, Purpose, Verb},
};
use serde_json::Value;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    real::{Lab, install_rights, lab_at, pki, secrets},
    world::{World, csr, pkcs10, until},
};
use crate::{
    api::fixture::CLUSTER,
    kubernetes::transport::{self, Target},
    operations::mint_token,
    pki::{PkiFile, file},
};

const PORT: u16 = 17_543;
/// Calls of the link for one token at most: whether its name is taken, its Secret, its request, its end, and one to spare.
const CALLS_MAX: u64 = 5;
/// What the link asks, as the API server counts it.
const CALLS: [&str; 5] =
    ["GET nodes", "POST secrets", "PUT secrets", "DELETE secrets", "PUT certificatesigningrequests/approval"];
/// Machines that do something at once.
const AT_ONCE: usize = 32;
/// Longest wait for all of them.
const PATIENCE: Duration = Duration::from_secs(300);

#[expect(clippy::disallowed_methods, reason = "how many is said by the environment")]
fn machines() -> usize {
    std::env::var("THOUSAND").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// Requests so far, by verb and resource, as the API server counts them.
fn requests(lab: &Lab) -> BTreeMap<String, u64> {
    let Ok(Value::String(text)) = lab.kubectl(None, &["get", "--raw", "/metrics"], &Value::Null) else {
        return BTreeMap::new();
    };
    let mut all = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
        let Some((labels, count)) = line.rsplit_once("} ") else { continue };
        let label = |name: &str| {
            let value = labels.split(',').find_map(|pair| pair.strip_prefix(&format!("{name}=\"")));
            value.unwrap_or_default().trim_end_matches('"').to_owned()
        };
        let key = format!("{} {}/{}", label("verb"), label("resource"), label("subresource"));
        *all.entry(key.trim_end_matches('/').to_owned()).or_default() +=
            count.parse::<f64>().unwrap_or_default() as u64;
    }
    all
}

fn cluster_info(lab: &Lab) -> String {
    let map =
        lab.kubectl(None, &["-n", "kube-public", "get", "cm", "cluster-info", "-o", "json"], &Value::Null).unwrap();
    map["data"].to_string()
}

fn cluster_info_bytes(lab: &Lab) -> usize {
    cluster_info(lab).len()
}

/// Each at once with some others.
async fn each<T: Clone + Send + 'static, F>(all: &[T], work: impl Fn(T) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (turns, mut tasks) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for one in all {
        let turn = turns.clone().acquire_owned().await.unwrap();
        let work = work(one.clone());
        tasks.spawn(async move {
            work.await;
            drop(turn);
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

async fn until_all(what: &str, number: usize, count: impl AsyncFn() -> usize) -> Duration {
    let began = Instant::now();
    loop {
        let now = count().await;
        if now >= number {
            return began.elapsed();
        }
        assert!(began.elapsed() < PATIENCE, "{what}: {now} of {number}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As a kubelet does.
async fn post(client: Client, token: String, name: String) {
    let mut csr = csr(&name, &"abcdef".into(), &pkcs10(&format!("system:node:{name}"), "system:nodes"));
    let spec = csr["spec"].as_object_mut().unwrap();
    spec.retain(|field, _| ["request", "signerName", "usages"].contains(&field.as_str()));
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let request = Request::builder().method(Method::POST).uri(path).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {token}"));
    client.request_text(request.body(csr.to_string().into_bytes()).unwrap()).await.unwrap();
}

/// Machines that have passed their checks, by name.
async fn admitted(world: &Arc<World>, names: &[String]) -> Vec<NodeId> {
    each(names, |name| {
        let world = world.clone();
        async move { drop(world.machine(&format!("machine-{name}"), &name).await) }
    })
    .await;
    let of = |name: &String| {
        let name = muster_state::NodeName::parse(name).unwrap();
        world.state(|state| state.node_named(&CLUSTER.into(), &name).unwrap().id.clone())
    };
    names.iter().map(of).collect()
}

/// Each is told to join, and its kubelet asks for a certificate: how long it took to ask, until all were approved in the cluster, and
/// until it had signed all.
async fn used(lab: &Lab, world: &Arc<World>, all: &[(NodeId, TokenId)]) -> [Duration; 3] {
    each(all, |(node, token)| {
        let world = world.clone();
        async move {
            let steps = vec![Verb::JoinWorker, Verb::WaitReady];
            world.server.ledger.propose(Instruct { node, steps, token: Some(token) }).await.unwrap();
        }
    })
    .await;
    let pki = pki(lab);
    let authority = pki.files.get(file::CA_CRT).map(PkiFile::expose).unwrap();
    let client = transport::client(vec![Target { host: "127.0.0.1".into(), port: PORT }], authority, None).unwrap();
    let name = |node: &NodeId| world.node(node).placement().unwrap().name.to_string();
    let posts: Vec<_> = all.iter().map(|(node, token)| (world.whole_token(token), name(node))).collect();
    let began = Instant::now();
    each(&posts, |(token, name)| post(client.clone(), token, name)).await;
    let posted = began.elapsed();
    until_all("approved", all.len(), async || approved(lab).0).await;
    let decided = began.elapsed();
    until_all("signed", all.len(), async || approved(lab).1).await;
    [posted, decided, began.elapsed()]
}

async fn swept(world: &Arc<World>, nodes: &[NodeId]) -> Duration {
    let began = Instant::now();
    each(nodes, |node| {
        let world = world.clone();
        async move { world.has_joined(&node).await }
    })
    .await;
    until_all("swept", nodes.len(), async || count(world, BootstrapTokenState::Deleted)).await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tokens_are_made_used_and_swept_with_few_calls_each() {
    let Some(lab) = lab_at(PORT) else { return };
    install_rights(&lab);
    let world = Arc::new(World::start(&pki(&lab), &format!("127.0.0.1:{PORT}")).await);
    world.until_condition(LinkCondition::Connected).await;
    let names: Vec<String> = (0..machines()).map(|number| format!("t{number}")).collect();
    let nodes = admitted(&world, &names).await;
    // The cluster has a token of its own, which its controller manager signs when it is up.
    until("the signature of its own token", async || match cluster_info(&lab) {
        signed if signed.contains("jws-kubeconfig-") => Ok(()),
        other => Err(other),
    })
    .await;
    let (bytes, before) = (cluster_info_bytes(&lab), requests(&lab));
    let began = Instant::now();
    let all = mint(&world, &nodes).await;
    until_all("made", nodes.len(), async || count(&world, BootstrapTokenState::Present)).await;
    let made = began.elapsed();
    assert_eq!(cluster_info_bytes(&lab), bytes);
    let [posted, approved, signed] = used(&lab, &world, &all).await;
    let swept = swept(&world, &nodes).await;
    assert!(!secrets(&lab).iter().any(|name| all.iter().any(|(_, id)| name.ends_with(id.as_str()))));
    assert!(world.state(|state| state.nodes.values().all(|node| node.locked.is_none())));
    assert_eq!((cluster_info_bytes(&lab), world.condition()), (bytes, Some(LinkCondition::Connected)));
    let after = requests(&lab);
    let more =
        |key: &&str| after.get(*key).copied().unwrap_or_default() - before.get(*key).copied().unwrap_or_default();
    let calls: Vec<(&str, u64)> = CALLS.iter().map(|key| (*key, more(key))).collect();
    let told = format!(
        "{} tokens: made in {made:.1?}, asked with in {posted:.1?}, all approved after {approved:.1?} and signed after {signed:.1?}, swept in {swept:.1?}; \
         cluster-info has {bytes} bytes as before; calls {calls:?}",
        nodes.len(),
    );
    let _ = writeln!(std::io::stderr(), "{told}");
    assert!(calls.iter().map(|(_, count)| count).sum::<u64>() <= CALLS_MAX * nodes.len() as u64, "{told}");
    Arc::into_inner(world).unwrap().stop().await;
}

async fn mint(world: &Arc<World>, nodes: &[NodeId]) -> Vec<(NodeId, TokenId)> {
    let minting = world.clone();
    each(nodes, |node| {
        let world = minting.clone();
        async move {
            let ttl_ms = mint_token::NODE_TOKEN_TTL_MS;
            drop(mint_token::run(&world.server, &ClusterId::from(CLUSTER), Purpose::Node(node), ttl_ms).await.unwrap());
        }
    })
    .await;
    let token = |node: &NodeId| world.node(node).bootstrap_token.unwrap();
    nodes.iter().map(|node| (node.clone(), token(node))).collect()
}

fn count(world: &World, wanted: BootstrapTokenState) -> usize {
    world.state(|state| state.bootstrap_tokens.values().filter(|token| token.state == wanted).count())
}

/// Requests that are approved, and those that the cluster has signed.
fn approved(lab: &Lab) -> (usize, usize) {
    let columns = "custom-columns=C:.status.conditions[0].type,S:.status.certificate";
    let text = lab.kubectl(None, &["get", "csr", "--no-headers", "-o", columns], &Value::Null).unwrap();
    let lines = text.as_str().unwrap_or_default().lines().filter(|line| line.starts_with("Approved"));
    (lines.clone().count(), lines.filter(|line| !line.contains("<none>")).count())
}
