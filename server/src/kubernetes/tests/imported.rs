//! A cluster that exists is brought in by a kubeconfig, and its link does what it does elsewhere.

use muster_state::{
    ClusterId,
    record::{BootstrapTokenState, LinkCondition},
};

use super::{
    double::{Double, Fault, NODES, SECRETS},
    outside::{ADMINS, CONFIG_MAPS, OPERATORS, TOKEN, kubeadm_config},
    world::{World, mk_pki, node, until},
};
use crate::{
    api::fixture::CLUSTER,
    clock::now_ms,
    kubeadm::rbac::{self, CsrApproval},
    kubernetes::survey,
    operations::set_credentials,
    pki::{
        ClusterPki, LinkTerms, PkiFile, certificates_to_pem, file, issue_for_link, key_to_pem,
        kubeconfig::{Kubeconfig, Login},
    },
    seal::SecretBytes,
};

fn text(pki: &ClusterPki, name: &str) -> String {
    pki.files.get(name).map(PkiFile::expose).unwrap().to_owned()
}

fn mk_kubeconfig(pki: &ClusterPki, port: u16, login: Login) -> Kubeconfig {
    Kubeconfig { server: format!("127.0.0.1:{port}"), authority: text(pki, file::CA_CRT), login }
}

/// A client certificate of that group.
fn certified(pki: &ClusterPki, group: &str) -> Login {
    let terms = LinkTerms { user: "ann", group };
    let key = text(pki, file::CA_KEY);
    let identity = issue_for_link(&text(pki, file::CA_CRT), key.as_bytes(), terms, now_ms()).unwrap();
    let chain = certificates_to_pem(&identity.chain);
    let key = key_to_pem(&SecretBytes::from(identity.key.secret_der()));
    Login::Certificate { chain, key: key.into() }
}

fn token(text: &str) -> Login {
    Login::Token(text.to_owned().into())
}

const CLUSTER_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings";

fn patches(double: &Double) -> usize {
    double.calls().iter().filter(|call| call.starts_with("PATCH")).count()
}

#[tokio::test]
async fn what_joining_nodes_need_is_installed_once_and_a_worker_joins() {
    let pki = mk_pki();
    let double = Double::start(&pki).await;
    let kubeconfig = mk_kubeconfig(&pki, double.port, certified(&pki, ADMINS));
    let world = World::imported(&pki, &kubeconfig, "").await;
    world.until_condition(LinkCondition::Connected).await;
    let names = [double.names(CLUSTER_BINDINGS), double.names(BINDINGS)].concat();
    assert_eq!(names.len(), 9, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("muster:") && !name.contains("autoapprove")), "{names:?}");
    let (id, token) = world.worker("machine-w1", "w1").await;
    world.joins(&id, &token).await;
    assert!(double.get(SECRETS, &format!("bootstrap-token-{token}")).is_some());
    double.put(NODES, node("w1", "True"));
    world.has_joined(&id).await;
    world.until_token(&token, BootstrapTokenState::Deleted).await;
    // A link that comes back writes nothing where all is as it must be.
    assert_eq!(patches(&double), 10);
    double.fault(Fault::Status(503));
    world.until_condition(LinkCondition::Failing).await;
    double.fault(Fault::None);
    world.until_condition(LinkCondition::Connected).await;
    assert_eq!(patches(&double), 10);
    world.stop().await;
}

#[tokio::test]
async fn a_cluster_of_workers_only_gets_no_rights_for_control_planes() {
    let pki = mk_pki();
    let double = Double::start(&pki).await;
    let kubeconfig = mk_kubeconfig(&pki, double.port, token(TOKEN));
    let world = World::imported(&pki, &kubeconfig, "no keys").await;
    world.until_condition(LinkCondition::Connected).await;
    assert_eq!(double.names(CLUSTER_BINDINGS), ["muster:worker:get-nodes", "muster:worker:kubelet-bootstrap"]);
    world.stop().await;
}

