//! From what a real etcd lists to what is decided about it, and done.

use muster_state::{
    ClusterId, NodeId, Phase,
    command::{DropEtcdLearner, GrantPermit, RemoveEtcdMember},
    record::{EtcdView, Permit, PermitKind},
};

use super::{
    double::Double,
    world::{World, mk_pki, until},
};
use crate::{api::fixture::CLUSTER, kubernetes::etcd::tests::members::Etcd};

/// A cluster with that many members of etcd, and a server that leads and has a link to it.
async fn start(members: u8) -> Option<(Etcd, World)> {
    let etcd = Etcd::start(mk_pki(), members).await?;
    let double = Double::start(&etcd.pki).await;
    let world = World::start_at(&etcd.pki, &format!("127.0.0.1:{}", double.port), &etcd.address(1)).await;
    Some((etcd, world))
}

impl World {
    fn etcd(&self) -> EtcdView {
        self.state(|state| state.clusters[&ClusterId::from(CLUSTER)].etcd.clone().unwrap_or_default())
    }

    fn permit(&self) -> Permit {
        self.state(|state| state.clusters[&ClusterId::from(CLUSTER)].permit(PermitKind::EtcdJoin))
    }

    async fn until_etcd(&self, what: &str, holds: impl Fn(&EtcdView) -> bool) {
        until(what, async || {
            let seen = self.etcd();
            if holds(&seen) { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    async fn grants(&self, node: &NodeId) -> Result<(), crate::ledger::ProposeError> {
        let grant = GrantPermit { cluster: CLUSTER.into(), kind: PermitKind::EtcdJoin, node: node.clone() };
        self.server.ledger.propose(grant).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_join_left_is_taken_out_and_the_permit_moves_on() {
    let Some((etcd, world)) = start(3).await else { return };
    world.until_etcd("three voters", |seen| seen.members.iter().filter(|one| one.healthy).count() == 3).await;
    let holder = world.comes_to_etcd("machine-cp4", "cp4", &etcd.address(4)).await;
    world.grants(&holder).await.unwrap();
    let id = etcd.add(4, true).await;
    world.until_etcd("the learner", |seen| seen.member(&id).is_some()).await;
    let drop = DropEtcdLearner { cluster: CLUSTER.into(), member: id.clone(), peer_url: etcd.peer_url(4) };
    world.server.ledger.propose(drop.clone()).await.expect_err("it may still start");
    world.fails(&holder).await;
    assert_eq!(world.permit().holder, Some(holder));
    world.server.ledger.propose(drop).await.unwrap();
    world.until_etcd("its end", |seen| seen.member(&id).is_none() && seen.removals.is_empty()).await;
    until("the permit", async || if world.permit().holder.is_none() { Ok(()) } else { Err(world.permit()) }).await;
    assert_eq!(etcd.count().await, 3);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_machine_in_the_place_of_an_old_voter_waits_until_an_operator_has_it_taken_out() {
    let Some((mut etcd, world)) = start(3).await else { return };
    world.until_etcd("three voters", |seen| seen.members.len() == 3).await;
    etcd.kill(3);
    world.until_etcd("one that is sick", |seen| seen.members.iter().any(|one| !one.healthy)).await;
    let seen = world.etcd();
    let named = |name: &str| seen.members.iter().find(|one| one.member.name == name).unwrap().member.id.clone();
    let node = world.comes_to_etcd("machine-new", "cp3", &etcd.address(3)).await;
    assert_eq!(world.node(&node).phase, Phase::WaitingForEtcdPermit);
    let message = world.node(&node).message;
    assert!(message.contains(&format!("`muster etcd remove prod {}`", named("cp3"))), "{message}");
    world.grants(&node).await.expect_err("it would take the old member's place");

    let remove = |member| RemoveEtcdMember { cluster: CLUSTER.into(), member, reason: "its disk is new".into() };
    let refused = world.server.ledger.propose(remove(named("cp1"))).await.unwrap_err().to_string();
    assert!(refused.contains("etcd would stop"), "{refused}");
    world.server.ledger.propose(remove(named("cp3"))).await.unwrap();
    world.until_etcd("its end", |seen| seen.members.len() == 2 && seen.removals.is_empty()).await;
    world.grants(&node).await.unwrap();
    assert_eq!(world.node(&node).phase, Phase::JoiningEtcd);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_gone_is_told_and_what_was_known_of_it_stays() {
    let Some((mut etcd, world)) = start(1).await else { return };
    world.until_etcd("one voter", |seen| seen.is_current()).await;
    etcd.kill(1);
    world.until_etcd("a problem", |seen| seen.problem.is_some()).await;
    assert_eq!(world.etcd().members.len(), 1);
    etcd.run(1, "existing", &format!("cp1={}", etcd.peer_url(1)));
    world.until_etcd("its return", |seen| seen.is_current()).await;
    world.stop().await;
}
