//! The same against a real API server and controller manager. Runs where `K8S_LAB` names a folder with the programs and
//! `LAB_SCRIPTS` one with `control-plane.sh`; elsewhere it says that it was skipped.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use muster_state::{
    Phase,
    record::{self as state, BootstrapTokenState, LinkCondition, Purpose},
};
use serde_json::Value;

use super::world::{World, node, pkcs10, pki_of, until};
use crate::kubeadm::{group::Role, jws, link_rbac, rbac, token::BootstrapToken};

const PORT: u16 = 17_443;

/// A control plane of this host's own, until it is dropped.
pub(super) struct Lab {
    port: u16,
    scripts: PathBuf,
    bin: PathBuf,
    run: tempfile::TempDir,
}

#[expect(clippy::disallowed_methods, reason = "where the lab is, is said by the environment")]
pub(super) fn lab_at(port: u16) -> Option<Lab> {
    let (Some(lab), Some(scripts)) = (std::env::var_os("K8S_LAB"), std::env::var_os("LAB_SCRIPTS")) else {
        // Past the capture of `cargo test`, so that a skip is seen although the test passes.
        let _ = writeln!(std::io::stderr(), "skipped: no real Kubernetes here: set K8S_LAB and LAB_SCRIPTS");
        return None;
    };
    let run = tempfile::tempdir().unwrap();
    let lab = Lab { port, scripts: scripts.into(), bin: PathBuf::from(lab).join("bin"), run };
    lab.script("control-plane.sh", &["link", &port.to_string()]);
    Some(lab)
}

impl Lab {
    fn script(&self, name: &str, arguments: &[&str]) {
        // Not its output: what it starts would keep the pipe open.
        let mut command = Command::new("bash");
        command
            .arg(self.scripts.join(name))
            .args(arguments)
            .env("K8S_RUN", self.run.path())
            .env("K8S_ALGO", "ECDSA-P256");
        let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(ended.success(), "{name}");
    }

    pub(super) fn home(&self) -> PathBuf {
        self.run.path().join("link")
    }

