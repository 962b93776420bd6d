//! The client against a real etcd.

pub(in crate::kubernetes) mod members;

use std::time::{Duration, Instant};

use muster_state::{etcd::check_removal, record::WatchedMember};
use tokio::net::TcpListener;

use self::members::Etcd;
use super::client::{Client, EtcdError};
use crate::{
    clock::now_ms,
    kubernetes::transport::Target,
    pki::{ClusterPki, KeyAlgorithm, LinkTerms, PkiFile, file, issue_for_link},
};

fn mk_pki() -> ClusterPki {
    ClusterPki::generate(KeyAlgorithm::EcdsaP256, now_ms()).unwrap()
}

/// `(name, voter, healthy)`, by name.
fn told(members: &[WatchedMember]) -> Vec<(&str, bool, bool)> {
    let mut told: Vec<_> = members.iter().map(|one| (one.member.name.as_str(), one.is_voter(), one.healthy)).collect();
    told.sort_unstable();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_seen_as_they_are_and_a_learner_that_never_started_is_taken_out() {
    let Some(mut etcd) = Etcd::start(mk_pki(), 3).await else { return };
    let client = etcd.client(&[1, 2, 3]);
    let id = etcd.add(4, true).await;
    let seen = client.look().await.unwrap();
    assert_eq!(told(&seen), [("", false, false), ("cp1", true, true), ("cp2", true, true), ("cp3", true, true)]);
    let learner = seen.iter().find(|one| one.member.id == id).unwrap();
    assert!(learner.is_unstarted_learner() && learner.member.peer_urls == [etcd.peer_url(4)], "{learner:?}");
    client.remove(&id).await.unwrap();
    assert_eq!(client.look().await.unwrap().len(), 3);
    client.remove(&id).await.expect("late, or twice, is no harm");

    etcd.kill(3);
    let seen = client.look().await.unwrap();
    assert_eq!(told(&seen), [("cp1", true, true), ("cp2", true, true), ("cp3", true, false)]);
    let named = |name: &str| seen.iter().find(|one| one.member.name == name).unwrap().member.id.clone();
    assert!(check_removal(&seen, &named("cp1")).is_err(), "one of the two that are left");
    client.remove(&named("cp1")).await.expect_err("etcd itself says no as well");
    assert_eq!(client.look().await.unwrap().len(), 3);
    check_removal(&seen, &named("cp3")).unwrap();
    client.remove(&named("cp3")).await.unwrap();
    assert_eq!(told(&client.look().await.unwrap()), [("cp1", true, true), ("cp2", true, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_gone_or_frozen_are_passed_over_in_time_and_without_a_majority_nothing_is_believed() {
    let Some(mut etcd) = Etcd::start(mk_pki(), 3).await else { return };
    let silent = TcpListener::bind(format!("{}:0", etcd.address(9))).await.unwrap();
    let silent = Target { host: etcd.address(9), port: silent.local_addr().unwrap().port() };
    let dead = Target { host: etcd.address(10), port: 2379 };
    let client = etcd.client_of(vec![dead, silent, etcd.target(1), etcd.target(2)]);
    let began = Instant::now();
    assert_eq!(client.look().await.unwrap().len(), 3);
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());

    // The one that answered last is frozen with its connection up.
    etcd.freeze(1, true);
    let began = Instant::now();
    let seen = loop {
        match client.look().await {
            Ok(seen) => break seen,
            Err(err) if began.elapsed() > Duration::from_secs(60) => panic!("{err}"),
            // An election.
            Err(_) => {}
        }
    };
    assert_eq!(told(&seen), [("cp1", true, false), ("cp2", true, true), ("cp3", true, true)]);
    etcd.kill(3);
    let err = client.look().await.unwrap_err();
    assert!(matches!(err, EtcdError::Unreachable(_)), "{err}");
    etcd.freeze(1, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_of_etcds_authority_is_told_nothing_and_tells_nothing() {
    let Some(etcd) = Etcd::start(mk_pki(), 1).await else { return };
    let other = mk_pki();
    let text = |pki: &ClusterPki, name| pki.files.get(name).map(PkiFile::expose).unwrap().to_owned();
    let identity = |pki: &ClusterPki, crt, key| {
        let terms = LinkTerms { user: "muster:server:1", group: "muster:link" };
        issue_for_link(&text(pki, crt), text(pki, key).as_bytes(), terms, now_ms()).unwrap()
    };
    let (crt, key) = (file::ETCD_CA_CRT, file::ETCD_CA_KEY);
    let wrong_anchor = Client::new(vec![etcd.target(1)], &text(&other, crt), identity(&etcd.pki, crt, key)).unwrap();
    let err = wrong_anchor.look().await.unwrap_err();
    assert!(err.to_string().contains("certificate"), "{err}");
    let stranger = identity(&other, crt, key);
    let wrong_identity = Client::new(vec![etcd.target(1)], &text(&etcd.pki, crt), stranger).unwrap();
    wrong_identity.look().await.unwrap_err();
    // The authority of the cluster itself is another one.
    let of_cluster = identity(&etcd.pki, file::CA_CRT, file::CA_KEY);
    Client::new(vec![etcd.target(1)], &text(&etcd.pki, crt), of_cluster).unwrap().look().await.unwrap_err();
}
