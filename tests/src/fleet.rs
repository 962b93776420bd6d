//! Several servers of one fleet, each a process of its own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::network::Network;
use crate::process::{Output, command, run};
use crate::{Door, MOMENT, Machine, SOON, Server, ServerSettings, binaries, eventually};

/// Servers of one fleet, all of them voters at first. Dropping it kills them.
pub struct Fleet {
    /// In the order in which they joined; the first one founded the fleet.
    pub servers: Vec<Server>,
    ids: Vec<u64>,
    config: PathBuf,
    token_files: AtomicUsize,
}

impl Fleet {
    /// A fleet of `count` voters that all serve.
    ///
    /// # Errors
    /// If it does not become one.
    pub fn of(count: usize) -> Result<Self> {
        Self::with(count, &ServerSettings::default())
    }

    /// The same with settings.
    ///
    /// # Errors
    /// As [`Fleet::of`].
    pub fn with(count: usize, settings: &ServerSettings) -> Result<Self> {
        Self::build(count, |_| settings.clone())
    }

    /// A fleet of `count` voters on the hosts of a network.
    ///
    /// # Errors
    /// As [`Fleet::of`].
    pub fn on(network: &Network, count: usize) -> Result<Self> {
        Self::build(count, |host| ServerSettings { place: Some(network.place(host)), ..ServerSettings::default() })
    }

    fn build(count: usize, settings: impl Fn(usize) -> ServerSettings) -> Result<Self> {
        let mut founder = Server::prepared_with(&settings(0))?;
        founder.start()?;
        founder.wait_ready()?;
        let config = founder.home().join("operator/fleet.toml");
        let mut fleet = Self { servers: vec![founder], ids: vec![1], config, token_files: AtomicUsize::new(0) };
        fleet.know_all()?;
        for number in 1..count {
            let number = fleet.add_learner(&settings(number))?;
            fleet.promote(number)?;
        }
        Ok(fleet)
    }

    /// Adds a server and waits until it follows as a learner; gives its place among [`Fleet::servers`].
    ///
    /// # Errors
    /// If it is not let in, or does not serve.
    pub fn add_learner(&mut self, settings: &ServerSettings) -> Result<usize> {
        let mut server = Server::prepared_with(settings)?;
        server.operated_as(&self.servers[0]);
        let token = self.server_token()?;
        let door = self.servers[0].door()?;
        server.ask_to_join(&door, &token)?;
        let pending = self.wait_server("a server asks to join", |found| found["state"] == "Pending")?;
        let id = number(&pending["id"])?;
        let fingerprint = pending["keyFingerprint"].as_str().context("a fingerprint")?.to_owned();
        self.done(&["server", "approve", &id.to_string(), "--fingerprint", &fingerprint, "--yes"])?;
        let code = server.wait_end(SOON)?;
        ensure!(code == 0, "`muster server join` ended with {code}; its log ends with:\n{}", server.log());
        server.forget_process();
        server.start()?;
        server.wait_ready()?;
        self.servers.push(server);
        self.ids.push(id);
        self.wait_server("the server follows", |found| found["id"] == pending["id"] && found["role"] == "learner")?;
        self.know_all()?;
        Ok(self.servers.len() - 1)
    }

    /// Makes a learner a voter and waits until it has its keys and votes.
    ///
    /// # Errors
    /// If it does not become one.
    pub fn promote(&self, number: usize) -> Result<()> {
        let id = self.ids[number].to_string();
        self.done(&["server", "promote", &id])?;
        let votes =
            |found: &Value| found["id"] == id.as_str() && found["role"] == "voter" && found["hasDataKeys"] == true;
        self.wait_server("the server votes", votes)?;
        Ok(())
    }

    /// The id of a server by its place.
    pub fn id(&self, number: usize) -> u64 {
        self.ids[number]
    }

    /// The place of the server that leads, as servers know it that answer operators.
    ///
    /// # Errors
    /// If none does soon.
    pub fn leader(&self) -> Result<usize> {
        eventually("a leader", SOON, || {
            let status = self.json(&["status"]).map_err(|error| format!("{error:#}"))?;
            let leader = number(&status["leaderId"]).map_err(|error| format!("{error:#}"))?;
            self.ids.iter().position(|id| *id == leader).ok_or_else(|| "nobody leads".to_owned())
        })
    }

    /// The place of a server that says that it leads, if it is not `old`, which may think so too. It says so up to a second late.
    ///
    /// # Errors
    /// If none does soon.
    pub fn leader_other_than(&self, old: usize) -> Result<usize> {
        eventually("another leader", SOON, || {
            let leads = |number: &usize| self.figure(*number, "muster_raft_is_leader").is_ok_and(|leads| leads == 1.0);
            (0..self.servers.len()).filter(|number| *number != old).find(leads).ok_or_else(|| "nobody leads".to_owned())
        })
    }

