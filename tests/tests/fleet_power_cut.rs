//! All servers of a fleet lose their power at the same instant: whatever any of them acknowledged is there afterwards.
//!
//! Operators make enrolment tokens on all three servers at once, through real mutual TLS and real Raft, until the power of all
//! three disks is cut at the same instant. What is left of the disks is what each had really synchronised, or that and a random
//! part of the rest; then all three start again, and every token that was acknowledged must be listed.
//!
//! More cuts: `FLEET_POWER_CUTS=1000`; `POWER_CUT_SEED` repeats a run's chance.

use anyhow::Result;
use muster_server::storage::Engine;
use muster_tests::disk::{Chance, Cut, Fault, Mains};
use muster_tests::{Fleet, Operators, SOON, Server, ServerSettings, eventually};

const SERVERS: usize = 3;
const ALL: [usize; SERVERS] = [0, 1, 2];

/// Acknowledgements seen before the plug is pulled, at most; the actual number is random.
const ACKS_BEFORE_CUT_MAX: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_on_sled_that_loses_its_power_as_a_whole_keeps_what_it_acknowledged() {
    cut_all_again_and_again(Engine::Sled).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_on_redb_that_loses_its_power_as_a_whole_keeps_what_it_acknowledged() {
    cut_all_again_and_again(Engine::Redb).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_fsync_fails_ends_at_once_and_the_others_carry_on() {
    fail_one_disk_after_another().await.unwrap();
}

/// A fleet on disks that can lose their power.
fn plugged(engine: Engine) -> Result<(Fleet, Mains, Operators)> {
    let settings = ServerSettings { engine: engine.name(), ..ServerSettings::default() };
    let mut fleet = Fleet::with(SERVERS, &settings)?;
    let (mut mains, operators) = (Mains::new()?, Operators::of(&fleet)?);
    for server in &mut fleet.servers {
        server.stop()?;
        server.plug_into(&mut mains)?;
        server.start()?;
    }
    Ok((fleet, mains, operators))
}

async fn cut_all_again_and_again(engine: Engine) -> Result<()> {
    let cuts = std::env::var("FLEET_POWER_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(25);
    let mut chance = Chance::new();
    let (mut fleet, mains, mut operators) = plugged(engine)?;
    for round in 0..cuts {
        // All of them in turn; those on the others follow as soon as they are let in.
        operators.nothing_is_lost(&fleet, &[round % SERVERS], &format!("after cut {round}")).await?;
        operators.all_answer(&fleet, &ALL).await?;
        let mut work = operators.work(&fleet, &ALL).await?;
        operators.count(&mut work, 1 + chance.below(ACKS_BEFORE_CUT_MAX)).await?;
        mains.cut()?;
        fleet.servers.iter().try_for_each(Server::kill_process)?;
        operators.until_all_gave_up(work).await;
        for server in &mut fleet.servers {
            server.kill()?;
        }
        mains.restore(if chance.coin() { Cut::Strict } else { Cut::Torn }, &mut chance)?;
        for server in &mut fleet.servers {
            server.start()?;
        }
    }
    operators.nothing_is_lost(&fleet, &ALL, "after the last cut").await?;
    let acknowledged = operators.acknowledged();
    println!("{engine}: {cuts} cuts of {SERVERS} servers at once, {acknowledged} acknowledged tokens, none lost");
    Ok(())
}

async fn fail_one_disk_after_another() -> Result<()> {
    let mut chance = Chance::new();
    let (mut fleet, _mains, mut operators) = plugged(Engine::Sled)?;
    for number in ALL {
        let others: Vec<usize> = ALL.into_iter().filter(|other| *other != number).collect();
        operators.nothing_is_lost(&fleet, &ALL, "before a disk fails").await?;
        let failing = &mut fleet.servers[number];
        failing.kill()?;
        failing.break_disk(&Fault::FailAt(60 + chance.below(60)));
        failing.start()?;
        operators.all_answer(&fleet, &ALL).await?;
        let work = operators.work(&fleet, &ALL).await?;
        eventually("its disk fails and it ends", SOON, || match fleet.servers[number].ended() {
            Ok(Some(code)) if code != 0 => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        operators.call_off(work).await;
        operators.nothing_is_lost(&fleet, &others, "while a server is gone").await?;
        let failing = &mut fleet.servers[number];
        failing.kill()?;
        failing.mend_disk();
        failing.start()?;
    }
    operators.nothing_is_lost(&fleet, &ALL, "in the end").await
}
