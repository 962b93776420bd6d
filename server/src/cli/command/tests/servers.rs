//! Muster's own servers: listing, letting in, promoting, removing, moving leadership.

use muster_proto::admin::v1::{Server, ServerList};
use sha2::Digest as _;

use super::*;

fn mk_server(id: u64, state: &str, role: &str) -> Server {
    Server {
        id,
        address: format!("10.0.0.{id}:9446"),
        state: state.into(),
        role: role.into(),
        wanted: role.into(),
        version: "0.2.0".into(),
        key_fingerprint: format!("sha256:{}", "ab".repeat(32)),
        seen: at(60),
        ..Server::default()
    }
}

fn mk_servers() -> World {
    let place =
        |server: Server, lag| Server { term: Some(3), index: Some(100 - lag), lag_entries: Some(lag), ..server };
    let items = vec![
        place(mk_server(1, "Leader", "voter"), 0),
        place(mk_server(2, "Follower", "voter"), 4),
        mk_server(3, "Learner", "learner"),
        Server { wanted: "pending".into(), requested_from: "192.0.2.7".into(), ..mk_server(4, "Pending", "") },
    ];
    let servers = ServerList { items, answered_by: 1, leader_id: 1, raft_term: 3, applied_index: 100, stale: false };
    let status = Status { servers: servers.items.clone(), ..mk_status() };
    World { servers, status, ..World::default() }
}

#[tokio::test]
async fn servers_are_listed_with_their_place_and_what_is_not_known_is_said_to_be() {
    let table = "ID   ADDRESS         STATE      ROLE      TERM      INDEX     LAG       VERSION\n\
                 1    10.0.0.1:9446   Leader     voter     3         100       0         0.2.0\n\
                 2    10.0.0.2:9446   Follower   voter     3         96        4         0.2.0\n\
                 3    10.0.0.3:9446   Learner    learner   unknown   unknown   unknown   0.2.0\n\
                 4    10.0.0.4:9446   Pending    <none>    <none>    <none>    <none>    0.2.0\n";
    for line in ["server list", "get servers"] {
        let ran = run(line, mk_servers()).await;
        assert_eq!((ran.out.as_str(), ran.err.as_str()), (table, ""), "{line}: {:?}", ran.outcome);
        assert!(!ran.fake.world().server_requests[0].stale);
    }
    let ran = run("get servers -o name", mk_servers()).await;
    assert_eq!(ran.out, "server/1\nserver/2\nserver/3\nserver/4\n");
    assert_eq!(run("get servers -l a=b", mk_servers()).await.failure().exit, Exit::Usage);
}

#[tokio::test]
async fn a_stale_list_says_whose_it_is_in_words_and_in_json() {
    let ran = run("server list --stale --all", mk_servers()).await;
    assert_eq!(ran.err, "stale: what server 1 has at index 100; nobody confirmed it\n");
    let asked = ran.fake.world().server_requests[0];
    assert!(asked.stale && asked.removed);
    let ran = run("server list --stale -o json", mk_servers()).await;
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&value["kind"], &value["stale"]), (&"ServerList".into(), &true.into()));
    assert_eq!((&value["appliedIndex"], &value["items"][1]["lagEntries"]), (&"100".into(), &"4".into()));
    assert_eq!(value["items"][2].get("lagEntries"), None, "what is not known is not there");
}

#[tokio::test]
async fn without_a_leader_the_way_to_a_stale_list_is_named() {
    let world = || World { refuse: Some(tonic::Status::unavailable("no leader")), ..mk_servers() };
    let ran = run("server list", world()).await;
    assert_eq!(ran.failure().exit, Exit::Unreachable);
    assert!(ran.failure().next.as_ref().unwrap().contains("muster server list --stale"));
    assert!(!run("server list --stale", world()).await.failure().next.as_ref().unwrap().contains("--stale"));
}

#[tokio::test]
async fn a_server_token_is_made_here_and_only_its_hash_is_sent() {
    let ran = run("server token create", mk_servers()).await;
    let lines: Vec<&str> = ran.out.lines().collect();
    let sent = ran.fake.world().new_server_tokens[0].clone();
    assert_eq!(sent.sha256, sha2::Sha256::digest(lines[0]).to_vec());
    assert_eq!((sent.id.as_str(), sent.ttl_seconds), (&lines[0][4..12], 3600));
    assert_eq!(
        lines[1],
        format!("echo {} | muster server join https://192.0.2.1:9443 --ca {PIN} --token-file -", lines[0])
    );
    assert!(ran.err.contains("works once") && ran.err.contains("Next: "), "{}", ran.err);
    assert_eq!(run("server token create -o name", mk_servers()).await.failure().exit, Exit::Usage);
    let ran = run("server token create --ttl 2d -o json", mk_servers()).await;
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&value["kind"], &value["stored"]["kind"]), (&"ServerToken".into(), &"server".into()));
}