    /// A token with which one server may ask to join.
    ///
    /// # Errors
    /// If none is made.
    pub fn server_token(&self) -> Result<String> {
        let printed = self.done(&["server", "token", "create"])?;
        let is_token = |word: &&str| word.starts_with("mst-");
        let token = printed.split_whitespace().find(is_token).with_context(|| format!("no token in {printed}"))?;
        Ok(token.to_owned())
    }

    /// A path for a file with a secret of this scenario.
    pub fn secret_file(&self) -> PathBuf {
        let number = self.token_files.fetch_add(1, Ordering::Relaxed);
        self.servers[0].home().join(format!("secret-{number}"))
    }

    /// Servers as the fleet lists them.
    ///
    /// # Errors
    /// As [`Fleet::done`].
    pub fn list(&self) -> Result<Vec<Value>> {
        Ok(self.json(&["server", "list"])?["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until the list has a server that is as wanted.
    ///
    /// # Errors
    /// If it does not have one soon.
    pub fn wait_server(&self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(what, SOON, || match self.list() {
            Ok(servers) => servers.iter().find(|server| is(server)).cloned().ok_or_else(|| format!("{servers:?}")),
            Err(error) => Err(format!("{error:#}")),
        })
    }

    /// Waits until all servers that run have applied what the leader has.
    ///
    /// # Errors
    /// If one does not catch up.
    pub fn settle(&self) -> Result<()> {
        let leader = self.leader()?;
        let target = self.applied(leader)?;
        eventually("all servers have what the leader has", MOMENT, || {
            let behind =
                |number: &usize| self.servers[*number].runs() && self.applied(*number).unwrap_or_default() < target;
            let late: Vec<usize> = (0..self.servers.len()).filter(behind).collect();
            if late.is_empty() { Ok(()) } else { Err(format!("servers at {late:?} are behind {target}")) }
        })
    }

    /// Index of the last entry in a server's state.
    ///
    /// # Errors
    /// If it does not say.
    pub fn applied(&self, number: usize) -> Result<f64> {
        self.figure(number, "muster_raft_applied_index")
    }

    /// The term that a server is in.
    ///
    /// # Errors
    /// If it does not say.
    pub fn term(&self, number: usize) -> Result<f64> {
        self.figure(number, "muster_raft_term")
    }

    /// A figure of a server's metrics, by its name and labels as Prometheus reads them.
    ///
    /// # Errors
    /// If it does not say.
    pub fn figure(&self, number: usize, name: &str) -> Result<f64> {
        let (_, figures) = self.servers[number].http("/metrics")?;
        figure(&figures, name).with_context(|| format!("no {name}"))
    }

    /// Runs the operator's command line with a context that names all servers.
    ///
    /// # Errors
    /// If it can't be started. A bad end is no error: see [`Output::code`].
    pub fn muster(&self, args: &[&str]) -> Result<Output> {
        let mut muster = command(&binaries()?.muster, self.servers[0].home());
        muster.args(args).env("MUSTER_CONFIG", &self.config);
        run(muster, "")
    }

    /// The same, which must end well; gives its standard output.
    ///
    /// # Errors
    /// If it does not end with 0.
    pub fn done(&self, args: &[&str]) -> Result<String> {
        let output = self.muster(args)?;
        ensure!(output.code == 0, "muster {args:?} ended with {}: {}", output.code, output.stderr);
        Ok(output.stdout)
    }

    /// The same with `-o json`, parsed.
    ///
    /// # Errors
    /// As [`Fleet::done`].
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.done(&[args, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("muster {args:?} printed no JSON: {text}"))
    }

    /// What machines are told: one server's listener and the pin.
    ///
    /// # Errors
    /// If the servers do not say.
    pub fn door(&self) -> Result<Door> {
        self.servers[0].door()
    }

    /// A rehearsed machine.
    ///
    /// # Errors
    /// If its directory can't be made.
    pub fn machine(&self, name: &str) -> Result<Machine> {
        Machine::new(self.servers[0].home(), name)
    }

    /// The file with the context of all servers.
    pub fn operator_config(&self) -> &Path {
        &self.config
    }

    /// Writes the context anew, with every server in it.
    fn know_all(&self) -> Result<()> {
        let text = std::fs::read_to_string(self.servers[0].operator_config())?;
        let mut config: toml::Table = text.parse()?;
        let urls: Vec<toml::Value> =
            self.servers.iter().map(|server| format!("https://{}:9445", server.address()).into()).collect();
        let contexts = config.get_mut("contexts").and_then(toml::Value::as_table_mut).context("no contexts")?;
        for (_, context) in contexts.iter_mut() {
            context.as_table_mut().context("no context")?.insert("servers".to_owned(), urls.clone().into());
        }
        Ok(std::fs::write(&self.config, config.to_string())?)
    }
}

/// A figure without labels among Prometheus' lines.
fn figure(lines: &str, name: &str) -> Option<f64> {
    lines.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// A number of protobuf's JSON, in which 64 bits are text.
fn number(value: &Value) -> Result<u64> {
    match value {
        Value::String(text) => Ok(text.parse()?),
        other => other.as_u64().with_context(|| format!("{other} is no number")),
    }
}
