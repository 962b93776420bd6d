//! An enrolment token works exactly once, however many come with it at the same time and whatever dies meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use muster_tests::raw::{Answer, Applicant, Conversation};
use muster_tests::{ClusterFile, Fleet, SOON, Server, eventually_async};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Machines that come with the same token.
const REDEEMERS: usize = 64;

/// Whoever machines come to.
trait Doors: Send + Sync + 'static {
    /// The server that a machine comes to.
    fn of(&self, machine: usize) -> &Server;
}

impl Doors for Server {
    fn of(&self, _: usize) -> &Server {
        self
    }
}

/// A fleet, without the servers that are dead.
struct Living {
    fleet: Fleet,
    dead: Option<usize>,
}

impl Doors for Living {
    fn of(&self, machine: usize) -> &Server {
        let count = self.fleet.servers.len();
        let at = machine % count;
        &self.fleet.servers[if self.dead == Some(at) { (at + 1) % count } else { at }]
    }
}

fn server_and_token() -> Result<(Server, String)> {
    let server = Server::founded()?;
    ClusterFile::new("prod").pool("worker", "worker", "token", &[]).apply(&server)?;
    let made = server.json(&["token", "create", "--pool", "worker"])?;
    let token = made["token"].as_str().map(str::to_owned).context("no token was printed")?;
    Ok((server, token))
}

fn applicants() -> Result<Vec<Arc<Applicant>>> {
    (0..REDEEMERS).map(|number| Ok(Arc::new(Applicant::new(&format!("machine-{number}"))?))).collect()
}

/// Lets all come at once; gives the answers, or what broke, in their order.
async fn all_at_once(
    server: &Arc<impl Doors>,
    machines: &[Arc<Applicant>],
    token: &str,
) -> Result<Vec<Result<Answer>>> {
    let (_told, at_once) = watch::channel(true);
    half_when_told(server, machines, token, at_once).await
}

