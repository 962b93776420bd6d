//! Machines that join while servers die: the leader, the very server that a machine hangs on, and one that only stands still.
//!
//! Every agent has its current instruction again on another server, without a gap and without doing a finished step again; and
//! what an old leader still wanted to do has come to nothing, for nobody was told anything twice.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use muster_tests::{ClusterFile, Door, Enrolment, Fleet, Machine, ServerSettings, WHILE, eventually};
use serde_json::Value;

/// What befalls a server.
#[derive(Clone, Copy, Debug)]
enum Blow {
    KillTheLeader,
    /// One that some agent hangs on, and that does not lead if that can be.
    KillAnAgentsServer,
    StopTheLeader,
}

/// One after the other, each while machines are joining.
const BLOWS: [Blow; 4] = [Blow::KillTheLeader, Blow::KillAnAgentsServer, Blow::StopTheLeader, Blow::KillAnAgentsServer];

#[test]
fn machines_join_on_without_repeating_a_step_while_the_servers_they_hang_on_die() -> Result<()> {
    let mut fleet = Fleet::of(3)?;
    let cluster = ClusterFile::new("prod").pool("cp", "control-plane", "bound", &["cp-1", "cp-2", "cp-3"]).pool(
        "worker",
        "worker",
        "bound",
        &["worker-1", "worker-2", "worker-3"],
    );
    let mut machines = Vec::new();
    for (number, enrolment) in cluster.apply(&fleet.servers[0])?.into_iter().enumerate() {
        let mut machine = fleet.machine(&enrolment.node)?;
        // Spread: each is told of one server only, and learns the others from it.
        machine.paste(&line_for(&enrolment, &fleet, number % 3)?, "")?;
        machines.push(machine);
    }
    for blow in BLOWS {
        // Somebody has just begun a step, so somebody is in the middle of one.
        let begun = more_begun_than(steps_begun(&machines), &machines)?;
        let victim = strike(&mut fleet, &machines, blow)?;
        eventually("agents hang on others", WHILE, || {
            let hanging: Vec<_> = machines.iter().filter(|one| hangs_on(one, &fleet) == Some(victim)).collect();
            let names: Vec<_> = hanging.iter().map(|machine| machine.name()).collect();
            if names.is_empty() { Ok(()) } else { Err(format!("{names:?} hang on a server that is gone")) }
        })
        .with_context(|| format!("{blow:?}"))?;
        more_begun_than(begun, &machines).with_context(|| format!("{blow:?}: nobody goes on"))?;
        match blow {
            Blow::StopTheLeader => fleet.servers[victim].go_on()?,
            _ => fleet.servers[victim].start()?,
        }
        fleet.servers[victim].wait_ready()?;
    }
    let waited = fleet.muster(&["wait", "cluster/prod", "--for", "control-planes=3,workers=3", "--timeout", "2m"])?;
    ensure!(waited.code == 0, "{waited:?}\n{}", fleet.done(&["get", "nodes", "-o", "wide"])?);
    nothing_was_done_twice(&fleet, &machines)
}

fn line_for(enrolment: &Enrolment, fleet: &Fleet, number: usize) -> Result<String> {
    let words: Vec<&str> = enrolment.line.split(' ').collect();
    let at = words.iter().position(|word| *word == "--server").context("the line names no server")?;
    let own = format!("{}:9443", fleet.servers[number].address());
    Ok([&words[..=at], &[own.as_str()], &words[at + 2..]].concat().join(" "))
}

fn strike(fleet: &mut Fleet, machines: &[Machine], blow: Blow) -> Result<usize> {
    let leader = fleet.leader()?;
    let used: BTreeSet<usize> = machines.iter().filter_map(|machine| hangs_on(machine, fleet)).collect();
    let victim = match blow {
        Blow::KillTheLeader | Blow::StopTheLeader => leader,
        Blow::KillAnAgentsServer => {
            let follower = used.iter().find(|number| **number != leader);
            *follower.or(used.first()).context("no agent hangs on any server")?
        }
    };
    match blow {
        Blow::StopTheLeader => fleet.servers[victim].pause()?,
        _ => fleet.servers[victim].kill()?,
    }
    println!("{blow:?}: server {victim}; {leader} led, and agents hung on {used:?}");
    Ok(victim)
}

