//! A thousand agents hang on one server, which dies: all come back to the others at the same moment, and that costs no leader.
//!
//! They are clients of the agents' protocol with keys, certificates and connections of their own, without the pauses with which
//! real agents spread over time. More: `AGENTS=5000`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_tests::raw::{Applicant, Attached, Certified};
use muster_tests::{ClusterFile, Fleet, WHILE};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Machines that enrol, or attach for the first time, at the same moment.
const TOGETHER: usize = 48;

/// Before a machine that was not let in comes again; much less than what an agent waits.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A machine that was admitted.
struct Agent {
    machine: Applicant,
    node: Certified,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_agents_that_come_back_at_once_cost_no_leader() -> Result<()> {
    let count = std::env::var("AGENTS").ok().and_then(|count| count.parse().ok()).unwrap_or(1000);
    let fleet = Arc::new(Fleet::of(3)?);
    ClusterFile::new("prod").pool("worker", "worker", "token", &[]).apply(&fleet.servers[0])?;
    let began = Instant::now();
    let agents = enrolled(&fleet, count).await?;
    println!("{count} enrolled in {:?}", began.elapsed());

    let leader = fleet.leader()?;
    let [victim, other] = [(leader + 1) % 3, (leader + 2) % 3];
    let attaching = Instant::now();
    let streams = attached(&fleet, &agents, victim).await?;
    println!("{count} attached to one server in {:?}", attaching.elapsed());
    let before = led_by(&fleet)?;

    fleet.servers[victim].kill_process()?;
    let (killed, mut coming) = (Instant::now(), JoinSet::new());
    for (number, mut stream) in streams.into_iter().enumerate() {
        let (fleet, agents) = (fleet.clone(), agents.clone());
        coming.spawn(async move {
            // It ends without a word.
            while stream.instruction().await.is_ok() {}
            let agent = &agents[number];
            for next in [leader, other].into_iter().cycle().skip(number % 2) {
                let server = &fleet.servers[next];
                if let Ok(mut stream) = Attached::open(server, &agent.node, &agent.machine).await
                    && stream.instruction().await.is_ok()
                {
                    return stream;
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            unreachable!("there is always a next server")
        });
    }
    let streams = tokio::time::timeout(WHILE, coming.join_all()).await.context("not all are back")?;
    println!("{} have their instruction again {:?} after the kill", streams.len(), killed.elapsed());
    ensure!(led_by(&fleet)? == before, "{before:?} led before, {:?} after", led_by(&fleet)?);
    Ok(())
}

/// Id of the leader, and its term.
fn led_by(fleet: &Fleet) -> Result<(String, String)> {
    let status = fleet.json(&["status"])?;
    let text = |field: &str| status[field].as_str().map(str::to_owned).with_context(|| format!("no {field}: {status}"));
    Ok((text("leaderId")?, text("raftTerm")?))
}

async fn enrolled(fleet: &Arc<Fleet>, count: usize) -> Result<Arc<Vec<Agent>>> {
    let made = fleet.json(&["token", "create", "--pool", "worker", "--uses", &count.to_string()])?;
    let token: Arc<str> = made["token"].as_str().context("no token was printed")?.into();
    let (turns, mut enrolling) = (Arc::new(Semaphore::new(TOGETHER)), JoinSet::new());
    for number in 0..count {
        let (fleet, token, turns) = (fleet.clone(), token.clone(), turns.clone());
        enrolling.spawn(async move {
            let _turn = turns.acquire().await?;
            let machine = Applicant::new(&format!("agent-{number}"))?;
            let node = machine.admitted(&fleet.servers[number % fleet.servers.len()], &token).await?;
            anyhow::Ok(Agent { machine, node })
        });
    }
    Ok(Arc::new(enrolling.join_all().await.into_iter().collect::<Result<_>>()?))
}

/// A stream for each, in their order.
async fn attached(fleet: &Arc<Fleet>, agents: &Arc<Vec<Agent>>, server: usize) -> Result<Vec<Attached>> {
    let (turns, mut attaching) = (Arc::new(Semaphore::new(TOGETHER)), JoinSet::new());
    for number in 0..agents.len() {
        let (fleet, agents, turns) = (fleet.clone(), agents.clone(), turns.clone());
        attaching.spawn(async move {
            let _turn = turns.acquire().await?;
            let agent = &agents[number];
            let mut stream = Attached::open(&fleet.servers[server], &agent.node, &agent.machine).await?;
            stream.instruction().await?;
            anyhow::Ok((number, stream))
        });
    }
    let mut streams = attaching.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    streams.sort_by_key(|(number, _)| *number);
    Ok(streams.into_iter().map(|(_, stream)| stream).collect())
}
