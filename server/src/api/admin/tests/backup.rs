//! What leaves by a backup, to whom, and that the log says so first.

use muster_proto::admin::v1::{ListEventsRequest, TakeBackupRequest, backup_part::Part};
use muster_state::SecretName;
use muster_trust::sealing::SealingPrivateKey;

use super::harness::{Served, apply, next, spec, word};
use crate::{
    api::admin::AdminService as _,
    backup::{Contents, Opening},
    operations::vault::Secret,
    seal::Sealer,
};

fn mk_request(id: &str, key: &SealingPrivateKey) -> TakeBackupRequest {
    TakeBackupRequest { request_id: id.into(), public_key: key.public().as_bytes().to_vec() }
}

async fn take(served: &Served, key: &SealingPrivateKey) -> Contents {
    let mut stream = served.admin.take_backup(served.ask(mk_request("r1", key))).await.unwrap().into_inner();
    let Some(Part::Header(header)) = next(&mut stream).await.unwrap().unwrap().part else { panic!("no header first") };
    let mut opening = Opening::new(key, &header).unwrap();
    let mut plain = Vec::new();
    while let Some(part) = next(&mut stream).await {
        let Some(Part::Chunk(chunk)) = part.unwrap().part else { panic!("no chunk") };
        plain.extend_from_slice(&opening.open(&chunk).unwrap());
    }
    assert!(opening.is_complete());
    Contents::parse(opening.head().clone(), &plain).unwrap()
}

#[tokio::test]
async fn a_backup_holds_what_was_acknowledged_before_it_and_the_keys_to_it() {
    let served = Served::start().await;
    served.admin.apply_cluster(served.ask(apply("c1", spec(), false))).await.unwrap();
    let contents = take(&served, &SealingPrivateKey::generate().unwrap()).await;
    assert_eq!(contents.head.fleet, served.server().fleet.as_str());
    assert!(contents.head.index > 1 && contents.head.made_ms == contents.state.now_ms);
    assert!(contents.state.cluster_named("prod").is_some());
    let sealer = Sealer::new(&contents.head.fleet, contents.keys).unwrap();
    let opened =
        contents.state.secrets().map(|(name, secret)| Secret::from(&name).open(&sealer, secret).unwrap().len());
    assert!(opened.count() > 5);
    assert!(contents.state.secrets().any(|(name, _)| matches!(name, SecretName::CertificateKey(_))));
    served.stop().await;
}

#[tokio::test]
async fn the_log_says_who_took_a_backup_before_anything_leaves() {
    let served = Served::start().await;
    let key = SealingPrivateKey::generate().unwrap();
    let contents = take(&served, &key).await;
    let told =
        contents.state.events.iter().find(|event| event.reason == "BackupReleased").expect("it is in the backup");
    assert!(told.warning && told.message.contains("operator/first") && told.message.contains("server/1"), "{told:?}");
    // A retry under the same id is sent again and told once.
    take(&served, &key).await;
    let events = served.admin.list_events(served.ask(ListEventsRequest::default())).await.unwrap().into_inner();
    assert_eq!(events.items.iter().filter(|event| event.reason == "BackupReleased").count(), 1);
    served.stop().await;
}

#[tokio::test]
async fn a_key_that_nothing_can_be_sealed_to_is_refused_before_the_log_hears_of_it() {
    let served = Served::start().await;
    for bad in [Vec::new(), vec![1; 31]] {
        let request = TakeBackupRequest { request_id: "r".into(), public_key: bad };
        let refused = served.admin.take_backup(served.ask(request)).await.map(|_| ()).unwrap_err();
        assert_eq!(word(&refused), "Invalid", "{refused}");
    }
    let events = served.admin.list_events(served.ask(ListEventsRequest::default())).await.unwrap().into_inner();
    assert!(events.items.iter().all(|event| event.reason != "BackupReleased"));
    served.stop().await;
}
