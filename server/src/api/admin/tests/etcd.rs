//! An operator's word on a member of a cluster's etcd.

use muster_proto::admin::v1::{
    Cluster, ListEventsRequest, RemoveEtcdMemberRequest, admin_service_server::AdminService as _,
};
use muster_state::{
    ClusterId,
    command::{EtcdSeen, ObserveEtcd},
    record::{EtcdMember, WatchedMember},
};
use tonic::{Code, Status};

use super::harness::{Served, apply, spec, word};

fn watched(id: &str, name: &str, healthy: bool) -> WatchedMember {
    let peer_urls = vec![format!("https://{name}:2380")];
    WatchedMember { member: EtcdMember { id: id.into(), name: name.into(), peer_urls, learner: false }, healthy }
}

impl Served {
    async fn removes(&self, id: &str, member: &str) -> Result<Cluster, Status> {
        let body = RemoveEtcdMemberRequest {
            request_id: id.into(),
            cluster: "prod".into(),
            member: member.into(),
            reason: "its disk is new".into(),
        };
        Ok(self.admin.remove_etcd_member(self.ask(body)).await?.into_inner())
    }

    async fn sees(&self, cluster: &str, members: Vec<WatchedMember>) {
        let seen = EtcdSeen::Members(members);
        let verb = ObserveEtcd { cluster: ClusterId::from(cluster), after: 0, seen };
        self.server().ledger.propose(verb).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_is_taken_out_by_an_operator_unless_etcd_would_stop_and_it_is_told() {
    let served = Served::start().await;
    let linked = muster_proto::admin::v1::ClusterSpec { access: "linked".into(), ..spec() };
    let made = served.admin.apply_cluster(served.ask(apply("r1", linked, false))).await.unwrap().into_inner();
    let cluster = made.cluster.unwrap();
    assert_eq!(cluster.etcd, None);
    assert_eq!(served.removes("r2", "a").await.unwrap_err().code(), Code::FailedPrecondition, "nothing was seen yet");
    let members =
        |c_healthy| vec![watched("a", "cp1", true), watched("b", "cp2", true), watched("c", "cp3", c_healthy)];
    served.sees(&cluster.id, members(false)).await;

    assert_eq!(served.removes("r3", "no id").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(served.removes("r4", "d").await.unwrap_err().code(), Code::NotFound);
    let refused = served.removes("r5", "a").await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::FailedPrecondition, "Etcd"));
    assert!(refused.message().contains("etcd would stop; bring another member back"), "{refused}");

    let told = served.removes("r6", "0xC").await.unwrap().etcd.unwrap();
    assert_eq!(told.members.iter().map(|one| one.removing).collect::<Vec<_>>(), [false, false, true]);
    served.sees(&cluster.id, vec![watched("a", "cp1", true), watched("b", "cp2", true)]).await;
    let again = served.removes("r6", "0xC").await.expect("a retry after it is gone is answered as before");
    assert_eq!(again.etcd.unwrap().members.len(), 2);

    let events = served.admin.list_events(served.ask(ListEventsRequest::default())).await.unwrap().into_inner().items;
    let told: Vec<&str> =
        events.iter().filter(|one| one.reason.starts_with("Etcd")).map(|one| one.reason.as_str()).collect();
    assert_eq!(told, ["EtcdMemberRemoval", "EtcdMemberRemoved"]);
    assert!(events.iter().any(|one| one.message.contains("its disk is new")));
    served.stop().await;
}
