//! Enrolments that must not succeed, with the real programs: each ends with a sentence that names the thing and the fix,
//! and with its exit code.

use anyhow::{Context as _, Result};
use muster_tests::{ClusterFile, Door, MOMENT, Machine, SOON, Server, eventually};
use serde_json::Value;

/// The code of an agent that its fleet refused.
const REFUSED: i32 = 8;
/// The code of input that makes no sense.
const INVALID: i32 = 3;
/// The code of a command in conflict with what is there.
const CONFLICT: i32 = 4;

/// A server with two clusters: `prod` with pools of each admission, `other` with one.
fn two_clusters() -> Result<(Server, Door)> {
    let server = Server::founded()?;
    ClusterFile::new("prod")
        .pool("cp", "control-plane", "approve", &[])
        .pool("worker", "worker", "token", &["worker-1", "worker-2"])
        .pool("queue", "worker", "approve", &[])
        .apply(&server)?;
    ClusterFile::new("other").pool("worker", "worker", "token", &["worker-9"]).apply(&server)?;
    let door = server.door()?;
    Ok((server, door))
}

fn token(server: &Server, args: &[&str]) -> Result<String> {
    let made = server.json(&[&["token", "create"], args].concat())?;
    made["token"].as_str().map(str::to_owned).context("no token was printed")
}

/// The public part of a token.
fn id_of(token: &str) -> &str {
    token.split('-').nth(1).unwrap_or_default()
}

/// Runs the machine to its end and checks code and words of the last line.
fn refused(machine: &mut Machine, door: &Door, token: &str, more: &[&str], words: &[&str]) -> Result<()> {
    machine.run(door, Some(token), &[&["--once"], more].concat())?;
    let code = machine.wait_end(SOON)?;
    let log = machine.log();
    let last = log.lines().last().unwrap_or_default();
    assert_eq!(code, REFUSED, "{}: {log}", machine.name());
    assert!(words.iter().all(|word| last.contains(word)), "{}: {words:?} not in: {last}", machine.name());
    assert!(!log.contains(token), "the token is in the agent's log: {log}");
    Ok(())
}

fn node_of(server: &Server, fingerprint: &str) -> Result<Option<Value>> {
    Ok(server.nodes()?.into_iter().find(|node| node["keyFingerprint"] == fingerprint))
}

/// Waits until the machine is in the queue; gives its record.
fn pending(server: &Server, machine: &Machine) -> Result<Value> {
    machine.wait_log(SOON, &["waiting for approval"])?;
    let fingerprint = machine.fingerprint()?;
    let node = node_of(server, &fingerprint)?.context("the machine is not in the queue")?;
    assert_eq!(node["phase"], "PendingApproval", "{node}");
    Ok(node)
}

fn wait_phase(server: &Server, fingerprint: &str, phase: &str) -> Result<Value> {
    eventually(&format!("phase {phase}"), SOON, || match node_of(server, fingerprint) {
        Ok(Some(node)) if node["phase"] == phase => Ok(node),
        Ok(node) => Err(format!("{node:?}")),
        Err(error) => Err(format!("{error:#}")),
    })
}