#[tokio::test]
async fn a_server_is_approved_by_the_fingerprint_that_was_compared() {
    let fingerprint = format!("sha256:{}", "ab".repeat(32));
    let ran = run(&format!("server approve 4 --fingerprint {fingerprint}"), mk_servers()).await;
    assert_eq!((ran.out.as_str(), &ran.outcome), ("server/4 approved\n", &Ok(Exit::Done)));
    assert!(ran.err.contains("muster server promote 4"), "{}", ran.err);
    assert_eq!(ran.fake.world().changes, [format!("approve-server 4 {fingerprint}")]);

    let ran = run(&format!("server approve 4 --fingerprint sha256:{}", "ac".repeat(32)), mk_servers()).await;
    assert_eq!(ran.failure().exit, Exit::Conflict);
    assert!(ran.failure().next.as_ref().unwrap().contains("muster server remove 4"));
    assert!(ran.fake.world().changes.is_empty());

    let ran = run_with("server approve server/4", mk_servers(), Some("n\n")).await;
    assert!(ran.fake.world().changes.is_empty() && ran.outcome.is_err());
    assert!(ran.err.contains(&fingerprint) && ran.err.contains("192.0.2.7"), "{}", ran.err);
    let ran = run_with("server approve 4", mk_servers(), Some("y\n")).await;
    assert_eq!(ran.fake.world().changes.len(), 1, "{:?}", ran.outcome);
}

#[tokio::test]
async fn removing_asks_first_and_says_what_is_left_to_do() {
    assert_eq!(run("server remove 2", mk_servers()).await.failure().exit, Exit::Usage, "nobody can be asked");
    let ran = run("server remove 2 --yes --force --reason burned", mk_servers()).await;
    assert_eq!(ran.out, "server/2 removed\n");
    assert!(ran.err.contains("wipe its data directory"), "{}", ran.err);
    assert_eq!(ran.fake.world().changes, ["remove-server 2 force=true burned"]);
    assert_eq!(run("server remove 9 --yes", mk_servers()).await.failure().exit, Exit::Conflict);
}

#[tokio::test]
async fn promoting_transferring_and_snapshots_say_what_they_did() {
    let ran = run("server promote 3", mk_servers()).await;
    assert_eq!(
        (ran.out.as_str(), ran.fake.world().changes.clone()),
        ("server/3 is to vote\n", vec!["promote-server 3".into()])
    );
    let ran = run("server transfer-leader", mk_servers()).await;
    assert_eq!(ran.out, "server/2 leads in term 4\n");
    assert_eq!(ran.fake.world().changes, ["transfer-leader 1 0"], "the leader that is to step down is named");
    let ran = run("server transfer-leader 3 -o name", mk_servers()).await;
    assert_eq!((ran.out.as_str(), ran.fake.world().changes[0].as_str()), ("server/3\n", "transfer-leader 1 3"));
    let ran = run("server snapshot", mk_servers()).await;
    assert_eq!(ran.out, "server/1 holds everything up to index 77\n");
    for line in ["server promote 3", "server transfer-leader", "server snapshot"] {
        assert!(run(line, mk_servers()).await.err.starts_with("Next: muster "), "{line}");
    }
}

#[tokio::test]
async fn one_server_is_described_with_its_events_and_the_status_shows_all() {
    let ran = run("describe server 4", mk_servers()).await;
    for part in
        ["Id:", "State:            Pending", "Key fingerprint:  sha256:abab", "Asked from:       192.0.2.7", "Events:"]
    {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert_eq!(ran.fake.world().event_requests[0].server, 4);
    assert_eq!(run("describe server/9", mk_servers()).await.failure().exit, Exit::Conflict);
    assert_eq!(run("describe server one", mk_servers()).await.failure().exit, Exit::Usage);
    let ran = run("get server 2 -o json", mk_servers()).await;
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&value["kind"], &value["id"]), (&"Server".into(), &"2".into()));
    let ran = run("status", mk_servers()).await;
    assert!(ran.out.contains("Servers:\n  ID   ADDRESS"), "{}", ran.out);
}