    /// kubectl as an administrator, or as the holder of a bootstrap token.
    pub(super) fn kubectl(&self, token: Option<&str>, arguments: &[&str], input: &Value) -> Result<Value, String> {
        let mut command = Command::new(self.bin.join("kubectl"));
        match token {
            None => command.arg("--kubeconfig").arg(self.home().join("kube/super-admin.conf")),
            Some(token) => command
                .arg(format!("--server=https://127.0.0.1:{}", self.port))
                .arg(format!("--certificate-authority={}", self.home().join("pki/ca.crt").display()))
                .args(["--kubeconfig=/dev/null", &format!("--token={token}")]),
        };
        let file = self.run.path().join("input.json");
        std::fs::write(&file, input.to_string()).unwrap();
        let output = command.args(arguments).stdin(std::fs::File::open(&file).unwrap()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    pub(super) fn apply(&self, object: &Value) {
        self.kubectl(None, &["apply", "-f", "-"], object).unwrap();
    }

    /// Posts a certificate request with a token, as a kubelet does.
    pub(super) fn post(&self, token: &str, name: &str, pem: &str) -> Result<Value, String> {
        let mut csr = super::world::csr(name, &"abcdef".into(), pem);
        let spec = csr["spec"].as_object_mut().unwrap();
        spec.retain(|field, _| ["request", "signerName", "usages"].contains(&field.as_str()));
        self.kubectl(Some(token), &["create", "-f", "-", "-o", "json"], &csr)
    }

    pub(super) fn csr(&self, name: &str) -> Value {
        self.kubectl(None, &["get", "csr", name, "-o", "json"], &Value::Null).unwrap()
    }

    pub(super) async fn until_verdict(&self, name: &str, wanted: &str) {
        until(name, async || {
            let seen = self.csr(name)["status"]["conditions"][0]["type"].clone();
            if seen == wanted { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.script("control-plane-stop.sh", &["link"]);
    }
}

pub(super) fn install_rights(lab: &Lab) {
    let mut objects = link_rbac::objects("prod", true).unwrap();
    for role in [Role::Worker, Role::ControlPlane] {
        objects.extend(rbac::bindings("prod", role, rbac::CsrApproval::Explicit).unwrap());
    }
    objects.iter().for_each(|object| lab.apply(object));
}

pub(super) fn secrets(lab: &Lab) -> Vec<String> {
    let list = lab.kubectl(None, &["-n", "kube-system", "get", "secrets", "-o", "json"], &Value::Null).unwrap();
    let names = list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str());
    names.map(str::to_owned).collect()
}

pub(super) fn pki(lab: &Lab) -> crate::pki::ClusterPki {
    pki_of(Path::new(&lab.home().join("pki")))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_real_kubernetes_only_the_machine_that_holds_its_token_gets_a_certificate() {
    let Some(lab) = lab_at(PORT) else { return };
    install_rights(&lab);
    let mut world = World::start(&pki(&lab), &format!("127.0.0.1:{PORT}")).await;
    world.until_condition(LinkCondition::Connected).await;
    let (id, token) = world.worker("machine-w1", "w1").await;
    world.joins(&id, &token).await;
    let whole = world.whole_token(&token);
    assert!(secrets(&lab).contains(&format!("bootstrap-token-{token}")));
    lab.post(&whole, "own", &pkcs10("system:node:w1", "system:nodes")).unwrap();
    lab.until_verdict("own", "Approved").await;
    until("a certificate", async || {
        let status = lab.csr("own")["status"].clone();
        if status["certificate"].is_string() { Ok(()) } else { Err(status) }
    })
    .await;
    lab.apply(&node("w1", "True"));
    let ready = serde_json::json!({ "status": node("w1", "True")["status"] }).to_string();
    lab.kubectl(None, &["patch", "node", "w1", "--subresource=status", "--type=merge", "-p", &ready], &Value::Null)
        .unwrap();
    world.has_joined(&id).await;
    world.until_token(&token, BootstrapTokenState::Deleted).await;
    assert!(!secrets(&lab).contains(&format!("bootstrap-token-{token}")));
    until("the Node", async || if world.node(&id).api.is_some() { Ok(()) } else { Err(world.node(&id).message) }).await;
    let uid = lab.kubectl(None, &["get", "node", "w1", "-o", "json"], &Value::Null).unwrap()["metadata"]["uid"].clone();
    assert_eq!(uid, world.node(&id).api.unwrap().node.unwrap().uid);
    a_line_is_signed(&lab, &world).await;
    a_named_line_works_once(&lab, &world).await;
    attacks(&lab, &world).await;
    what_is_missing_is_seen(&lab, &mut world).await;
    a_tried_deletion_tells(&lab);
    limits_of_its_rights(&lab, &world);
    world.stop().await;
}

/// Its token is there when the bootstrap signer has signed it.
async fn a_line_is_signed(lab: &Lab, world: &World) {
    let id = world.line(Purpose::JoinCommand(state::Role::Worker)).await;
    world.until_token(&id, BootstrapTokenState::Present).await;
    let map =
        lab.kubectl(None, &["-n", "kube-public", "get", "cm", "cluster-info", "-o", "json"], &Value::Null).unwrap();
    let token = BootstrapToken::parse(&world.whole_token(&id)).unwrap();
    let data = |key: &str| map["data"][key].as_str().unwrap_or_default();
    assert!(jws::verify_detached(data(&jws::data_key(id.as_str())), data("kubeconfig"), &token));
}

/// A line for one name: one certificate without a person, and none for another.
async fn a_named_line_works_once(lab: &Lab, world: &World) {
    let line = super::lines::print(world, Some("l1")).await.unwrap();
    let whole = world.whole_token(&line.token);
    lab.post(&whole, "l1", &pkcs10("system:node:l1", "system:nodes")).unwrap();
    lab.until_verdict("l1", "Approved").await;
    lab.post(&whole, "l1-again", &pkcs10("system:node:l1", "system:nodes")).unwrap();
    lab.until_verdict("l1-again", "Denied").await;
    world.until_token(&line.token, BootstrapTokenState::Deleted).await;
    let taken = super::lines::print(world, Some("w1")).await.map(|_| ()).unwrap_err();
    assert!(taken.to_string().contains("w1"), "{taken}");
    lab.apply(&node("l2", "True"));
    let ready = serde_json::json!({ "status": node("l2", "True")["status"] }).to_string();
    lab.kubectl(None, &["patch", "node", "l2", "--subresource=status", "--type=merge", "-p", &ready], &Value::Null)
        .unwrap();
    let line = super::lines::print(world, Some("l2")).await.unwrap();
    lab.post(&world.whole_token(&line.token), "l2", &pkcs10("system:node:l2", "system:nodes")).unwrap();
    lab.until_verdict("l2", "Denied").await;
}

/// A deletion that is only tried says whether the Secret is there, is allowed to the link, and deletes nothing.
fn a_tried_deletion_tells(lab: &Lab) {
    let own = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": { "name": "bootstrap-token-drydry", "namespace": "kube-system" },
        "stringData": {
            "token-id": "drydry", "token-secret": "0123456789abcdef", "expiration": "2099-01-01T00:00:00Z",
            "auth-extra-groups": "system:bootstrappers:muster:prod:worker", "usage-bootstrap-authentication": "true",
        },
    });
    let tried = |name: &str| {
        let link = ["--as=muster:server:1", "--as-group=muster:link"];
        let asked = [&["-n", "kube-system", "delete", "--dry-run=server", "secret", name], link.as_slice()].concat();
        lab.kubectl(None, &asked, &Value::Null)
    };
    assert!(tried("bootstrap-token-drydry").unwrap_err().contains("NotFound"));
    lab.apply(&own);
    tried("bootstrap-token-drydry").unwrap();
    assert!(secrets(lab).contains(&"bootstrap-token-drydry".to_owned()), "it was tried only");
    let mut foreign = own.clone();
    foreign["stringData"]["auth-extra-groups"] = "system:bootstrappers:kubeadm:default-node-token".into();
    lab.apply(&foreign);
    assert!(tried("bootstrap-token-drydry").unwrap_err().contains("touches bootstrap tokens"));
}

/// Somebody deletes a token in the cluster: the next link sees it.
async fn what_is_missing_is_seen(lab: &Lab, world: &mut World) {
    let id = world.line(Purpose::JoinCommand(state::Role::Worker)).await;
    world.until_token(&id, BootstrapTokenState::Present).await;
    let secret = format!("bootstrap-token-{id}");
    lab.kubectl(None, &["-n", "kube-system", "delete", "secret", &secret], &Value::Null).unwrap();
    world.reconnect().await;
    let differs = || world.state(|state| state.bootstrap_tokens[&id].differs);
    until("what is missing", async || match differs() {
        Some(state::TokenDifference::Missing) => Ok(()),
        other => Err(other),
    })
    .await;
}

/// Each with a fresh machine and token: the thief is first, or second.
async fn attacks(lab: &Lab, world: &World) {
    for (name, subject, organization) in
        [("a1", "system:node:cp1", "system:nodes"), ("a2", "system:node:w1", "system:nodes")]
    {
        let (id, token) = world.worker(&format!("machine-{name}"), name).await;
        world.joins(&id, &token).await;
        lab.post(&world.whole_token(&token), name, &pkcs10(subject, organization)).unwrap();
        lab.until_verdict(name, "Denied").await;
        assert!(lab.csr(name)["status"]["certificate"].is_null());
    }
    let (id, token) = world.worker("machine-a3", "a3").await;
    world.joins(&id, &token).await;
    let whole = world.whole_token(&token);
    lab.post(&whole, "a3", &pkcs10("system:node:a3", "system:nodes")).unwrap();
    lab.until_verdict("a3", "Approved").await;
    lab.post(&whole, "a3-again", &pkcs10("system:node:a3", "system:nodes")).unwrap();
    lab.until_verdict("a3-again", "Denied").await;
    assert_eq!(world.node(&id).phase, Phase::Locked);
    world.until_token(&token, BootstrapTokenState::Deleted).await;
    // A deleted token authenticates for some seconds more: what it asks for now is denied too.
    if lab.post(&whole, "a3-late", &pkcs10("system:node:a3", "system:nodes")).is_ok() {
        lab.until_verdict("a3-late", "Denied").await;
    }
}

/// What the group of the link may not do, asked of the API server itself.
fn limits_of_its_rights(lab: &Lab, world: &World) {
    let may = |verb: &str, what: &str| {
        let asked =
            ["auth", "can-i", verb, what, "-n", "kube-system", "--as=muster:server:1", "--as-group=muster:link"];
        lab.kubectl(None, &asked, &Value::Null).is_ok()
    };
    for (verb, what) in
        [("get", "secrets"), ("list", "secrets"), ("watch", "secrets"), ("delete", "nodes"), ("create", "pods")]
    {
        assert!(!may(verb, what), "{verb} {what}");
    }
    let may_public = |verb: &str, what: &str| {
        let asked =
            ["auth", "can-i", verb, what, "-n", "kube-public", "--as=muster:server:1", "--as-group=muster:link"];
        lab.kubectl(None, &asked, &Value::Null).is_ok()
    };
    assert!(may_public("get", "configmaps/cluster-info") && !may_public("get", "configmaps/other"));
    assert!(!may_public("list", "configmaps") && !may_public("update", "configmaps/cluster-info"));
    assert!(may("create", "secrets") && may("list", "nodes") && may("patch", "nodes"));
    let secret = |name: &str, kind: &str, group: &str| {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": { "name": name, "namespace": "kube-system" },
            "stringData": {
                "token-id": "abcdef", "token-secret": "0123456789abcdef", "expiration": "2099-01-01T00:00:00Z",
                "usage-bootstrap-authentication": "true", "auth-extra-groups": group,
            },
        })
    };
    let create = |object: &Value| {
        let asked = ["create", "-f", "-", "--as=muster:server:1", "--as-group=muster:link"];
        lab.kubectl(None, &asked, object)
    };
    let (token, own) = ("bootstrap.kubernetes.io/token", "system:bootstrappers:muster:prod:worker");
    let mut groupless = secret("bootstrap-token-abcdef", token, own);
    groupless["stringData"].as_object_mut().unwrap().remove("auth-extra-groups");
    for bad in [
        secret("anything", "Opaque", own),
        groupless.clone(),
        secret("bootstrap-token-abcdef", token, "system:bootstrappers:kubeadm:default-node-token"),
        secret("bootstrap-token-abcdef", token, "system:bootstrappers:muster:other:worker"),
    ] {
        let refused = create(&bad).unwrap_err();
        assert!(refused.contains("Muster makes bootstrap tokens"), "{refused}");
    }
    groupless["stringData"].as_object_mut().unwrap().remove("usage-bootstrap-authentication");
    groupless["metadata"]["name"] = "bootstrap-token-nothing".into();
    let delete = |name: &str| {
        let asked = ["-n", "kube-system", "delete", "secret", name, "--as=muster:server:1", "--as-group=muster:link"];
        lab.kubectl(None, &asked, &Value::Null)
    };
    create(&groupless).unwrap();
    delete("kubeadm-certs").unwrap();
    create(&secret("kubeadm-certs", "Opaque", own)).unwrap();
    create(&secret("bootstrap-token-abcdef", token, own)).unwrap();
    lab.apply(&secret("bootstrap-token-fedcba", "Opaque", own));
    assert!(delete("bootstrap-token-fedcba").unwrap_err().contains("touches bootstrap tokens"));
    for own in ["bootstrap-token-abcdef", "bootstrap-token-nothing", "kubeadm-certs"] {
        delete(own).unwrap();
    }
    assert_eq!(world.condition(), Some(LinkCondition::Connected));
}