#[test]
fn a_token_that_is_spent_expired_revoked_malformed_unknown_or_for_somebody_else_admits_nobody() -> Result<()> {
    let (server, door) = two_clusters()?;
    let prod = |args: &[&str]| token(&server, &[args, &["--cluster", "prod"]].concat());

    let spent = prod(&["--pool", "worker"])?;
    let mut first = server.machine("first")?;
    first.run(&door, Some(&spent), &[])?;
    wait_phase(&server, &first.fingerprint_soon()?, "WaitingForInit")?;
    let words = [id_of(&spent), "has been used already", "muster token create"];
    refused(&mut server.machine("second")?, &door, &spent, &[], &words)?;

    let expired = prod(&["--pool", "worker", "--ttl", "1s"])?;
    eventually("the expiry", MOMENT, || {
        let tokens = server.json(&["token", "list"]).map_err(|error| error.to_string())?;
        let state = tokens["items"].as_array().into_iter().flatten().find(|token| token["id"] == id_of(&expired));
        if state.is_some_and(|token| token["state"] == "Expired") { Ok(()) } else { Err(format!("{state:?}")) }
    })?;
    refused(
        &mut server.machine("late")?,
        &door,
        &expired,
        &[],
        &[id_of(&expired), "has expired", "muster token create"],
    )?;

    let revoked = prod(&["--pool", "worker"])?;
    server.done(&["token", "revoke", id_of(&revoked), "--yes"])?;
    refused(
        &mut server.machine("void")?,
        &door,
        &revoked,
        &[],
        &[id_of(&revoked), "was revoked", "muster token create"],
    )?;

    let malformed = ["the token is malformed", "mst-<8 characters>-<32 characters>"];
    refused(&mut server.machine("typo")?, &door, "mst-abcdefgh-tooshort", &[], &malformed)?;
    let unknown = format!("mst-abcdefgh-{}", "0".repeat(32));
    refused(&mut server.machine("guess")?, &door, &unknown, &[], &["is not known", "muster token create"])?;

    let elsewhere = token(&server, &["--cluster", "other", "--node", "worker-9"])?;
    let words = ["is bound to node worker-9", "asks for \"worker-1\""];
    refused(&mut server.machine("lost")?, &door, &elsewhere, &["--node", "worker-1"], &words)?;
    let worker = prod(&["--pool", "worker"])?;
    let words = ["it is for a worker", "asks for control-plane"];
    refused(&mut server.machine("climber")?, &door, &worker, &["--role", "control-plane"], &words)?;

    // None of them left a node behind, and none of the tokens that did not fit was used up.
    assert_eq!(server.nodes()?.len(), 1);
    for (token, name) in [(&elsewhere, "worker-9"), (&worker, "")] {
        let mut rightful = server.machine(&format!("rightful-{}", id_of(token)))?;
        let more: &[&str] = if name.is_empty() { &[] } else { &["--node", name] };
        rightful.run(&door, Some(token), more)?;
        wait_phase(&server, &rightful.fingerprint_soon()?, "WaitingForInit")?;
    }
    // Whoever came with a token that was used up, or had ended, was told of; the first on the winner's own page.
    let events = server.events()?;
    let misuses: Vec<&Value> = events.iter().filter(|event| event["reason"] == "TokenMisused").collect();
    assert_eq!(misuses.len(), 3, "{events:?}");
    assert!(misuses.iter().all(|event| event["type"] == "Warning"), "{misuses:?}");
    let winner = node_of(&server, &first.fingerprint()?)?.context("the first is gone")?;
    assert_eq!(misuses[0]["nodeId"], winner["id"], "{misuses:?}");
    let text = misuses[0]["message"].as_str().unwrap_or_default();
    assert!(text.contains(id_of(&spent)) && !text.contains(&spent), "{text}");
    Ok(())
}

#[test]
fn a_server_that_does_not_prove_the_pin_is_told_nothing_and_both_pins_are_named() -> Result<()> {
    let (server, door) = two_clusters()?;
    let token = token(&server, &["--cluster", "prod", "--pool", "worker"])?;
    let wrong = Door { pin: format!("sha256:{}", "ab".repeat(32)), ..door.clone() };
    let mut machine = server.machine("deceived")?;
    machine.run(&wrong, Some(&token), &["--once", "--give-up-after", "2"])?;
    assert_eq!(machine.wait_end(SOON)?, 5, "{}", machine.log());
    let log = machine.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(&wrong.pin) && last.contains(&door.pin), "wanted and seen are not both in: {last}");
    // The token is as good as new.
    let mut undeceived = server.machine("undeceived")?;
    undeceived.run(&door, Some(&token), &[])?;
    wait_phase(&server, &undeceived.fingerprint_soon()?, "WaitingForInit")?;

    let nonsense = Door { pin: "sha256:123".to_owned(), ..door };
    machine.run(&nonsense, Some(&token), &["--once"])?;
    assert_eq!(machine.wait_end(SOON)?, INVALID, "{}", machine.log());
    Ok(())
}

