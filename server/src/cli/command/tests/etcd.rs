//! The members of a cluster's etcd: listed, described, taken out.

use muster_proto::admin::v1::{Etcd, EtcdMember};

use super::*;

fn mk_member(id: &str, name: &str, role: &str, healthy: bool) -> EtcdMember {
    EtcdMember {
        id: id.into(),
        name: name.into(),
        peer_urls: vec!["https://192.0.2.1:2380".into()],
        role: role.into(),
        started: !name.is_empty(),
        healthy,
        removing: name.is_empty(),
    }
}

fn mk_linked(problem: &str) -> World {
    let members = vec![
        mk_member("8e9e05c52164694d", "cp1", "voter", true),
        mk_member("8e9e22", "cp2", "voter", false),
        mk_member("f1", "", "learner", false),
    ];
    let problem_since = if problem.is_empty() { None } else { at(30) };
    let etcd = Some(Etcd { members, since: at(60), problem: problem.into(), problem_since });
    let cluster = Cluster { etcd, mode: "Linked".into(), ..mk_cluster("prod") };
    World { clusters: vec![cluster], ..World::default() }
}

const TABLE: &str = "ID                 NAME     ROLE      STARTED   HEALTHY   PEER-URLS                NOTE\n\
                     8e9e05c52164694d   cp1      voter     yes       yes       https://192.0.2.1:2380   <none>\n\
                     8e9e22             cp2      voter     yes       no        https://192.0.2.1:2380   <none>\n\
                     f1                 <none>   learner   no        no        https://192.0.2.1:2380   being taken out\n";

#[tokio::test]
async fn members_are_listed_and_it_is_said_if_that_is_not_how_they_are_now() {
    for line in ["etcd list prod", "etcd list", "etcd list --cluster prod"] {
        let ran = run(line, mk_linked("")).await;
        assert_eq!((ran.out.as_str(), ran.err.as_str()), (TABLE, ""), "{line}: {:?}", ran.outcome);
    }
    let ran = run("etcd list prod", mk_linked("192.0.2.1 port 2379: no answer in time")).await;
    assert_eq!(ran.out, TABLE);
    assert!(ran.err.contains("no answer in time; this is what was last seen"), "{}", ran.err);
    let ran = run("etcd list prod -o json", mk_linked("")).await;
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&value["kind"], &value["members"][2]["removing"]), (&"Etcd".into(), &true.into()));
    assert_eq!(run("etcd list prod -o name", mk_linked("")).await.out, "etcd/8e9e05c52164694d\netcd/8e9e22\netcd/f1\n");
    let described = run("describe cluster prod", mk_linked("refused")).await.out;
    assert!(described.contains("Etcd:\n") && described.contains("8e9e05c52164694d   cp1"), "{described}");
    assert!(described.contains("refused; this is what was last seen"), "{described}");
}

#[tokio::test]
async fn a_cluster_whose_etcd_nobody_looks_at_says_why() {
    let detached = World { clusters: vec![mk_cluster("prod")], ..World::default() };
    let ran = run("etcd list prod", detached).await;
    assert_eq!(ran.failure().exit, Exit::Conflict);
    let message = ran.failure().message.clone();
    assert_eq!(message, "nothing is known of the etcd of prod: it is detached");
}

#[tokio::test]
async fn a_member_is_taken_out_by_id_or_prefix_after_a_question() {
    let ran = run("etcd remove prod 8e9e0 --yes --reason gone", mk_linked("")).await;
    assert_eq!(ran.outcome, Ok(Exit::Done));
    assert_eq!(ran.fake.world().changes, ["remove-etcd c-prod 8e9e05c52164694d gone"]);
    assert_eq!(ran.out, "etcd/8e9e05c52164694d is being taken out\n");
    assert_eq!(ran.err, "Next: muster etcd list prod shows when it is gone\n");

    let ran = run_with("etcd remove prod f1", mk_linked(""), Some("n\n")).await;
    assert!(
        ran.err.contains("Take learner f1 (never started, https://192.0.2.1:2380) out of the etcd of prod"),
        "{}",
        ran.err
    );
    assert!(ran.fake.world().changes.is_empty());
    assert_eq!(run("etcd remove prod f1", mk_linked("")).await.failure().exit, Exit::Usage, "nobody can be asked");
}

#[tokio::test]
async fn a_member_that_is_not_there_or_not_one_is_refused_before_anything_is_sent() {
    for (line, word) in
        [("etcd remove prod 77 --yes", "no member"), ("etcd remove prod 8e9e --yes", "8e9e05c52164694d, 8e9e22")]
    {
        let ran = run(line, mk_linked("")).await;
        assert_eq!(ran.failure().exit, Exit::Conflict, "{line}");
        assert!(ran.failure().message.contains(word), "{}", ran.failure().message);
        assert_eq!(ran.failure().next.as_deref(), Some("muster etcd list prod"));
        assert!(ran.fake.world().changes.is_empty());
    }
}