/// The server that an agent says it is attached to.
fn hangs_on(machine: &Machine, fleet: &Fleet) -> Option<usize> {
    let log = machine.log();
    let last = log.lines().rfind(|line| line.contains("attached server=") || line.contains("lost the server"))?;
    let is_named = |number: &usize| last.contains(&format!("{}:", fleet.servers[*number].address()));
    (0..fleet.servers.len()).find(is_named).filter(|_| last.contains("attached server="))
}

fn steps_begun(machines: &[Machine]) -> Vec<usize> {
    machines.iter().map(|machine| machine.log().matches("step begins").count()).collect()
}

/// Waits until some machine has begun another step, or all are Ready; gives how many each has begun.
fn more_begun_than(before: Vec<usize>, machines: &[Machine]) -> Result<Vec<usize>> {
    eventually("another step", WHILE, || {
        let begun = steps_begun(machines);
        let over = machines.iter().all(|machine| machine.log().contains("joined and Ready"));
        let more = begun.iter().zip(&before).any(|(now, then)| now > then);
        if more || over { Ok(begun) } else { Err(format!("{begun:?} steps were begun")) }
    })
}

fn nothing_was_done_twice(fleet: &Fleet, machines: &[Machine]) -> Result<()> {
    for machine in machines {
        let rehearsed = machine.rehearsed();
        let once: BTreeSet<&String> = rehearsed.iter().collect();
        ensure!(once.len() == rehearsed.len(), "{} did something twice: {rehearsed:?}", machine.name());
        ensure!(!rehearsed.is_empty(), "{} did nothing", machine.name());
    }
    let items = |what: &str| -> Result<Vec<Value>> {
        Ok(fleet.json(&["get", what])?["items"].as_array().cloned().unwrap_or_default())
    };
    let nodes = items("nodes")?;
    let again: Vec<&Value> = nodes.iter().filter(|node| node["attempt"].as_u64() != Some(1)).collect();
    ensure!(again.is_empty(), "some had to begin anew: {again:?}");
    let mut told = BTreeSet::new();
    for event in items("events")? {
        let [reason, node, message] = ["reason", "nodeId", "message"].map(|field| event[field].to_string());
        if ["\"Instructed\"", "\"PermitGranted\"", "\"StepDone\""].contains(&reason.as_str()) {
            ensure!(told.insert((reason, node, message)), "decided twice: {event}");
        }
    }
    ensure!(told.len() > machines.len(), "only {told:?} was decided");
    Ok(())
}

#[test]
fn machines_enrol_and_join_through_a_relay_that_holds_no_keys() -> Result<()> {
    let mut fleet = Fleet::of(1)?;
    let relay = fleet.add_learner(&ServerSettings { alone_for_nodes: true, ..ServerSettings::default() })?;
    let cluster =
        ClusterFile::new("prod").pool("cp", "control-plane", "bound", &["cp-1"]).pool("worker", "worker", "token", &[]);
    let mut machines = Vec::new();
    for enrolment in cluster.apply(&fleet.servers[0])? {
        let mut machine = fleet.machine(&enrolment.node)?;
        machine.paste(&line_for(&enrolment, &fleet, relay)?, "")?;
        machines.push(machine);
    }
    let made = fleet.json(&["token", "create", "--pool", "worker"])?;
    let token = made["token"].as_str().context("no token was printed")?;
    let door = Door { server: format!("{}:9443", fleet.servers[relay].address()), pin: fleet.door()?.pin };
    let mut worker = fleet.machine("worker")?;
    worker.run(&door, Some(token), &[])?;
    machines.push(worker);
    // A relay that dies and comes back has lost nothing, for it holds nothing.
    more_begun_than(steps_begun(&machines), &machines)?;
    fleet.servers[relay].kill_and_restart()?;
    let waited = fleet.muster(&["wait", "cluster/prod", "--for", "control-planes=1,workers=1", "--timeout", "1m"])?;
    ensure!(waited.code == 0, "{waited:?}\n{}", machines.iter().map(Machine::log).collect::<Vec<_>>().join("\n"));
    for machine in &machines {
        ensure!(hangs_on(machine, &fleet) == Some(relay), "{} is elsewhere:\n{}", machine.name(), machine.log());
    }
    let listed = fleet.list()?;
    let found = listed.iter().find(|server| server["role"] == "learner").context("no learner")?;
    ensure!(!found["hasDataKeys"].as_bool().unwrap_or(false), "{found}");
    nothing_was_done_twice(&fleet, &machines)
}
