use std::collections::BTreeMap;

use muster_state::record::{Credentials, Origin};

use super::*;
use crate::{
    api::fixture::mk_spec,
    kubeadm::cluster_configuration::Networking,
    operations::{apply_cluster, founded::Founded, set_credentials, urls::Places, vault::Secret},
    pki::{ClusterPki, KeyAlgorithm, PkiFile, kubeconfig::Login},
};

fn mk_pki() -> ClusterPki {
    ClusterPki::generate(KeyAlgorithm::EcdsaP256, now_ms()).unwrap()
}

fn mk_files(pki: &ClusterPki) -> PkiFiles {
    PkiFiles(pki.files.iter().map(|(name, file)| ((*name).to_owned(), file.expose().as_bytes().to_vec())).collect())
}

fn mk_kubeconfig(pki: &ClusterPki, token: &str) -> Kubeconfig {
    let authority = pki.files.get(file::CA_CRT).map(PkiFile::expose).unwrap().to_owned();
    Kubeconfig { server: "192.0.2.11:6443".into(), authority, login: Login::Token(token.to_owned().into()) }
}

fn mk_found(endpoint: &str) -> ClusterConfiguration {
    let networking = Networking { pod_subnet: "198.19.0.0/16".into(), ..Networking::default() };
    ClusterConfiguration { kubernetes_version: "v1.36.2".into(), control_plane_endpoint: endpoint.into(), networking }
}

fn bare() -> ClusterSpec {
    ClusterSpec { kubernetes_version: String::new(), endpoint: String::new(), pools: Vec::new(), ..mk_spec() }
}

fn settled(spec: ClusterSpec, found: Option<&ClusterConfiguration>) -> Result<ClusterSpec, String> {
    let mut spec = spec;
    settle(&mut spec, &mk_kubeconfig(&mk_pki(), "abc"), found).map_err(|error| error.to_string())?;
    Ok(spec)
}

#[test]
fn what_is_not_written_is_the_clusters_own() {
    let spec = settled(bare(), Some(&mk_found("k8s.example.org"))).unwrap();
    assert_eq!((spec.kubernetes_version.as_str(), spec.endpoint.as_str()), ("v1.36.2", "k8s.example.org:6443"));
    assert_eq!(spec.pod_subnet, "198.19.0.0/16");
    let without = settled(bare(), Some(&mk_found(""))).unwrap();
    assert_eq!(without.endpoint, "192.0.2.11:6443", "then there is only the kubeconfig's");
    let written = ClusterSpec { kubernetes_version: "v1.36.2".into(), ..bare() };
    assert_eq!(settled(written, None).unwrap().endpoint, "192.0.2.11:6443");
    assert!(settled(bare(), None).unwrap_err().contains("kubeadm-config"));
}

#[test]
fn what_is_written_otherwise_than_the_cluster_has_it_is_refused_with_both() {
    let found = mk_found("192.0.2.11:6443");
    for spec in [
        ClusterSpec { kubernetes_version: "v1.35.0".into(), ..bare() },
        ClusterSpec { endpoint: "192.0.2.12:6443".into(), ..bare() },
        ClusterSpec { pod_subnet: "10.244.0.0/16".into(), ..bare() },
    ] {
        let own = [&spec.kubernetes_version, &spec.endpoint, &spec.pod_subnet].into_iter().find(|own| !own.is_empty());
        let own = own.unwrap().clone();
        let said = settled(spec, Some(&found)).unwrap_err();
        let theirs = ["v1.36.2", "192.0.2.11:6443", "198.19.0.0/16"].iter().any(|theirs| said.contains(theirs));
        assert!(said.contains(&own) && theirs, "{said}");
    }
}

async fn import(
    pki: Option<&ClusterPki>,
    kubeconfig: Kubeconfig,
    found: ClusterConfiguration,
) -> Result<(Founded, ClusterId), String> {
    let founded = Founded::start(Places::default()).await;
    let files = pki.map(mk_files).unwrap_or_default();
    let import = Import { spec: bare(), files, kubeconfig: Some(kubeconfig), found: Some(found) };
    let request = Request { caller: "ann".into(), id: "r1".into(), digest: muster_state::Digest([1; 32]) };
    match run(&founded.server, request, import).await {
        Ok(id) => Ok((founded, id)),
        Err(error) => {
            founded.stop().await;
            Err(error.to_string())
        }
    }
}

