//! A fleet under load while its servers are killed, and how long nothing was acknowledged.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::crowd::{Crowd, Pace};
use crate::{Fleet, SOON, Server, eventually};

/// Changes that show that the fleet is at work.
const AT_WORK: usize = 50;

/// What a killed leader cost.
#[derive(Clone, Copy, Debug)]
pub struct FailOver {
    /// The longest time without an acknowledged change from the kill until the killed server had caught up again.
    pub silence: Duration,
    /// How many terms began. One more than needed if two stood for election at once.
    pub terms: u64,
}

/// A fleet whose operators work all the time.
pub struct Ordeal {
    /// The fleet.
    pub fleet: Fleet,
    /// Its operators.
    pub crowd: Crowd,
    runtime: Runtime,
}

impl Ordeal {
    /// Sends operators to work.
    ///
    /// # Errors
    /// As [`Crowd::start`].
    pub fn begin(fleet: Fleet, pace: Pace) -> Result<Self> {
        let runtime = Runtime::new()?;
        let entered = runtime.enter();
        let crowd = Crowd::start(&fleet, pace)?;
        drop(entered);
        let ordeal = Self { fleet, crowd, runtime };
        ordeal.at_work()?;
        Ok(ordeal)
    }

    /// Waits until the operators get on.
    ///
    /// # Errors
    /// If they do not.
    pub fn at_work(&self) -> Result<()> {
        let begun = self.crowd.acknowledged();
        eventually("operators at work", SOON, || {
            let made = self.crowd.acknowledged() - begun;
            if made >= AT_WORK { Ok(()) } else { Err(format!("{made} changes")) }
        })
    }

    /// `kill -9` of the server that leads, under load; returns when another leads, and the killed one is back and has caught up.
    ///
    /// # Errors
    /// If any of that does not come.
    pub fn kill_leader(&mut self) -> Result<FailOver> {
        let leader = self.fleet.leader()?;
        let term = self.term()?;
        self.at_work()?;
        let struck = Instant::now();
        self.fleet.servers[leader].kill()?;
        self.fleet.leader_other_than(leader).context("after the kill")?;
        self.at_work()?;
        let server = &mut self.fleet.servers[leader];
        server.start()?;
        server.wait_ready()?;
        self.fleet.settle()?;
        self.at_work()?;
        Ok(FailOver { silence: self.crowd.longest_silence(struck), terms: self.term()? - term })
    }

    /// The latest term that any server that runs has seen. It may be a second late.
    ///
    /// # Errors
    /// If none says.
    pub fn term(&self) -> Result<u64> {
        let running = (0..self.fleet.servers.len()).filter(|number| self.fleet.servers[*number].runs());
        let terms = running.map(|number| self.fleet.term(number));
        let terms = terms.collect::<Result<Vec<f64>>>()?;
        // A term is a small whole number.
        terms.into_iter().map(|term| term as u64).max().context("no server runs")
    }

    /// Every acknowledged change is known to each of these servers. Gives how many tokens that were.
    ///
    /// # Errors
    /// If one is lost.
    pub fn nothing_is_lost(&mut self, servers: &[usize]) -> Result<usize> {
        let mut there = 0;
        for &server in servers {
            let checked = self.runtime.block_on(self.crowd.nothing_is_lost(server));
            there = checked.with_context(|| format!("at server {}", self.fleet.id(server)))?;
        }
        Ok(there)
    }

    /// Lets the operators finish, looks at all servers once more, and stops them in order. Gives how many changes were acknowledged,
    /// and how many tokens were looked for.
    ///
    /// # Errors
    /// If anything is lost, or a server does not stop well.
    pub fn end(mut self) -> Result<(usize, usize)> {
        let changes = self.runtime.block_on(self.crowd.finish())?;
        let all: Vec<usize> = (0..self.fleet.servers.len()).collect();
        let tokens = self.nothing_is_lost(&all)?;
        self.fleet.servers.iter_mut().try_for_each(Server::stop)?;
        Ok((changes, tokens))
    }
}
