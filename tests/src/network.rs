//! A network of our own: one network namespace per host, wired by veth to a bridge in a namespace in their midst, and a wire from
//! there to this process. Faults are packet filters and queues of the kernel, so that real sockets meet them.
//!
//! ```text
//! this process (.254) ──┐
//! host 0 (.1) ──────────┤ bridge
//! host 1 (.2) ──────────┘
//! ```
//!
//! Faults lie between hosts only: this process reaches all of them always. Wants root, `ip` and `nft`; see [`Network::new`].

mod faults;
mod tools;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::command;

pub use faults::Faults;
use tools::{ip, is_process, nft, tc, tool, why_not};

/// Networks that this machine has at a time, at most: the third byte of their addresses.
const NETWORKS_MAX: u8 = 250;

/// A slow line where the kernel has no `netem`: what waits for its turn waits for so long at most.
const SLOW_LINE: [&str; 7] = ["tbf", "rate", "2mbit", "burst", "4000", "latency", "300ms"];

/// A host of a [`Network`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The network namespace that its processes run in.
    pub namespace: String,
    /// Its address there.
    pub address: Ipv4Addr,
}

/// A network. Dropping it removes it; what runs in it must be dead by then.
#[derive(Debug)]
pub struct Network {
    /// Of everything that it has made.
    name: String,
    third: u8,
    hosts: usize,
}

impl Network {
    /// A network of so many hosts; none, with the reason on standard error, on a machine that does not allow it.
    ///
    /// # Errors
    /// If it should be allowed and does not work.
    pub fn new(hosts: usize) -> Result<Option<Self>> {
        if let Some(why) = why_not() {
            crate::skipped(&format!("faults of a real network: {why}"));
            return Ok(None);
        }
        remove_leftovers()?;
        let network = Self::named(hosts)?;
        network.build().with_context(|| format!("the network {}", network.name))?;
        Ok(Some(network))
    }

    /// Takes a number that nobody has: making a network device is exclusive.
    fn named(hosts: usize) -> Result<Self> {
        for third in 0..NETWORKS_MAX {
            let ours = wire(third);
            if ip(&["link", "add", &ours, "type", "veth", "peer", "name", &format!("{ours}x")]).is_ok() {
                return Ok(Self { name: format!("muster-{}-{third}", std::process::id()), third, hosts });
            }
        }
        bail!("all {NETWORKS_MAX} networks are taken")
    }

    fn namespace(&self, host: usize) -> String {
        format!("{}-{host}", self.name)
    }

    fn address(&self, host: usize) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.third, u8::try_from(host + 1).unwrap_or(u8::MAX))
    }

    fn build(&self) -> Result<()> {
        let (hub, wire) = (self.name.as_str(), wire(self.third));
        let inner = format!("{wire}x");
        ip(&["netns", "add", hub])?;
        ip(&["link", "set", &inner, "netns", hub])?;
        ip(&["-n", hub, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", hub, "link", "set", "bridge", "up"])?;
        ip(&["-n", hub, "link", "set", &inner, "master", "bridge", "up"])?;
        ip(&["address", "add", &format!("198.18.{}.254/24", self.third), "dev", &wire])?;
        ip(&["link", "set", &wire, "up"])?;
        (0..self.hosts).try_for_each(|host| self.add_host(host))
    }

    fn add_host(&self, host: usize) -> Result<()> {
        let (hub, own, port) = (self.name.as_str(), self.namespace(host), format!("port{host}"));
        ip(&["netns", "add", &own])?;
        ip(&["-n", hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &own])?;
        ip(&["-n", hub, "link", "set", &port, "master", "bridge", "up"])?;
        ip(&["-n", &own, "address", "add", &format!("{}/24", self.address(host)), "dev", "eth0"])?;
        ip(&["-n", &own, "link", "set", "eth0", "up"])?;
        ip(&["-n", &own, "link", "set", "lo", "up"])
    }

    /// Where a host is.
    pub fn place(&self, host: usize) -> Place {
        Place { namespace: self.namespace(host), address: self.address(host) }
    }

    /// Puts these faults in the place of all others.
    ///
    /// # Errors
    /// If the kernel does not take them.
    pub fn set(&self, faults: &Faults) -> Result<()> {
        let addresses: Vec<Ipv4Addr> = (0..self.hosts).map(|host| self.address(host)).collect();
        (0..self.hosts).try_for_each(|host| nft(&self.namespace(host), &faults.filter(host, &addresses)))
    }

    /// Slows all lines down: 40 ± 20 ms for each packet with the kernel's `netem`, and where it has none, with a word on standard
    /// error, a line of two megabits on which packets wait for those before them.
    ///
    /// # Errors
    /// If the kernel knows neither.
    pub fn slow_down(&self) -> Result<()> {
        let netem = ["netem", "delay", "40ms", "20ms"];
        if self.queue(&netem).is_err() {
            crate::skipped("delay by netem: this kernel has none; a slow line takes its place");
            self.queue(&SLOW_LINE)?;
        }
        Ok(())
    }

    fn queue(&self, discipline: &[&str]) -> Result<()> {
        (0..self.hosts).try_for_each(|host| {
            tc(&[&["-n", &self.namespace(host), "qdisc", "replace", "dev", "eth0", "root"], discipline].concat())
        })
    }

    /// Takes all faults away.
    ///
    /// # Errors
    /// If the kernel does not let it.
    pub fn heal(&self) -> Result<()> {
        self.set(&Faults::default())?;
        self.queue(&["pfifo", "limit", "1000"])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The devices go with their namespaces, and the wire with the hub's end of it.
        for host in 0..self.hosts {
            let _ = ip(&["netns", "delete", &self.namespace(host)]);
        }
        let _ = ip(&["netns", "delete", &self.name]);
        let _ = ip(&["link", "delete", &wire(self.third)]);
    }
}

/// A program in a namespace, with a clean environment.
pub(crate) fn command_in(namespace: &str, program: &Path, home: &Path) -> Result<Command> {
    let mut command = command(&tool("ip").context("no `ip`")?, home);
    command.args(["netns", "exec", namespace]).arg(program);
    Ok(command)
}

/// The device of this process in a network.
fn wire(third: u8) -> String {
    format!("muster{third}")
}

/// Namespaces of processes that were killed.
fn remove_leftovers() -> Result<()> {
    for namespace in tools::namespaces()? {
        let owner = namespace.strip_prefix("muster-").and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| !is_process(pid)) {
            // Another test may be quicker.
            let _ = ip(&["netns", "delete", &namespace]);
        }
    }
    Ok(())
}
