//! A server with an operator beside it.

mod settings;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::disk::Variable;
use crate::loopback::Loopback;
use crate::machine::Machine;
use crate::process::{Output, Process, command, run, tail};
use crate::{SOON, binaries, eventually};

pub use settings::ServerSettings;

/// What a machine is told of its fleet.
#[derive(Clone, Debug)]
pub struct Door {
    /// `host:port` of the enrolment listener.
    pub server: String,
    /// Pin of the fleet root.
    pub pin: String,
}

/// A server of its own fleet, on a loopback address of its own; it keeps ports and data over its deaths. Dropping it kills
/// it and removes everything, unless `MUSTER_TESTS_KEEP` is set.
pub struct Server {
    home: PathBuf,
    address: Ipv4Addr,
    namespace: Option<String>,
    /// The folder of its operator's context.
    operator: PathBuf,
    process: Option<Process>,
    preload: Option<(PathBuf, String)>,
    disk: Vec<Variable>,
    /// What [`Server::break_disk`] added to `disk`.
    fault: Vec<Variable>,
    _loopback: Option<Loopback>,
    // Last, so that the process is dead before its files go.
    _directory: Option<TempDir>,
}

impl Server {
    /// A server that has founded its fleet and is ready.
    ///
    /// # Errors
    /// If it does not become so.
    pub fn founded() -> Result<Self> {
        Self::founded_with_log("info,openraft=warn")
    }

    /// The same with another level of logs.
    ///
    /// # Errors
    /// As [`Server::founded`].
    pub fn founded_with_log(level: &str) -> Result<Self> {
        let mut server = Self::prepared(level)?;
        server.start()?;
        server.wait_ready()?;
        Ok(server)
    }

    /// A server that was never started: only its settings are there.
    ///
    /// # Errors
    /// If they can't be written.
    pub fn prepared(log_level: &str) -> Result<Self> {
        Self::prepared_with(&ServerSettings { log: log_level.to_owned(), ..ServerSettings::default() })
    }