/// The same, but every other machine hears its challenge and then waits with its proof until it is told.
async fn half_when_told(
    server: &Arc<impl Doors>,
    machines: &[Arc<Applicant>],
    token: &str,
    told: watch::Receiver<bool>,
) -> Result<Vec<Result<Answer>>> {
    let mut tasks = JoinSet::new();
    for (number, machine) in machines.iter().enumerate() {
        let (server, machine, token, mut told) = (server.clone(), machine.clone(), token.to_owned(), told.clone());
        tasks.spawn(async move {
            let answer = async {
                let mut conversation = Conversation::open(server.of(number)).await?;
                if number % 2 == 1 {
                    told.wait_for(|told| *told).await?;
                }
                let proof = machine.proof(&conversation.challenge, &token)?;
                conversation.prove(proof).await
            };
            (number, answer.await)
        });
    }
    let mut answers: Vec<(usize, Result<Answer>)> = tasks.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// Who got in.
fn issued(answers: &[Result<Answer>]) -> BTreeSet<usize> {
    (0..answers.len()).filter(|at| matches!(answers[*at], Ok(Answer::Issued(_)))).collect()
}

/// The winner is the same as before, and nobody else got in.
fn one_winner(early: &BTreeSet<usize>, answers: &[Result<Answer>]) -> Result<usize> {
    let late = issued(answers);
    assert_eq!(late.len(), 1, "{late:?}");
    assert!(early.is_subset(&late), "{early:?} got in before the kill, {late:?} after");
    for answer in answers {
        let word = answer.as_ref().map(Answer::word).unwrap_or("(broken)");
        assert!(matches!(word, "(issued)" | "TokenSpent"), "{word}");
    }
    late.first().copied().context("nobody won")
}

/// One machine is a node, by this token; nobody else is anything.
fn one_node(server: &Server, winner: &Applicant) -> Result<()> {
    let nodes = server.nodes()?;
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    assert_eq!(nodes[0]["keyFingerprint"], winner.fingerprint(), "{nodes:?}");
    let tokens = server.json(&["token", "list"])?;
    assert_eq!(
        (&tokens["items"][0]["state"], tokens["items"][0]["usesLeft"].as_u64().unwrap_or_default()),
        (&"Spent".into(), 0)
    );
    let used = server.events()?.into_iter().filter(|event| event["reason"] == "TokenUsed").count();
    assert_eq!(used, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_machines_that_come_with_one_token_at_once_exactly_one_gets_in() -> Result<()> {
    let (server, token) = server_and_token()?;
    let (server, machines) = (Arc::new(server), applicants()?);
    let answers = all_at_once(&server, &machines, &token).await?.into_iter().collect::<Result<Vec<_>>>()?;
    let winners: Vec<usize> = (0..REDEEMERS).filter(|at| matches!(answers[*at], Answer::Issued(_))).collect();
    assert_eq!(winners.len(), 1, "{:?}", answers.iter().map(Answer::word).collect::<Vec<_>>());
    let losers: BTreeSet<&str> = answers.iter().map(Answer::word).filter(|word| *word != "(issued)").collect();
    assert_eq!(losers, BTreeSet::from(["TokenSpent"]));
    one_node(&server, &machines[winners[0]])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_while_64_redeem_one_token_lets_in_no_second_one() -> Result<()> {
    let (server, token) = server_and_token()?;
    let (mut server, machines) = (Arc::new(server), applicants()?);
    let (tell, told) = watch::channel(false);
    let first = half_when_told(&server, &machines, &token, told);
    // Some answers are out by then, and as many machines send their proofs at the very moment of the kill.
    let (victim, log) = (Arc::clone(&server), server.log_file());
    let killed = async move {
        let refused = eventually_async("the first refusal", SOON, async || {
            let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
            if text.contains("TokenSpent") { Ok(()) } else { Err("none".to_owned()) }
        });
        refused.await?;
        tell.send_replace(true);
        victim.kill_process()
    };
    let (answers, killed) = tokio::join!(first, killed);
    killed?;
    let answers = answers?;
    let early = issued(&answers);
    let broken = answers.iter().filter(|answer| answer.is_err()).count();
    println!("{} got in before the kill, {broken} got no answer", early.len());
    assert!(early.len() <= 1 && broken > 0, "{early:?} got in, {broken} got no answer");

    let restarted = Arc::get_mut(&mut server).context("somebody still uses the server")?;
    restarted.kill_and_restart()?;
    // Everybody comes again with the same key and the same token: the winner gets the same answer, nobody else any.
    let answers = all_at_once(&server, &machines, &token).await?;
    one_node(&server, &machines[one_winner(&early, &answers)?])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_while_64_redeem_one_token_on_three_servers_lets_in_no_second_one() -> Result<()> {
    let fleet = Fleet::of(3)?;
    ClusterFile::new("prod").pool("worker", "worker", "token", &[]).apply(&fleet.servers[0])?;
    let made = fleet.json(&["token", "create", "--pool", "worker"])?;
    let token = made["token"].as_str().map(str::to_owned).context("no token was printed")?;
    let leader = fleet.leader()?;
    let (mut living, machines) = (Arc::new(Living { fleet, dead: None }), applicants()?);
    let (tell, told) = watch::channel(false);
    let first = half_when_told(&living, &machines, &token, told);
    let victim = Arc::clone(&living);
    let killed = async move {
        let refused = eventually_async("the first refusal", SOON, async || {
            let said = victim.fleet.servers.iter().any(|server| server.log().contains("TokenSpent"));
            if said { Ok(()) } else { Err("none".to_owned()) }
        });
        refused.await?;
        tell.send_replace(true);
        victim.fleet.servers[leader].kill_process()
    };
    let (answers, killed) = tokio::join!(first, killed);
    killed?;
    let answers = answers?;
    let early = issued(&answers);
    let broken = answers.iter().filter(|answer| answer.is_err()).count();
    println!("{} got in before the kill or over it, {broken} got no answer", early.len());
    assert!(early.len() <= 1 && broken > 0, "{early:?} got in, {broken} got no answer");

    // The two others let the same machines come again, with the same keys.
    Arc::get_mut(&mut living).context("somebody still uses the fleet")?.dead = Some(leader);
    let answers = all_at_once(&living, &machines, &token).await?;
    let winner = one_winner(&early, &answers)?;
    let living = Arc::get_mut(&mut living).context("somebody still uses the fleet")?;
    living.fleet.servers[leader].kill_and_restart()?;
    one_node(&living.fleet.servers[0], &machines[winner])
}
