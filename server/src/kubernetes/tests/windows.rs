//! Join windows: `kubeadm-certs` comes when a control plane needs it and goes after; and who may read `cluster-info`.

use muster_state::{
    command::{GrantPermit, UpdateCluster},
    record::{ClusterSpec, LinkCondition, PermitKind, Verb},
};

use super::{
    double::{Double, PUBLIC_BINDINGS, SECRETS},
    start,
    world::{World, until},
};
use crate::{
    api::fixture::CLUSTER,
    kubeadm::{
        certificate_key::CertificateKey,
        certs_secret::{EtcdTopology, open},
        discovery::CLUSTER_INFO_BINDING,
    },
    operations::{certificates_object, vault::Secret},
    pki::file,
};

const CERTIFICATES: &str = "kubeadm-certs";

fn key(world: &World) -> CertificateKey {
    let (id, sealed) = (CLUSTER.into(), world.cluster().certificate_key);
    let text = Secret::CertificateKey(&id).open_text(&world.server.keys().unwrap().sealer, &sealed).unwrap();
    CertificateKey::parse(&text).unwrap()
}

async fn until_gone(double: &Double) {
    until("the end of kubeadm-certs", async || {
        let names = double.names(SECRETS);
        if names.iter().any(|name| name == CERTIFICATES) { Err(names) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubeadm_certs_is_there_while_a_control_plane_joins_and_the_next_one_gets_another_key() {
    let (double, world) = start().await;
    assert!(double.names(SECRETS).is_empty(), "nobody needs it yet");
    let (id, token) = world.control_plane("machine-cp2", "cp2").await;
    until("kubeadm-certs", async || {
        if world.cluster().certificates_uploaded_ms == 0 { Err(double.names(SECRETS)) } else { Ok(()) }
    })
    .await;
    let (secret, first_key) = (double.get(SECRETS, CERTIFICATES).unwrap(), key(&world));
    let files = open(EtcdTopology::Stacked, &secret, &first_key).unwrap();
    assert_eq!(files.len(), EtcdTopology::Stacked.shared_files().len(), "complete");
    let pem = world.cluster().certificates.iter().find(|ca| ca.name == file::CA_CRT).unwrap().pem.clone();
    assert_eq!(files["ca.crt"].as_slice(), pem.as_bytes());
    let owner = format!("bootstrap-token-{}", certificates_object::owner_id(&CLUSTER.into()));
    let proxy = double.get(SECRETS, &owner).unwrap();
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], proxy["metadata"]["uid"]);

    let steps = [Verb::JoinPrepare, Verb::JoinEtcd, Verb::JoinFinish, Verb::WaitReady];
    world.is_told(&id, &token, steps.to_vec()).await;
    world.has_done(&id, &steps[..1]).await;
    let grant = GrantPermit { cluster: CLUSTER.into(), kind: PermitKind::EtcdJoin, node: id.clone() };
    world.server.ledger.propose(grant).await.unwrap();
    world.has_done(&id, &steps[1..3]).await;
    until_gone(&double).await;
    until("the end of its owner", async || {
        if double.get(SECRETS, &owner).is_none() { Ok(()) } else { Err(double.names(SECRETS)) }
    })
    .await;
    until("the record", async || {
        let cluster = world.cluster();
        if cluster.certificates_ending { Err(cluster.certificates_uploaded_ms) } else { Ok(()) }
    })
    .await;
    assert_eq!(world.cluster().certificates_uploaded_ms, 0);
    assert!(key(&world).expose().expose() != first_key.expose().expose());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybodys_right_to_read_cluster_info_is_told_and_taken_away_on_request() {
    let (double, world) = start().await;
    let public = || world.cluster().link.and_then(|link| link.cluster_info_public);
    until("word of it", async || if public() == Some(true) { Ok(()) } else { Err(public()) }).await;
    assert!(
        double.get(PUBLIC_BINDINGS, CLUSTER_INFO_BINDING).is_some(),
        "it is kubeadm's, and stays until somebody asks"
    );
    let cluster = world.cluster();
    let spec = ClusterSpec { cluster_info_closed: true, ..cluster.spec };
    let update = UpdateCluster { id: cluster.id, revision: cluster.revision, spec };
    world.server.ledger.propose(update).await.unwrap();
    until("its end", async || if public() == Some(false) { Ok(()) } else { Err(public()) }).await;
    assert!(double.get(PUBLIC_BINDINGS, CLUSTER_INFO_BINDING).is_none());
    assert_eq!(world.condition(), Some(LinkCondition::Connected));
    world.stop().await;
}
