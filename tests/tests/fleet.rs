//! Whole fleets of rehearsed machines, from a cluster file to Ready.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use muster_tests::{ClusterFile, Enrolment, Machine, SOON, Server, eventually};

fn three_and_three() -> ClusterFile {
    ClusterFile::new("prod").pool("cp", "control-plane", "bound", &["cp-1", "cp-2", "cp-3"]).pool(
        "worker",
        "worker",
        "bound",
        &["worker-1", "worker-2", "worker-3"],
    )
}

/// A control plane's agent stays attached: it is the cluster's custodian. A worker's may end.
fn until_when(enrolment: &Enrolment) -> &'static str {
    if enrolment.role == "worker" { "--once" } else { "" }
}

fn machines(server: &Server, lines: &[Enrolment]) -> Result<Vec<(Machine, Enrolment)>> {
    lines.iter().map(|enrolment| Ok((server.machine(&enrolment.node)?, enrolment.clone()))).collect()
}

#[test]
fn the_printed_lines_alone_bring_a_fleet_of_three_control_planes_and_three_workers_to_ready() -> Result<()> {
    let server = Server::founded()?;
    let lines = three_and_three().apply(&server)?;
    assert_eq!(lines.len(), 6, "{lines:?}");
    let mut machines = machines(&server, &lines)?;
    for (machine, enrolment) in &mut machines {
        machine.paste(&enrolment.line, until_when(enrolment))?;
    }
    let waited = server.muster(&["wait", "cluster/prod", "--for", "control-planes=3,workers=3", "--timeout", "2m"])?;
    assert_eq!(waited.code, 0, "{waited:?}");
    for (machine, enrolment) in &mut machines {
        if enrolment.role == "control-plane" {
            assert_eq!(machine.ended()?, None, "{} left its cluster:\n{}", machine.name(), machine.log());
            continue;
        }
        let code = machine.wait_end(SOON)?;
        assert_eq!(code, 0, "{} ended with {code}:\n{}", machine.name(), machine.log());
        assert!(machine.log().contains("is Ready, and the server has recorded it"), "{}", machine.log());
    }
    let table = server.done(&["get", "nodes"])?;
    assert_eq!(table.matches("Ready (rehearsed)").count(), 6, "{table}");
    for node in server.nodes()? {
        assert_eq!((node["phase"].as_str(), node["rehearsed"].as_bool()), (Some("Ready"), Some(true)), "{node}");
        assert_eq!(node["assurance"], "Bound", "{node}");
    }
    let cluster = server.json(&["get", "clusters", "prod"])?;
    let cluster = cluster["items"].get(0).unwrap_or(&cluster);
    assert_eq!(
        (cluster["controlPlanesReady"].as_u64(), cluster["workersReady"].as_u64()),
        (Some(3), Some(3)),
        "{cluster}"
    );
    one_after_the_other(&server)?;
    let missing = server.muster(&["wait", "node/cp-1", "--for", "phase=Failed", "--timeout", "1s"])?;
    assert_eq!(missing.code, 7, "{missing:?}");
    Ok(())
}

/// No two nodes were in a step that must be serial at the same time.
fn one_after_the_other(server: &Server) -> Result<()> {
    let mut spans = Vec::new();
    for node in server.nodes()? {
        let timeline = node["timeline"].as_array().cloned().unwrap_or_default();
        for span in
            timeline.iter().filter(|span| matches!(span["phase"].as_str(), Some("JoiningEtcd" | "Initialising")))
        {
            let ms = |key: &str| span[key].as_str().and_then(|text| text.parse::<u64>().ok());
            let (from, to) = ms("enteredUnixMs").zip(ms("leftUnixMs")).with_context(|| format!("no span: {span}"))?;
            spans.push((from, to, node["name"].to_string()));
        }
    }
    spans.sort();
    assert_eq!(spans.len(), 3, "{spans:?}");
    for pair in spans.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two at once: {spans:?}");
    }
    Ok(())
}

/// How often something dies. Each time is as soon as some agent has begun a step since the last.
const ROUNDS: usize = 10;

#[test]
fn a_fleet_gets_ready_and_repeats_no_finished_step_while_servers_and_agents_are_killed() -> Result<()> {
    let mut server = Server::founded()?;
    let lines = three_and_three().apply(&server)?;
    let mut machines = machines(&server, &lines)?;
    for (machine, enrolment) in &mut machines {
        machine.paste(&enrolment.line, "")?;
    }
    let (mut chance, mut kills, mut begun) = (Chance::new(), 0, vec![0; machines.len()]);
    for round in 0..ROUNDS {
        let before = begun.clone();
        begun = more_begun_than(&before, &machines)?;
        if round == 3 || round == 7 {
            server.kill_and_restart()?;
            continue;
        }
        for (at, (machine, enrolment)) in machines.iter_mut().enumerate() {
            // Whoever has just begun is in the middle of it.
            if (begun[at] > before[at] || chance.coin()) && machine.kill()? {
                kills += 1;
                machine.paste(&enrolment.line, "")?;
            }
        }
    }
    let waited = server.muster(&["wait", "cluster/prod", "--for", "control-planes=3,workers=3", "--timeout", "2m"])?;
    assert_eq!(waited.code, 0, "{waited:?}\n{}", server.done(&["get", "nodes", "-o", "wide"])?);
    for (machine, _) in &machines {
        let rehearsed = machine.rehearsed();
        let once: BTreeSet<&String> = rehearsed.iter().collect();
        assert_eq!(once.len(), rehearsed.len(), "{} did something twice: {rehearsed:?}", machine.name());
        assert!(!rehearsed.is_empty(), "{} did nothing", machine.name());
    }
    let interrupted: usize = machines.iter().map(|(machine, _)| machine.log().matches("was interrupted").count()).sum();
    println!("{kills} agents killed, {interrupted} times in the middle of a step; the server twice");
    assert!(kills >= ROUNDS / 2 && interrupted > 0, "{kills} kills, {interrupted} in a step: nothing was tried");
    Ok(())
}

/// Waits until some machine has begun more steps than `before` (or all are Ready), and gives how many each has begun.
fn more_begun_than(before: &[usize], machines: &[(Machine, Enrolment)]) -> Result<Vec<usize>> {
    eventually("another step", SOON, || {
        let logs: Vec<String> = machines.iter().map(|(machine, _)| machine.log()).collect();
        let begun: Vec<usize> = logs.iter().map(|log| log.matches("step begins").count()).collect();
        let over = logs.iter().all(|log| log.contains("joined and Ready"));
        let more = begun.iter().zip(before).any(|(now, then)| now > then);
        if more || over { Ok(begun) } else { Err(format!("{begun:?} steps were begun")) }
    })
}

/// Repeatable chance (splitmix64): `SCENARIO_SEED` repeats a run as far as timing allows.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let seed = std::env::var("SCENARIO_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(u64::from(now));
        println!("SCENARIO_SEED={seed}");
        Self(seed)
    }

    fn coin(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) & 1 == 1
    }
}