#[test]
fn a_second_machine_of_the_same_hardware_waits_and_takes_the_place_only_when_told_to_replace() -> Result<()> {
    let (server, door) = two_clusters()?;
    let prod = |args: &[&str]| token(&server, &[args, &["--cluster", "prod"]].concat());
    let mut first = server.machine("first")?;
    first.run(&door, Some(&prod(&["--node", "worker-1"])?), &[])?;
    let first_key = first.fingerprint_soon()?;
    wait_phase(&server, &first_key, "WaitingForInit")?;

    // Another box with the same UUID: its own good token gets it into the queue only.
    let mut clone = server.machine("clone")?.with_hardware_of(&first);
    clone.run(&door, Some(&prod(&["--node", "worker-2"])?), &[])?;
    let node = pending(&server, &clone)?;
    let message = node["message"].as_str().unwrap_or_default();
    assert!(message.contains("same UUID") && message.contains("worker-1"), "the first is not named: {message}");
    clone.wait_log(SOON, &["waiting for approval", "same UUID", "worker-1"])?;
    let id = node["id"].as_str().context("no id")?;
    let fingerprint = clone.fingerprint()?;
    let refused = server.muster(&["node", "approve", id, "--fingerprint", &fingerprint])?;
    assert_eq!(refused.code, CONFLICT, "{refused:?}");
    assert!(refused.stderr.contains("--replace"), "{refused:?}");
    server.done(&["node", "deny", id, "--reason", "a clone", "--yes"])?;

    // The first box itself, with a new disk.
    first.lose_state()?;
    first.run(&door, Some(&prod(&["--pool", "worker"])?), &[])?;
    let node = pending(&server, &first)?;
    let (id, fingerprint) = (node["id"].as_str().context("no id")?, first.fingerprint()?);
    assert_ne!(fingerprint, first_key);
    let approve = |more: &[&str]| {
        let args = [&["node", "approve", id, "--fingerprint", &fingerprint, "--name", "worker-1"], more].concat();
        server.muster(&args)
    };
    let refused = approve(&[])?;
    assert_eq!(refused.code, CONFLICT, "{refused:?}");
    assert!(node_of(&server, &first_key)?.is_some(), "the old node was touched before anybody said so");
    let replaced = approve(&["--replace"])?;
    assert_eq!(replaced.code, 0, "{replaced:?}");
    assert_eq!(wait_phase(&server, &fingerprint, "WaitingForInit")?["name"], "worker-1");
    assert_eq!(node_of(&server, &first_key)?, None, "the old node is still there");
    Ok(())
}

#[test]
fn a_denied_machine_gets_nothing_and_an_approval_of_something_else_is_refused() -> Result<()> {
    let (server, door) = two_clusters()?;
    let mut denied = server.machine("denied")?;
    denied.run(&door, None, &["--once"])?;
    let id = pending(&server, &denied)?["id"].as_str().context("no id")?.to_owned();
    server.done(&["node", "deny", &id, "--reason", "not one of ours", "--yes"])?;
    assert_eq!(denied.wait_end(SOON)?, REFUSED, "{}", denied.log());
    let last = denied.log().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("an operator denied this machine: not one of ours"), "{last}");
    // Not even with a good token, and not later.
    let token = token(&server, &["--cluster", "prod", "--pool", "worker"])?;
    refused(&mut denied, &door, &token, &[], &["an operator denied this machine"])?;
    assert!(!denied.state_dir().join("identity.json").exists());

    // What the operator saw is not what is there any more.
    let mut changed = server.machine("changed")?;
    changed.run(&door, None, &["--labels", "rack=r1"])?;
    let seen = pending(&server, &changed)?;
    let id = seen["id"].as_str().context("no id")?;
    let other = format!("sha256:{}", "cd".repeat(32));
    let refused =
        server.muster(&["node", "approve", id, "--fingerprint", &other, "--pool", "queue", "--cluster", "prod"])?;
    assert_eq!(refused.code, CONFLICT, "{refused:?}");
    assert!(refused.stderr.contains("the fingerprints differ") && refused.stderr.contains(&other), "{refused:?}");
    assert_eq!(wait_phase(&server, &changed.fingerprint()?, "PendingApproval")?["id"], id);
    Ok(())
}

#[test]
fn a_locked_node_is_told_nothing_until_it_is_unlocked_and_a_removed_one_never_again() -> Result<()> {
    let server = Server::founded()?;
    let lines = ClusterFile::new("prod").pool("cp", "control-plane", "bound", &["cp-1"]).apply(&server)?;
    let door = server.door()?;
    let mut machine = server.machine("cp-1")?;
    machine.paste(&lines[0].line, "")?;
    machine.wait_log(SOON, &["step begins", "init"])?;
    server.done(&["node", "lock", "cp-1", "--reason", "under suspicion"])?;
    let fingerprint = machine.fingerprint()?;
    let node = wait_phase(&server, &fingerprint, "Locked")?;
    assert!(node["message"].as_str().is_some_and(|text| text.contains("under suspicion")), "{node}");
    // It comes again and again and gets nothing: no step after the one that ran.
    machine.kill()?;
    let before = machine.rehearsed();
    machine.run(&door, None, &["--once"])?;
    assert_eq!(machine.wait_end(SOON)?, REFUSED, "{}", machine.log());
    assert!(machine.log().lines().last().is_some_and(|line| line.contains("under suspicion")), "{}", machine.log());
    assert_eq!(machine.rehearsed(), before);
    server.done(&["node", "unlock", "cp-1"])?;
    machine.run(&door, None, &["--once"])?;
    assert_eq!(machine.wait_end(SOON)?, 0, "{}", machine.log());

    server.done(&["node", "remove", "cp-1", "--yes"])?;
    machine.run(&door, None, &["--once"])?;
    machine.wait_log(SOON, &["waiting for approval"])?;
    Ok(())
}