    /// The same with settings.
    ///
    /// # Errors
    /// As [`Server::prepared`].
    pub fn prepared_with(settings: &ServerSettings) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("muster-scenario-").tempdir()?;
        let (address, namespace, loopback) = match settings.place.clone() {
            Some(place) => (place.address, Some(place.namespace), None),
            None => {
                let loopback = Loopback::reserve()?;
                (loopback.address, None, Some(loopback))
            }
        };
        let (home, directory) = match std::env::var_os("MUSTER_TESTS_KEEP") {
            Some(_) => (directory.keep(), None),
            None => (directory.path().to_owned(), Some(directory)),
        };
        let preload = settings.preload.clone();
        let server = Self {
            operator: home.join("operator"),
            home,
            address,
            namespace,
            process: None,
            preload,
            disk: Vec::new(),
            fault: Vec::new(),
            _loopback: loopback,
            _directory: directory,
        };
        server.configure(&server.data_dir(), settings)?;
        Ok(server)
    }

    /// Another server, on another address, that is told to use the data directory of this one.
    ///
    /// # Errors
    /// As [`Server::prepared`].
    pub fn rival(&self) -> Result<Self> {
        let rival = Self::prepared("info")?;
        rival.configure(&self.data_dir(), &ServerSettings::default())?;
        Ok(rival)
    }

    /// Starts the process and does not wait for anything.
    ///
    /// # Errors
    /// If it can't be started, or runs already.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the server runs already");
        let mut serve = self.command()?;
        serve.arg("serve").arg("--config").arg(self.settings_file());
        serve.env("MUSTER_CONFIG", self.operator_config());
        if let Some((library, setting)) = &self.preload {
            serve.env("LD_PRELOAD", library).env("SHIM", setting);
        }
        serve.envs(self.disk.iter().chain(&self.fault).map(|(name, value)| (name, value)));
        self.process = Some(Process::start(serve, "", &self.log_file())?);
        Ok(())
    }

    /// Starts `muster server join` for this host; its end is seen with [`Server::wait_end`].
    ///
    /// # Errors
    /// If it can't be started, or something runs already.
    pub fn ask_to_join(&mut self, door: &Door, token: &str) -> Result<()> {
        ensure!(self.process.is_none(), "the server runs already");
        let mut join = self.command()?;
        let url = format!("https://{}", door.server);
        join.args(["server", "join", &url, "--ca", &door.pin, "--token-file", "-"]);
        join.arg("--config").arg(self.settings_file());
        self.process = Some(Process::start(join, token, &self.log_file())?);
        Ok(())
    }

    /// Takes a process that has ended for gone, so that another can be started.
    pub fn forget_process(&mut self) {
        self.process = None;
    }

    /// Whether its process was started and not taken away since.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// SIGSTOP: it stands still and keeps all that it holds.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause(&mut self) -> Result<()> {
        self.process.as_mut().context("the server does not run")?.signal(Signal::STOP)
    }

    /// SIGCONT: it goes on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn go_on(&mut self) -> Result<()> {
        self.process.as_mut().context("the server does not run")?.signal(Signal::CONT)
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// If it ends before, or is not ready soon.
    pub fn wait_ready(&mut self) -> Result<()> {
        let log = self.log_file();
        let ready =
            eventually("the server's readiness", SOON, || match (self.ended(), self.http("/readyz?verbose")) {
                (Err(error), _) => Err(error.to_string()),
                (Ok(Some(code)), _) => Ok(Err(code)),
                (Ok(None), Ok((200, _))) => Ok(Ok(())),
                (Ok(None), Ok((code, body))) => Err(format!("{code}: {body}; its log ends with:\n{}", tail(&log))),
                (Ok(None), Err(error)) => Err(format!("{error:#}")),
            })?;
        ready.or_else(|code| bail!("the server ended with {code}; its log ends with:\n{}", tail(&log)))
    }

    /// Its exit code, if it has ended by itself.
    ///
    /// # Errors
    /// If it was not started.
    pub fn ended(&mut self) -> Result<Option<i32>> {
        self.process.as_mut().context("the server was not started")?.ended()
    }

    /// Waits until it ends by itself and gives its exit code.
    ///
    /// # Errors
    /// If it does not end.
    pub fn wait_end(&mut self, within: Duration) -> Result<i32> {
        self.process.as_mut().context("the server was not started")?.wait(within)
    }

    /// SIGKILL: no last word, no last snapshot.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the server does not run")?.kill()
    }

    /// SIGKILL to the process while others use this value; [`Server::kill_and_restart`] follows.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_process(&self) -> Result<()> {
        self.process.as_ref().context("the server does not run")?.strike()
    }

    /// SIGKILL, and at once another start on the same ports and data.
    ///
    /// # Errors
    /// If it does not come back.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start()?;
        self.wait_ready()
    }

    /// An orderly stop (SIGTERM), which must end well.
    ///
    /// # Errors
    /// If it does not.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the server does not run")?;
        process.terminate()?;
        let code = process.wait(SOON)?;
        ensure!(code == 0, "the server stopped with {code}; its log ends with:\n{}", tail(&self.log_file()));
        Ok(())
    }

    /// The process, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Everything of this scenario lies below it.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its log and snapshots.
    pub fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The seal key that its first start made.
    pub fn seal_key(&self) -> PathBuf {
        self.home.join("data-seal/key")
    }

    /// Everything that it wrote to standard output and standard error.
    pub fn log_file(&self) -> PathBuf {
        self.home.join("server.log")
    }

    /// The text of [`Server::log_file`].
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The operator's contexts.
    pub fn operator_config(&self) -> PathBuf {
        self.operator.join("config.toml")
    }

    /// Where it listens.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Code and body of a page of the plain listener.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn http(&self, path: &str) -> Result<(u16, String)> {
        const WITHIN: Duration = Duration::from_secs(5);
        let address = SocketAddr::from((self.address, 9080));
        let mut stream = TcpStream::connect_timeout(&address, WITHIN)?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        code.zip(body).with_context(|| format!("no HTTP: {answer:?}"))
    }

    /// Runs the operator's command line.
    ///
    /// # Errors
    /// If it can't be started. A bad end is no error: see [`Output::code`].
    pub fn muster(&self, args: &[&str]) -> Result<Output> {
        self.muster_with(args, "")
    }

    /// The same with something on its standard input.
    ///
    /// # Errors
    /// As [`Server::muster`].
    pub fn muster_with(&self, args: &[&str], input: &str) -> Result<Output> {
        let mut muster = command(&binaries()?.muster, &self.home);
        muster.args(args).env("MUSTER_CONFIG", self.operator_config());
        run(muster, input)
    }

    /// Runs the operator's command line, which must end well; gives its standard output.
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
    /// As [`Server::done`].
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.done(&[args, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("muster {args:?} printed no JSON: {text}"))
    }

    /// All nodes.
    ///
    /// # Errors
    /// As [`Server::done`].
    pub fn nodes(&self) -> Result<Vec<Value>> {
        let nodes = self.json(&["get", "nodes"])?;
        Ok(nodes["items"].as_array().cloned().unwrap_or_default())
    }

    /// All events so far, oldest first.
    ///
    /// # Errors
    /// As [`Server::done`].
    pub fn events(&self) -> Result<Vec<Value>> {
        let events = self.json(&["get", "events"])?;
        Ok(events["items"].as_array().cloned().unwrap_or_default())
    }

    /// What machines are told.
    ///
    /// # Errors
    /// If the server does not say.
    pub fn door(&self) -> Result<Door> {
        let status = self.json(&["status"])?;
        let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("missing in {status}"));
        let server = text(&status["enrolmentUrls"][0])?;
        Ok(Door { server: server.trim_start_matches("https://").to_owned(), pin: text(&status["rootPin"])? })
    }

    /// A rehearsed machine that knows nothing yet; its hardware is made up from its name.
    ///
    /// # Errors
    /// If its directory can't be made.
    pub fn machine(&self, name: &str) -> Result<Machine> {
        Machine::new(&self.home, name)
    }
}

/// Runs `muster demo` with these arguments to its end, without a terminal.
///
/// # Errors
/// If it can't be started.
pub fn demo(args: &[&str]) -> Result<Output> {
    let home = tempfile::tempdir()?;
    let mut muster = command(&binaries()?.muster, home.path());
    muster.arg("demo").args(args);
    run(muster, "")
}
