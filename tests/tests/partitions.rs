//! Networks that fail between real servers, and a leader that stands still: a pause, and nothing else.
//!
//! Each time operators make tokens and machines come to all servers with one token that is good once, before, during and after
//! the fault. No acknowledged write is lost, exactly one of the machines gets in, those who can form a majority go on without the
//! others, and afterwards all servers serve again.
//!
//! The faults of the network are the kernel's; where they are not allowed, standard error has a line `skipped: …`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use muster_tests::network::{Faults, Network};
use muster_tests::raw::{Answer, Applicant};
use muster_tests::{Fleet, Operators, SOON, eventually, eventually_async};

const ALL: [usize; 3] = [0, 1, 2];

/// Acknowledgements that are waited for before, during and after a fault.
const ACKS: u64 = 15;

/// How long a machine waits for a server that may be cut off.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_acknowledges_nothing_and_the_others_go_on() -> Result<()> {
    let Some(network) = Network::new(3)? else { return Ok(()) };
    let mut ground = Ground::new(Fleet::on(&network, 3)?)?;
    let leader = ground.leader()?;
    ground.begin("the leader is cut off").await?;
    network.set(&Faults::default().cut_off(leader, &others(leader)))?;
    ground.go_on_at(&others(leader)).await?;
    // A leader that is alone takes the command into its log, and its caller's time runs out.
    let (late, status) = ground.operators.be_refused(&ground.fleet.servers[leader]).await?;
    ensure!(status.message().starts_with("no server leads"), "{status:?}");
    network.heal()?;
    ground.end().await?;
    for server in &ground.fleet.servers {
        ensure!(!ground.operators.lists(server, &late).await?, "{late} was refused, and came back");
    }

    let follower = others(ground.leader()?)[0];
    ground.begin("a follower is cut off").await?;
    network.set(&Faults::default().cut_off(follower, &others(follower)))?;
    ground.go_on_at(&others(follower)).await?;
    network.heal()?;
    ground.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_works_one_way_only_does_no_harm() -> Result<()> {
    let Some(network) = Network::new(3)? else { return Ok(()) };
    let mut ground = Ground::new(Fleet::on(&network, 3)?)?;
    for (what, severed) in [("nobody hears the leader", 0), ("the leader hears nobody", 1)] {
        let leader = ground.leader()?;
        let [one, other] = others(leader);
        let faults = match severed {
            0 => Faults::default().one_way(leader, one).one_way(leader, other),
            _ => Faults::default().one_way(one, leader).one_way(other, leader),
        };
        ground.begin(what).await?;
        network.set(&faults)?;
        ground.go_on_at(&[one, other]).await?;
        network.heal()?;
        ground.end().await?;
    }
    let leader = ground.leader()?;
    let [one, other] = others(leader);
    ground.begin("one follower does not hear the leader").await?;
    network.set(&Faults::default().one_way(leader, one))?;
    ground.go_on_at(&[leader, other]).await?;
    network.heal()?;
    ground.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_loses_and_delays_packets_costs_time_only() -> Result<()> {
    let Some(network) = Network::new(3)? else { return Ok(()) };
    let mut ground = Ground::new(Fleet::on(&network, 3)?)?;
    ground.begin("one packet in ten is lost").await?;
    network.set(&Faults::default().loss(10))?;
    ground.go_on_at(&ALL).await?;
    network.heal()?;
    ground.end().await?;
    ground.begin("all packets are late").await?;
    network.slow_down()?;
    ground.go_on_at(&ALL).await?;
    network.heal()?;
    ground.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_finds_another_in_its_place_and_follows() -> Result<()> {
    let mut ground = Ground::new(Fleet::of(3)?)?;
    for _ in 0..2 {
        let leader = ground.leader()?;
        ground.begin("the leader stands still").await?;
        ground.fleet.servers[leader].pause()?;
        ground.go_on_at(&others(leader)).await?;
        let next = ground.fleet.leader_other_than(leader)?;
        let term = ground.fleet.term(next)?;
        ground.fleet.servers[leader].go_on()?;
        ground.end().await?;
        eventually("it is in the term of the next", SOON, || match ground.fleet.term(leader) {
            Ok(now) if now >= term => Ok(()),
            now => Err(format!("{now:?} of {term}")),
        })?;
    }
    Ok(())
}

fn others(than: usize) -> [usize; 2] {
    [(than + 1) % 3, (than + 2) % 3]
}

/// A fleet under faults, with all that must hold.
struct Ground {
    fleet: Fleet,
    operators: Operators,
    /// The fault of the moment.
    what: String,
    race: Option<Race>,
}

impl Ground {
    fn new(fleet: Fleet) -> Result<Self> {
        let operators = Operators::of(&fleet)?;
        Ok(Self { fleet, operators, what: String::new(), race: None })
    }

    fn leader(&self) -> Result<usize> {
        self.fleet.leader()
    }

    /// All serve, and machines are about to come.
    async fn begin(&mut self, what: &str) -> Result<()> {
        what.clone_into(&mut self.what);
        self.operators.nothing_is_lost(&self.fleet, &ALL, &format!("before: {what}")).await?;
        self.race = Some(Race::new(&self.fleet)?);
        let mut work = self.operators.work(&self.fleet, &ALL).await?;
        self.operators.count(&mut work, ACKS).await?;
        self.operators.call_off(work).await;
        Ok(())
    }

    /// Under the fault, these servers acknowledge; machines come to all.
    async fn go_on_at(&mut self, serving: &[usize]) -> Result<()> {
        let (what, began) = (self.what.clone(), Instant::now());
        let race = self.race.as_mut().context("nothing was begun")?;
        let (came, worked) = tokio::join!(race.come(&self.fleet), async {
            self.operators.nothing_is_lost(&self.fleet, &serving[..1], &what).await?;
            println!("{what}: the next acknowledgement after {:?}", began.elapsed());
            self.operators.nothing_is_lost(&self.fleet, &serving[1..], &what).await?;
            let mut work = self.operators.work(&self.fleet, serving).await?;
            self.operators.count(&mut work, ACKS).await?;
            self.operators.call_off(work).await;
            anyhow::Ok(())
        });
        came?;
        worked.with_context(|| what)
    }

    /// The fault is gone: all serve, and one machine is in.
    async fn end(&mut self) -> Result<()> {
        let began = Instant::now();
        self.operators.nothing_is_lost(&self.fleet, &ALL, &format!("after: {}", self.what)).await?;
        println!("{}: all serve again after {:?}", self.what, began.elapsed());
        let mut race = self.race.take().context("nothing was begun")?;
        let fleet = &self.fleet;
        eventually_async("all machines have an answer", SOON, async || {
            let unanswered = race.come(fleet).await.map_err(|error| format!("{error:#}"))?;
            if unanswered == 0 { Ok(()) } else { Err(format!("{unanswered} have none")) }
        })
        .await
        .with_context(|| self.what.clone())?;
        ensure!(race.winners.len() == 1, "{}: {:?} got in with one token", self.what, race.winners);
        Ok(())
    }
}

/// Machines that come with the same token, which is good once.
struct Race {
    token: String,
    machines: Vec<Applicant>,
    /// All who ever got in.
    winners: BTreeSet<usize>,
}

impl Race {
    fn new(fleet: &Fleet) -> Result<Self> {
        let made = fleet.json(&["token", "create", "--pool", "worker"])?;
        let token = made["token"].as_str().context("no token was printed")?.to_owned();
        let machines = ALL.map(|number| Applicant::new(&format!("{token}-{number}")));
        Ok(Self { token, machines: machines.into_iter().collect::<Result<_>>()?, winners: BTreeSet::new() })
    }

    /// All come at once, one to each server, with the key that it always had; gives how many got no answer.
    async fn come(&mut self, fleet: &Fleet) -> Result<usize> {
        let (first, second, third) = tokio::join!(self.one(fleet, 0), self.one(fleet, 1), self.one(fleet, 2));
        let mut unanswered = 0;
        for (number, answer) in [first, second, third].into_iter().enumerate() {
            match answer {
                Ok(Answer::Issued(_)) => drop(self.winners.insert(number)),
                Ok(Answer::Refused(refused)) if refused.reason == "TokenSpent" => {}
                Ok(Answer::Refused(refused)) if !refused.retryable => bail!("{}: {}", refused.reason, refused.message),
                _ => unanswered += 1,
            }
        }
        Ok(unanswered)
    }

    async fn one(&self, fleet: &Fleet, number: usize) -> Result<Answer> {
        // Large, and moved only once.
        let enrolment = Box::pin(self.machines[number].enrol(&fleet.servers[number], &self.token));
        tokio::time::timeout(ANSWER_WITHIN, enrolment).await?
    }
}
