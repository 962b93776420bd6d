//! Several servers of one fleet as operators see them: joining, voting, leading, leaving.

use anyhow::Result;
use muster_tests::{Fleet, SOON, eventually};
use serde_json::Value;

fn text<'a>(server: &'a Value, field: &str) -> &'a str {
    server[field].as_str().unwrap_or_default()
}

fn states(servers: &[Value]) -> Vec<(&str, &str)> {
    servers.iter().map(|server| (text(server, "id"), text(server, "state"))).collect()
}

fn reasons(fleet: &Fleet) -> Result<Vec<String>> {
    let events = fleet.json(&["get", "events"])?;
    let items = events["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().map(|event| text(event, "reason").to_owned()).collect())
}

#[test]
fn three_servers_act_as_one_and_a_leader_that_is_removed_leaves_for_good() -> Result<()> {
    let mut fleet = Fleet::of(3)?;
    let listed = fleet.list()?;
    assert_eq!(states(&listed), [("1", "Leader"), ("2", "Follower"), ("3", "Follower")]);
    for server in &listed {
        assert_eq!((text(server, "role"), server["hasDataKeys"].as_bool()), ("voter", Some(true)), "{server}");
        assert!(server["lagEntries"].is_string() && server["index"].is_string(), "{server}");
    }

    fleet.done(&["server", "transfer-leader", "2"])?;
    fleet.wait_server("server 2 leads", |server| text(server, "id") == "2" && text(server, "state") == "Leader")?;

    fleet.done(&["server", "remove", "2", "--yes", "--reason", "its machine goes"])?;
    eventually("server 2 has left", SOON, || match fleet.list() {
        Ok(servers) if servers.len() == 2 && servers.iter().all(|server| text(server, "id") != "2") => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    eventually("a new epoch", SOON, || match reasons(&fleet) {
        Ok(reasons) if reasons.iter().any(|reason| reason == "EpochStarted") => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let gone = fleet.json(&["get", "server", "2"])?;
    assert_eq!((text(&gone, "state"), gone["hasDataKeys"].as_bool().unwrap_or(false)), ("Removed", false), "{gone}");

    let next = fleet.add_learner(&muster_tests::ServerSettings::default())?;
    assert_eq!(fleet.id(next), 4, "a number is never used again");
    let listed = fleet.list()?;
    assert!(states(&listed).contains(&("4", "Learner")), "{listed:?}");
    let learner = listed.iter().find(|server| text(server, "id") == "4").expect("it is listed");
    assert!(!learner["hasDataKeys"].as_bool().unwrap_or(false), "a learner holds no keys");
    Ok(())
}

/// Whether a server that is asked alone knows of every member what only the leader knows.
fn asked_alone(fleet: &Fleet, number: usize) -> Result<Vec<Value>> {
    let url = format!("https://{}:9445", fleet.servers[number].address());
    let list = fleet.json(&["server", "list", "--server", &url])?;
    anyhow::ensure!(text(&list, "answeredBy") == fleet.id(number).to_string(), "another server answered: {list}");
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

#[test]
fn any_server_answers_for_the_leader_and_a_removal_that_would_cost_the_majority_is_refused() -> Result<()> {
    let mut fleet = Fleet::of(3)?;
    for number in 0..3 {
        for server in asked_alone(&fleet, number)? {
            assert!(server["lagEntries"].is_string() && server["silenceMs"].is_string(), "{server}");
        }
    }
    let follower = format!("https://{}:9445", fleet.servers[1].address());
    fleet.done(&["server", "transfer-leader", "3", "--server", &follower])?;
    fleet.wait_server("server 3 leads", |server| text(server, "id") == "3" && text(server, "state") == "Leader")?;

    fleet.servers[0].kill()?;
    fleet.wait_server("server 1 is missed", |server| text(server, "state") == "Unreachable")?;
    let refused = fleet.muster(&["server", "remove", "2", "--yes", "--server", &follower])?;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("only 1 of 2 voters would answer, and 2 are needed"), "{refused:?}");
    fleet.done(&["server", "remove", "1", "--yes"])?;
    eventually("server 1 has left", SOON, || match fleet.list() {
        Ok(servers) if states(&servers).iter().all(|(id, _)| *id != "1") => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let refused = fleet.muster(&["server", "remove", "2", "--yes"])?;
    assert_eq!(refused.code, 0, "one voter that has the keys is left: {refused:?}");
    Ok(())
}

#[test]
fn without_a_majority_only_a_stale_list_is_given_and_it_says_so() -> Result<()> {
    let mut fleet = Fleet::of(3)?;
    for number in [1, 2] {
        fleet.servers[number].kill()?;
    }
    let listed = fleet.muster(&["server", "list"])?;
    assert_eq!(listed.code, 5, "{listed:?}");
    assert!(listed.stderr.contains("muster server list --stale"), "{listed:?}");
    let stale = fleet.muster(&["server", "list", "--stale"])?;
    assert_eq!(stale.code, 0, "{stale:?}");
    assert!(stale.stderr.contains("stale: what server 1 has"), "{stale:?}");
    assert_eq!(stale.stdout.lines().count(), 4, "{stale:?}");

    // Started again without a majority it says the same, and nothing else.
    fleet.servers[0].kill()?;
    fleet.servers[0].start()?;
    eventually("a list of one that was started again", SOON, || match fleet.muster(&["server", "list", "--stale"]) {
        Ok(stale) if stale.code == 0 && stale.stdout.lines().count() == 4 => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let refused = fleet.muster(&["status"])?;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("hears no leader yet"), "{refused:?}");
    for number in [1, 2] {
        fleet.servers[number].start()?;
    }
    fleet.wait_server("a leader", |server| text(server, "state") == "Leader")?;
    Ok(())
}
