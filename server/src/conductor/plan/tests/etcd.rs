//! What is planned where the leader sees etcd itself.

use muster_state::{
    command::{EtcdSeen, ObserveEtcd},
    record::{CsrApproval, Link, WatchedMember},
};

use super::*;

fn watched(id: &str, name: &str, address: &str, learner: bool) -> WatchedMember {
    let peer_urls = vec![format!("https://{address}:2380")];
    WatchedMember { member: EtcdMember { id: id.into(), name: name.into(), peer_urls, learner }, healthy: true }
}

impl World {
    /// Three control planes, of which the second failed at its etcd step and was reset, and the third waits. From then on the leader
    /// looks at etcd.
    fn after_a_failed_join() -> Self {
        let mut world = Self::new("v1.36.2", 3, 0);
        for (name, address) in [("cp1", "192.0.2.2"), ("cp2", "192.0.2.3")] {
            let node = world.state.nodes.get_mut(&NodeId(format!("id-{name}"))).expect("a node");
            node.facts.addresses = vec![address.into()];
        }
        let link = Some(Link { csr_approval: CsrApproval::Auto });
        for _ in 0..30 {
            world.now_ms += 1_000;
            world.conduct();
            if world.node("cp1").phase == Phase::JoiningEtcd {
                world.state.clusters.get_mut(&world.cluster).expect("a cluster").spec.link = link;
                let report = Report {
                    node: "id-cp1".into(),
                    attempt: world.node("cp1").attempt,
                    step: Verb::JoinEtcd.step_id().into(),
                    outcome: StepOutcome::Failed { cause: "Timeout".into(), message: String::new(), clean: true },
                    elapsed_ms: 1,
                };
                let permit = world.permit();
                assert_eq!(permit.holder, Some(NodeId::from("id-cp1")));
                let cluster = world.state.clusters.get_mut(&world.cluster).expect("a cluster");
                cluster.permits.get_mut(&PermitKind::EtcdJoin).expect("a permit").addresses = vec!["192.0.2.2".into()];
                world.state.apply_verb(world.now_ms, report).expect("a report");
                return world;
            }
            world.machines_act();
        }
        panic!("cp1 never came to etcd");
    }

    fn permit(&self) -> muster_state::record::Permit {
        self.state.clusters[&self.cluster].permit(PermitKind::EtcdJoin)
    }

    fn sees(&mut self, seen: EtcdSeen) {
        let verb = ObserveEtcd { cluster: self.cluster.clone(), after: self.state.last_event, seen };
        self.state.apply_verb(self.now_ms, verb).expect("a look");
    }

    /// What is planned about etcd.
    fn planned(&self) -> Vec<Planned> {
        let planned = plan(View { state: &self.state, now_ms: self.now_ms, attached: &self.attached });
        let is_about_etcd = |planned: &Planned| match planned {
            Planned::Grant(_) | Planned::DropLearner(_) => true,
            Planned::Errand(errand) => matches!(errand.kind, ErrandKind::ListEtcdMembers(_)),
            _ => false,
        };
        planned.into_iter().filter(is_about_etcd).collect()
    }
}

#[test]
fn what_a_failed_join_left_is_taken_out_without_a_custodian_and_then_the_next_one_joins() {
    let mut world = World::after_a_failed_join();
    let (first, left) = (watched("a", "cp0", "192.0.2.1", false), watched("f", "", "192.0.2.2", true));
    world.sees(EtcdSeen::Members(vec![first.clone(), left]));
    let planned = world.planned();
    assert!(matches!(&planned[..], [Planned::DropLearner(drop)] if drop.member == "f"), "{planned:?}");
    world.carry_out(planned[0].clone());
    assert_eq!(world.planned(), [], "once is enough, and nobody joins meanwhile");
    world.sees(EtcdSeen::Members(vec![first]));
    let planned = world.planned();
    assert!(matches!(&planned[..], [Planned::Grant(grant)] if grant.node.as_str() == "id-cp2"), "{planned:?}");
}

#[test]
fn a_learner_of_somebody_else_is_left_alone_and_waited_for() {
    let mut world = World::after_a_failed_join();
    let (first, other) = (watched("a", "cp0", "192.0.2.1", false), watched("f", "", "192.0.2.9", true));
    world.sees(EtcdSeen::Members(vec![first, other]));
    assert_eq!(world.planned(), []);
}

#[test]
fn a_custodian_looks_where_the_leader_cannot() {
    let mut world = World::after_a_failed_join();
    let is_errand = |planned: &[Planned]| matches!(planned, [Planned::Errand(_)]);
    assert!(is_errand(&world.planned()), "it has not looked yet: {:?}", world.planned());
    world.sees(EtcdSeen::Members(vec![watched("a", "cp0", "192.0.2.1", false), watched("f", "", "192.0.2.9", true)]));
    assert_eq!(world.planned(), []);
    world.sees(EtcdSeen::Nothing("refused".into()));
    assert!(is_errand(&world.planned()), "{:?}", world.planned());
}

#[test]
fn a_machine_that_waits_for_its_old_member_to_go_holds_up_nobody() {
    let mut world = World::after_a_failed_join();
    let third = watched("c", "cp2", "192.0.2.3", false);
    world.sees(EtcdSeen::Members(vec![watched("a", "cp0", "192.0.2.1", false), third]));
    assert_eq!(world.permit().holder, None);
    assert_eq!(world.planned(), [], "cp2's old voter is listed, and cp1 is not there yet");
    assert!(world.node("cp2").message.contains("muster etcd remove"), "{}", world.node("cp2").message);
}