fn roles(spec: &ClusterSpec) -> Vec<Role> {
    spec.pools.iter().map(|pool| pool.role).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_alone_brings_in_a_cluster_to_which_workers_can_be_added() {
    let pki = mk_pki();
    let (founded, id) = import(None, mk_kubeconfig(&pki, "abc"), mk_found("192.0.2.11:6443")).await.unwrap();
    let cluster = founded.server.ledger.read(|state| state.clusters[&id].clone());
    assert_eq!((cluster.origin, cluster.initialised, cluster.keys.len()), (Origin::Imported, true, 0));
    assert_eq!(roles(&cluster.spec), [Role::Worker]);
    assert!(cluster.workers_only.contains("PKI"), "{}", cluster.workers_only);
    assert!(cluster.is_linked_from_outside());
    assert_eq!(cluster.spec.link.map(|link| link.csr_approval), Some(CsrApproval::Muster));
    assert_eq!(cluster.certificates[0].pins.len(), 1);
    // It is sealed: nothing of it is in the state, and only a voter opens it.
    let state = founded.server.ledger.read(|state| String::from_utf8(state.to_snapshot().unwrap()).unwrap());
    assert!(!state.contains("current-context"));
    let Credentials { secret, server, user, not_after_ms } = cluster.credentials.unwrap();
    assert_eq!((server.as_str(), user.as_str(), not_after_ms), ("192.0.2.11:6443", "", None));
    let text = Secret::Credentials(&id).open_text(&founded.server.keys().unwrap().sealer, &secret).unwrap();
    assert_eq!(Kubeconfig::parse(&text).unwrap(), mk_kubeconfig(&pki, "abc"));
    founded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_pki_control_planes_can_be_added_unless_it_has_no_stable_endpoint() {
    let pki = mk_pki();
    let kubeconfig = || mk_kubeconfig(&pki, "abc");
    let (founded, id) = import(Some(&pki), kubeconfig(), mk_found("192.0.2.11:6443")).await.unwrap();
    let cluster = founded.server.ledger.read(|state| state.clusters[&id].clone());
    assert_eq!((roles(&cluster.spec), cluster.workers_only.as_str()), (vec![Role::ControlPlane, Role::Worker], ""));
    assert!(cluster.spec.pools[0].certificates_direct);
    founded.stop().await;
    let (founded, id) = import(Some(&pki), kubeconfig(), mk_found("")).await.unwrap();
    let cluster = founded.server.ledger.read(|state| state.clusters[&id].clone());
    assert_eq!(roles(&cluster.spec), [Role::Worker]);
    assert!(cluster.workers_only.contains("controlPlaneEndpoint"), "{}", cluster.workers_only);
    founded.stop().await;
    let refused = import(Some(&mk_pki()), kubeconfig(), mk_found("192.0.2.11:6443")).await.err().unwrap();
    assert!(refused.contains("different clusters"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_replaced_by_others_of_the_same_cluster_only() {
    let pki = mk_pki();
    let (founded, id) = import(None, mk_kubeconfig(&pki, "old"), mk_found("192.0.2.11:6443")).await.unwrap();
    let request = |id: &str| Request { caller: "ann".into(), id: id.into(), digest: muster_state::Digest([1; 32]) };
    let other = mk_kubeconfig(&mk_pki(), "new");
    let refused = set_credentials::run(&founded.server, request("r2"), &id, &other).await.unwrap_err();
    assert!(refused.to_string().contains("another cluster"), "{refused}");
    set_credentials::run(&founded.server, request("r3"), &id, &mk_kubeconfig(&pki, "new")).await.unwrap();
    let given = founded.server.ledger.read(|state| state.clusters[&id].credentials.clone().unwrap());
    assert_eq!(given.secret.revision, 2);
    let keys = founded.server.keys().unwrap();
    let text = Secret::Credentials(&id).open_text(&keys.sealer, &given.secret).unwrap();
    assert_eq!(Kubeconfig::parse(&text).unwrap().login, Login::Token("new".to_owned().into()));
    founded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_file_need_not_repeat_what_the_cluster_said_of_itself() {
    let pki = mk_pki();
    let (founded, id) = import(None, mk_kubeconfig(&pki, "abc"), mk_found("192.0.2.11:6443")).await.unwrap();
    let spec = || {
        let mut spec = ClusterSpec { pools: pools(false), endpoint: "192.0.2.11:6443".into(), ..mk_spec() };
        spec.key_algorithm.clear();
        spec.pools[0].count = 7;
        spec
    };
    let request = |id: &str| Request { caller: "ann".into(), id: id.into(), digest: muster_state::Digest([1; 32]) };
    apply_cluster::run(&founded.server, request("r2"), spec(), false).await.unwrap();
    let cluster = founded.server.ledger.read(|state| state.clusters[&id].clone());
    assert_eq!((cluster.spec.pod_subnet.as_str(), cluster.spec.pools[0].count), ("198.19.0.0/16", 7));
    assert!(cluster.is_linked_from_outside());
    let other = ClusterSpec { pod_subnet: "10.244.0.0/16".into(), ..spec() };
    assert!(apply_cluster::run(&founded.server, request("r3"), other, false).await.is_err());
    let planes = ClusterSpec { pools: pools(true), ..spec() };
    let refused = apply_cluster::run(&founded.server, request("r4"), planes, false).await.unwrap_err();
    assert!(refused.to_string().contains("only workers can be added"), "{refused}");
    founded.stop().await;
}

#[test]
fn a_pki_without_the_keys_of_service_accounts_adds_no_control_plane() {
    let mut files = mk_files(&mk_pki());
    files.0.remove(file::SA_KEY);
    let found = mk_found("192.0.2.11:6443");
    assert!(!why_workers_only(&files, Some(&found)).is_empty());
    assert!(!why_workers_only(&PkiFiles(BTreeMap::new()), None).is_empty());
    assert!(why_workers_only(&mk_files(&mk_pki()), Some(&found)).is_empty());
}