#[tokio::test]
async fn who_may_not_give_rights_away_is_told_what_an_administrator_has_to_apply() {
    let pki = mk_pki();
    let double = Double::start(&pki).await;
    let kubeconfig = mk_kubeconfig(&pki, double.port, certified(&pki, OPERATORS));
    let world = World::imported(&pki, &kubeconfig, "no keys").await;
    world.until_condition(LinkCondition::Forbidden).await;
    let link = world.state(|state| state.clusters[&ClusterId::from(CLUSTER)].link.clone().unwrap());
    assert!(link.message.contains("muster cluster rbac prod"), "{}", link.message);
    for object in rbac::rights("prod", false, CsrApproval::Explicit).unwrap() {
        let collection = if object["kind"] == "RoleBinding" { BINDINGS } else { CLUSTER_BINDINGS };
        double.put(collection, object);
    }
    world.until_condition(LinkCondition::Connected).await;
    world.stop().await;
}

#[tokio::test]
async fn a_binding_of_that_name_to_another_role_is_left_alone_and_said() {
    let pki = mk_pki();
    let double = Double::start(&pki).await;
    let mut other = rbac::rights("prod", false, CsrApproval::Explicit).unwrap().remove(0);
    other["roleRef"]["name"] = "cluster-admin".into();
    double.put(CLUSTER_BINDINGS, other);
    let world = World::imported(&pki, &mk_kubeconfig(&pki, double.port, token(TOKEN)), "no keys").await;
    world.until_condition(LinkCondition::Failing).await;
    let link = world.state(|state| state.clusters[&ClusterId::from(CLUSTER)].link.clone().unwrap());
    assert!(link.message.contains("binds another role"), "{}", link.message);
    world.stop().await;
}

#[tokio::test]
async fn credentials_that_have_run_out_are_replaced_and_the_link_comes_back() {
    let pki = mk_pki();
    let double = Double::start(&pki).await;
    let world = World::imported(&pki, &mk_kubeconfig(&pki, double.port, token("expired")), "").await;
    world.until_condition(LinkCondition::Unauthorized).await;
    let request =
        muster_state::Request { caller: "ann".into(), id: "r1".into(), digest: muster_state::Digest([1; 32]) };
    let better = mk_kubeconfig(&pki, double.port, certified(&pki, ADMINS));
    set_credentials::run(&world.server, request, &ClusterId::from(CLUSTER), &better).await.unwrap();
    world.until_condition(LinkCondition::Connected).await;
    let calls = double.calls().len();
    let request =
        muster_state::Request { caller: "ann".into(), id: "r2".into(), digest: muster_state::Digest([2; 32]) };
    let other = mk_kubeconfig(&pki, double.port, token(TOKEN));
    set_credentials::run(&world.server, request, &ClusterId::from(CLUSTER), &other).await.unwrap();
    // The link that is up lets go of the old ones too: it lists anew.
    until("another list", async || {
        let calls = double.calls()[calls..].to_vec();
        let lists = format!("GET {NODES} ");
        if calls.iter().any(|call| call.starts_with(&lists)) { Ok(()) } else { Err(calls) }
    })
    .await;
    world.until_condition(LinkCondition::Connected).await;
    world.stop().await;
}

#[tokio::test]
async fn a_cluster_is_asked_what_it_is_and_only_by_who_knows_it() {
    let (pki, other) = (mk_pki(), mk_pki());
    let double = Double::start(&pki).await;
    let admin = mk_kubeconfig(&pki, double.port, token(TOKEN));
    assert_eq!(survey(&admin).await.unwrap(), None, "kubeadm has not made it");
    double.put(CONFIG_MAPS, kubeadm_config("192.0.2.11:6443"));
    let found = survey(&admin).await.unwrap().unwrap();
    assert_eq!((found.kubernetes_version.as_str(), found.endpoint().unwrap().as_str()), ("v1.36.2", "192.0.2.11:6443"));
    let stranger = mk_kubeconfig(&pki, double.port, certified(&pki, "strangers"));
    assert_eq!(survey(&stranger).await.unwrap(), None, "it may not be read");
    let refused = survey(&mk_kubeconfig(&pki, double.port, token("canary"))).await.unwrap_err();
    assert!(refused.contains("401") && !refused.contains("canary"), "{refused}");
    let calls = double.calls().len();
    let refused = survey(&mk_kubeconfig(&other, double.port, token(TOKEN))).await.unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    assert_eq!(double.calls().len(), calls, "who can't show the authority is told nothing");
    let refused = survey(&mk_kubeconfig(&pki, 1, token(TOKEN))).await.unwrap_err();
    assert!(refused.contains("127.0.0.1"), "{refused}");
}
