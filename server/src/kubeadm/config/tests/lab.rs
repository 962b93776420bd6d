//! `kubeadm config validate` of a real kubeadm 1.36 on what is rendered: `$K8S_LAB/bin/kubeadm`, skipped without.
//!
//! It knows `v1beta4` and, as deprecated, `v1beta3`; `v1beta2` has golden files only.

use serde_json::{Map, Value};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::schema::{Field, KUBELET, Shape};
use super::super::{Discovery, JoinInputs, Rendered, init as init_file, join as join_file};
use super::fixtures::{init_for, join_control_plane_for, join_worker_for};
use crate::kubeadm::vectors;
use crate::kubeadm::version::ConfigApi;

const VERSION: &str = "v1.36.2";

fn kubeadm() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where the real kubeadm is depends on the machine that tests")]
    let lab = std::env::var_os("K8S_LAB");
    if lab.is_none() {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let line = format!("skipped: {test}: K8S_LAB is not set, so there is no real kubeadm to ask\n");
        // Written past the capture of `cargo test`, so that a skip is seen although the test passes.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    lab.map(|lab| PathBuf::from(lab).join("bin/kubeadm"))
}

/// What kubeadm says of a file; empty if it has nothing to say.
fn validate(kubeadm: &Path, folder: &Path, text: &str) -> Result<(), String> {
    let file = folder.join("config.yaml");
    std::fs::write(&file, text).unwrap();
    let output = Command::new(kubeadm)
        .args(["config", "validate", "--allow-deprecated-api", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// kubeadm looks whether the discovery file exists.
fn with_discovery_file(mut inputs: JoinInputs, folder: &Path) -> JoinInputs {
    let path = folder.join("discovery.conf");
    std::fs::write(&path, "").unwrap();
    inputs.discovery = Discovery::File { path: path.to_str().unwrap().to_owned() };
    inputs
}

fn judge(render: impl Fn(ConfigApi, &Path) -> Rendered) {
    let Some(kubeadm) = kubeadm() else { return };
    let folder = tempfile::tempdir().unwrap();
    for api in [ConfigApi::V1Beta3, ConfigApi::V1Beta4] {
        let rendered = render(api, folder.path());
        let verdict = validate(&kubeadm, folder.path(), rendered.file.expose());
        assert_eq!(verdict, Ok(()), "{api:?}:\n{}", rendered.masked);
    }
}

#[test]
fn a_real_kubeadm_accepts_the_init_file() {
    judge(|api, _| init_file::render_for(api, &init_for(VERSION, api)).unwrap());
}

#[test]
fn a_real_kubeadm_accepts_a_workers_join_file() {
    judge(|api, folder| {
        let inputs = with_discovery_file(join_worker_for(VERSION, api), folder);
        join_file::render_for(api, &inputs).unwrap()
    });
}

#[test]
fn a_real_kubeadm_accepts_a_control_planes_join_file() {
    judge(|api, _| join_file::render_for(api, &join_control_plane_for(VERSION, api)).unwrap());
}

#[test]
fn a_real_kubeadm_refuses_an_unknown_field_so_that_its_word_counts() {
    let Some(kubeadm) = kubeadm() else { return };
    let folder = tempfile::tempdir().unwrap();
    let inputs = join_control_plane_for(VERSION, ConfigApi::V1Beta4);
    let mut text = join_file::render_for(ConfigApi::V1Beta4, &inputs).unwrap().file.expose().to_owned();
    text.push_str("noSuchField: 1\n");
    let verdict = validate(&kubeadm, folder.path(), &text).unwrap_err();
    assert!(verdict.contains("noSuchField"), "{verdict}");
}

/// A value of the right shape for every field that an API has: whatever the schema calls known must be known to kubeadm.
fn everything(fields: &'static [Field], api: ConfigApi) -> Map<String, Value> {
    let known = fields.iter().filter(|field| field.from <= api && api <= field.until);
    known.filter_map(|field| Some((field.name.to_owned(), sample(field, api)?))).collect()
}

fn sample(field: &Field, api: ConfigApi) -> Option<Value> {
    Some(match field.shape {
        Shape::Owned(_) | Shape::Open | Shape::Gates => return None,
        Shape::Text if field.name == "imagePullPolicy" => "Always".into(),
        Shape::Text if field.name == "timeAdded" => "2026-11-22T00:00:00Z".into(),
        Shape::Text if field.name == "serviceSubnet" => "10.96.0.0/12".into(),
        Shape::Text if field.name == "podSubnet" => "10.244.0.0/16".into(),
        Shape::Text if field.name == "dnsDomain" => "cluster.local".into(),
        Shape::Text if field.name == "imageRepository" => "registry.example.org/k8s".into(),
        Shape::Text if field.name == "criSocket" => "unix:///run/x.sock".into(),
        Shape::Text => "/x".into(),
        Shape::Flag => true.into(),
        Shape::Duration => "5m0s".into(),
        Shape::Texts => vec!["https://192.0.2.1:2379"].into(),
        Shape::Union => vec!["preflight"].into(),
        Shape::Args(_) => serde_json::json!([{ "name": "v", "value": "1" }]),
        Shape::Tree(fields) => everything(fields, api).into(),
        Shape::Trees(fields) => Value::from(vec![Value::from(everything(fields, api))]),
    })
}

#[test]
fn a_real_kubeadm_knows_every_field_of_the_schema() {
    let Some(kubeadm) = kubeadm() else { return };
    let folder = tempfile::tempdir().unwrap();
    for api in [ConfigApi::V1Beta3, ConfigApi::V1Beta4] {
        // Local and external etcd exclude each other.
        for etcd in ["local", "external"] {
            let mut inputs = init_for(VERSION, api);
            inputs.extra.init = everything(super::super::schema::INIT, api).into();
            inputs.extra.cluster = everything(super::super::schema::CLUSTER, api).into();
            inputs.extra.cluster["etcd"].as_object_mut().unwrap().retain(|name, _| name == etcd);
            let rendered = init_file::render_for(api, &inputs).unwrap();
            assert_eq!(validate(&kubeadm, folder.path(), rendered.file.expose()), Ok(()), "{}", rendered.masked);
        }
        let mut inputs = join_control_plane_for(VERSION, api);
        inputs.extra.join = everything(super::super::schema::JOIN, api).into();
        let rendered = join_file::render_for(api, &inputs).unwrap();
        assert_eq!(validate(&kubeadm, folder.path(), rendered.file.expose()), Ok(()), "{}", rendered.masked);
    }
}

/// An unknown field of the kubelet's document is named by kubeadm. Null is taken for any type but durations, which are
/// those that kubeadm prints as `0s`.
#[test]
fn a_real_kubeadm_knows_every_field_of_the_kubelet() {
    let Some(kubeadm) = kubeadm() else { return };
    let folder = tempfile::tempdir().unwrap();
    let inputs = init_for(VERSION, ConfigApi::V1Beta4);
    let rendered = init_file::render_for(ConfigApi::V1Beta4, &inputs).unwrap();
    let (kubeadms_own, _) = rendered.file.expose().rsplit_once("---\n").unwrap();
    let head = "---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
    let defaults = vectors::text("config/init-defaults-kubelet.yaml");
    let field = |name: &str| match defaults.contains(&format!("\n{name}: 0s\n")) {
        true => format!("{name}: 0s\n"),
        false => format!("{name}: null\n"),
    };
    let names = KUBELET.iter().map(|field| field.name).filter(|name| !["apiVersion", "kind"].contains(name));
    let text = format!("{kubeadms_own}{head}{}", names.map(field).collect::<String>());
    assert_eq!(validate(&kubeadm, folder.path(), &text), Ok(()));
    let verdict = validate(&kubeadm, folder.path(), &format!("{text}noSuchField: null\n")).unwrap_err();
    assert!(verdict.contains("noSuchField"), "{verdict}");
}
