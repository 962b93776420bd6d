//! A real cluster is brought in by the kubeconfig that kubeadm wrote.

use muster_state::{
    ClusterId, Request,
    record::{BootstrapTokenState, LinkCondition},
};
use serde_json::{Value, json};

use super::{
    real::{Lab, lab_at},
    world::{World, pkcs10, pki_of, until},
};
use crate::{
    api::fixture::CLUSTER,
    kubeadm::{
        link_rbac,
        rbac::{self, CsrApproval},
    },
    kubernetes::survey,
    operations::set_credentials,
    pki::kubeconfig::{Kubeconfig, Login},
};

const PORT: u16 = 17_463;

fn own_bindings(lab: &Lab) -> Vec<String> {
    let list = |kind: &str| {
        let asked = ["get", kind, "-A", "-o", "json"];
        let list = lab.kubectl(None, &asked, &Value::Null).unwrap();
        let names = list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str());
        names.filter(|name| name.starts_with("muster:")).map(str::to_owned).collect::<Vec<_>>()
    };
    [list("clusterrolebindings"), list("rolebindings")].concat()
}

/// The token of an account that has what `muster cluster rbac --link` prints: it may do what a link does, held by the policy, and
/// look at bindings, but give no rights away.
fn limited(lab: &Lab) -> String {
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "muster", "namespace": "kube-system" },
    }));
    let account = "serviceaccount:kube-system:muster".parse().unwrap();
    for object in link_rbac::objects_for("prod", true, &account).unwrap() {
        lab.apply(&object);
    }
    let asked = ["-n", "kube-system", "create", "token", "muster", "-o", "json"];
    lab.kubectl(None, &asked, &Value::Null).unwrap()["status"]["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_cluster_is_brought_in_by_the_kubeconfig_that_kubeadm_wrote() {
    let Some(lab) = lab_at(PORT) else { return };
    let text = std::fs::read_to_string(lab.home().join("kube/super-admin.conf")).unwrap();
    let kubeconfig = Kubeconfig::parse(&text).unwrap();
    let found = survey(&kubeconfig).await.unwrap().unwrap();
    assert_eq!((found.kubernetes_version.as_str(), found.endpoint()), ("v1.36.2", Some(format!("127.0.0.1:{PORT}"))));
    let world = World::imported(&pki_of(&lab.home().join("pki")), &kubeconfig, "").await;
    world.until_condition(LinkCondition::Connected).await;
    assert_eq!(own_bindings(&lab).len(), 9, "{:?}", own_bindings(&lab));
    let (id, token) = world.worker("machine-w1", "w1").await;
    world.joins(&id, &token).await;
    lab.post(&world.whole_token(&token), "own", &pkcs10("system:node:w1", "system:nodes")).unwrap();
    lab.until_verdict("own", "Approved").await;
    world.has_joined(&id).await;
    world.until_token(&token, BootstrapTokenState::Deleted).await;
    // With an account that may not give rights away, and one of them gone.
    lab.kubectl(None, &["delete", "clusterrolebinding", "muster:worker:get-nodes"], &Value::Null).unwrap();
    let account = limited(&lab);
    let foreign = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "foreign", "namespace": "kube-system" }, "type": "Opaque",
    });
    until("the policy", async || match lab.kubectl(Some(&account), &["create", "-f", "-"], &foreign) {
        Err(refused) if refused.contains("no other Secret") => Ok(()),
        other => Err(other),
    })
    .await;
    // By such a one, under the one name that is Muster's, control planes' tokens could read an account's credentials.
    let climbs = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": { "name": "kubeadm-certs", "namespace": "kube-system",
                      "annotations": { "kubernetes.io/service-account.name": "clusterrole-aggregation-controller" } },
    });
    let refused = lab.kubectl(Some(&account), &["create", "-f", "-"], &climbs).unwrap_err();
    assert!(refused.contains("no other Secret"), "{refused}");
    let other = Kubeconfig { login: Login::Token(account.into()), ..kubeconfig };
    let request = Request { caller: "ann".into(), id: "r1".into(), digest: muster_state::Digest([1; 32]) };
    set_credentials::run(&world.server, request, &ClusterId::from(CLUSTER), &other).await.unwrap();
    world.until_condition(LinkCondition::Forbidden).await;
    let link = world.state(|state| state.clusters[&ClusterId::from(CLUSTER)].link.clone().unwrap());
    assert!(link.message.contains("muster:worker:get-nodes") && link.message.contains("muster cluster rbac"));
    for object in rbac::rights("prod", true, CsrApproval::Explicit).unwrap() {
        lab.apply(&object);
    }
    world.until_condition(LinkCondition::Connected).await;
    let (id, token) = world.worker("machine-w2", "w2").await;
    world.joins(&id, &token).await;
    world.stop().await;
}
