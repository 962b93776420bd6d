//! Carries out the faults of a plan: each begins, lasts, and is made good.

use std::sync::Arc;
use std::time::Duration;

use super::group::Group;
use super::plan::{Fault, Kind, Victim};
use super::server::Server;
use super::weather::Rule;

/// How long a hand-over may take.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(8);

/// Tries to take a replaced server out before the end of the run does it.
const REMOVALS: usize = 40;

/// Begins a fault at its time, and ends it. `number` tells it from the others of the run.
pub async fn bring(group: Arc<Group>, number: u64, fault: Fault) {
    tokio::time::sleep(Duration::from_millis(fault.at_ms)).await;
    group.journal.note(format_args!("fault {number} begins: {:?}", fault.kind));
    let lasts = Duration::from_millis(fault.lasts_ms);
    match fault.kind {
        Kind::Split { .. } | Kind::OneWay { .. } | Kind::Storm { .. } => {
            group.network.set(number, rule(&group, &fault.kind));
            tokio::time::sleep(lasts).await;
            group.network.lift(number);
        }
        Kind::Kill { victim } => crash(&group, &[group.victim(victim)], usize::MAX, lasts).await,
        Kind::PowerCut { victim, more, kept } => crash(&group, &group.victims(victim, more), kept, lasts).await,
        Kind::Pause { victim } => pause(&group.victim(victim), lasts).await,
        Kind::ClockStep { victim, by_ms } => {
            let server = group.victim(victim);
            server.clock.step(by_ms);
            tokio::time::sleep(lasts).await;
            server.clock.step(-by_ms);
        }
        Kind::SlowDisk { victim, most_ms } => {
            let server = group.victim(victim);
            server.set_slow(Some(Duration::from_millis(most_ms)));
            tokio::time::sleep(lasts).await;
            server.set_slow(None);
        }
        Kind::FullDisk { victim } => {
            let server = group.victim(victim);
            server.disk.set_full(true);
            tokio::time::sleep(lasts).await;
            server.disk.set_full(false);
        }
        Kind::HandOver { to } => hand_over(&group, to).await,
        Kind::Snapshot { victim } => snapshot(&group, victim).await,
        Kind::Replace { victim, out_of_turn } => replace(&group, &group.victim(victim), out_of_turn).await,
        Kind::Demote { victim } => {
            let id = group.victim(victim).id;
            let votes = group.wanted().contains(&id);
            group.change_wanted(Some(id), None);
            tokio::time::sleep(lasts).await;
            // It may have been replaced meanwhile.
            let stays = group.servers().iter().any(|server| server.id == id);
            group.change_wanted(None, Some(id).filter(|_| votes && stays));
        }
    }
    group.journal.note(format_args!("fault {number} ends"));
}

fn rule(group: &Group, kind: &Kind) -> Rule {
    match kind {
        Kind::Split { victim, more } => {
            Rule::Split(group.victims(*victim, *more).iter().map(|server| server.id).collect())
        }
        Kind::OneWay { victim, deaf: true } => Rule::Deaf(group.victim(*victim).id),
        Kind::OneWay { victim, .. } => Rule::Mute(group.victim(*victim).id),
        Kind::Storm { lost_percent, doubled_percent, delay_ms } => Rule::Storm {
            lost_percent: *lost_percent,
            doubled_percent: *doubled_percent,
            delay: Duration::from_millis((*delay_ms).max(3)),
        },
        other => unreachable!("{} is no fault of the network", other.name()),
    }
}

async fn crash(group: &Group, servers: &[Arc<Server>], kept: usize, lasts: Duration) {
    for server in servers {
        group.journal.note(format_args!("server {} goes down", server.id));
        server.crash(kept);
    }
    tokio::time::sleep(lasts).await;
    for server in servers {
        server.release();
        group.start(server).await;
    }
}

async fn pause(server: &Server, lasts: Duration) {
    let process = server.process();
    process.iter().for_each(|process| process.stop());
    tokio::time::sleep(lasts).await;
    process.iter().for_each(|process| process.go_on());
}

async fn hand_over(group: &Group, to: usize) {
    let (Some(leader), to) = (group.leader(), group.at(to).id) else { return };
    let handed = leader.ask(HAND_OVER_WITHIN, move |consensus| async move { consensus.hand_over_leadership(to).await });
    let handed = handed.await;
    group.journal.note(format_args!("server {} hands over to server {to}: {handed:?}", leader.id));
}

async fn snapshot(group: &Group, victim: Victim) {
    let server = group.victim(victim);
    let asked = server.ask(Duration::from_secs(1), |consensus| async move { consensus.trigger_snapshot().await });
    asked.await;
}

/// A new server comes, an old one goes for good.
async fn replace(group: &Group, leaves: &Arc<Server>, out_of_turn: bool) {
    if group.wanted().len() < 3 && group.wanted().contains(&leaves.id) {
        return;
    }
    let comes = group.add_server(out_of_turn);
    group.start(&comes).await;
    let votes = group.wanted().contains(&leaves.id);
    group.change_wanted(Some(leaves.id), Some(comes.id).filter(|_| votes));
    for _ in 0..REMOVALS {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if leaves.is_gone() || group.remove(leaves).await {
            return;
        }
    }
}
