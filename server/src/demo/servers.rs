//! The servers of the demo: processes of this very program, so that one of them can really be killed.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use muster_proto::admin::v1::{
    ApproveServerRequest, CreateServerTokenRequest, ListServersRequest, Server, ServerRequest,
};
use tokio::time::{Instant, sleep};

use crate::cli::{
    client::{Session, request_id},
    context::{self, Context},
    muster_token::MusterToken,
};

/// A start or a join takes a second or two on a laptop; a busy machine needs more.
const STEP_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at something that takes moments.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a server may take to stop in order.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// A learner must have kept up for this long before it votes. A real fleet waits longer; nobody wants to watch that.
const PROMOTE_AFTER: &str = "500ms";

/// All servers, by their number from one. Dropping it kills what still runs.
pub(super) struct Servers {
    home: PathBuf,
    program: PathBuf,
    processes: Vec<Process>,
}

struct Process {
    id: u64,
    ports: Ports,
    child: Child,
    killed: bool,
}

#[derive(Clone, Copy)]
struct Ports {
    enrolment: u16,
    nodes: u16,
    operators: u16,
    peers: u16,
    http: u16,
}

impl Drop for Servers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended by itself; then there is nothing to kill and nothing to say.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

impl Servers {
    /// None yet; everything will lie below `home`.
    pub(super) fn new(home: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own path")?;
        Ok(Self { home: home.to_owned(), program, processes: Vec::new() })
    }

    /// Starts the first server, which founds the fleet, and waits for its operator's context.
    pub(super) async fn found(&mut self) -> anyhow::Result<Context> {
        self.serve(1)?;
        let file = context_file(&self.home);
        // The certificate is written last.
        let written = || context::current(&file).ok().filter(|context| context.certificate.exists());
        self.until("the first server serves", written).await
    }

    /// Adds a server as an operator would: a token, a join, an approval of the fingerprint, a promotion.
    pub(super) async fn add(&mut self, session: &Session, pin: &str) -> anyhow::Result<u64> {
        let folder = self.home.join(format!("server-{}", self.processes.len() + 1));
        let (config, ports) = self.prepare(self.processes.len() + 1)?;
        let token = server_token(session).await?;
        let file = folder.join("token");
        write_private(&file, token.expose())?;
        let door = format!("https://127.0.0.1:{}", self.processes[0].ports.enrolment);
        let mut join = self.command(&folder);
        join.args(["server", "join", &door, "--ca", pin, "--token-file"]).arg(&file).arg("--config").arg(&config);
        let mut join = Killed(join.spawn().context("`muster server join` can't be started")?);
        let server = wait_for(session, "a server asks to join", |server| server.state == "Pending").await?;
        approve(session, &server).await?;
        let ended = self.ended(&mut join.0).await?;
        ensure!(ended.success(), "`muster server join` ended with {ended}; see {}", log(&folder).display());
        let mut serve = self.command(&folder);
        serve.arg("serve").arg("--config").arg(&config);
        let child = serve.spawn().context("`muster serve` can't be started")?;
        self.processes.push(Process { id: server.id, ports, child, killed: false });
        let promote = ServerRequest { request_id: request_id(), server: server.id };
        session.call(async |mut client| client.promote_server(promote.clone()).await).await?;
        let is_voter = |other: &Server| other.id == server.id && other.role == "voter" && other.has_data_keys;
        wait_for(session, "the server votes", is_voter).await?;
        Ok(server.id)
    }

    /// Writes a context that names all servers, in place of the first one's.
    pub(super) async fn know_all(&self, session: &Session, first: Context) -> anyhow::Result<Context> {
        let request = ListServersRequest::default();
        let servers = session.call(async |mut client| client.list_servers(request).await).await?.items;
        let servers = servers.into_iter().flat_map(|server| server.operator_urls).collect();
        let context = Context { servers, ..first };
        let file = context_file(&self.home);
        fs::remove_file(&file)?;
        context::write_first_context(&file, "demo", &context)?;
        Ok(context)
    }

    /// Where machines find the servers.
    pub(super) fn enrolment_urls(&self) -> Vec<String> {
        self.processes.iter().map(|process| format!("https://127.0.0.1:{}", process.ports.enrolment)).collect()
    }

    /// SIGKILL: no last word, as when its power is cut.
    pub(super) fn kill(&mut self, id: u64) -> anyhow::Result<()> {
        let process = self.processes.iter_mut().find(|process| process.id == id);
        let process = process.with_context(|| format!("server {id} is none of the demo's"))?;
        process.child.kill()?;
        process.child.wait()?;
        process.killed = true;
        Ok(())
    }

    /// An error if a server ended that nobody killed.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        for process in self.processes.iter_mut().filter(|process| !process.killed) {
            if let Some(status) = process.child.try_wait()? {
                let log = log(&self.home.join(format!("server-{}", process.id)));
                bail!("server {} ended with {status}; its log: {}", process.id, tail(&log));
            }
        }
        Ok(())
    }

    /// Stops in order what still runs.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            if process.child.try_wait()?.is_none() {
                let pid = rustix::process::Pid::from_child(&process.child);
                rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
            }
        }
        let deadline = Instant::now() + STOP_WITHIN;
        for process in &mut self.processes {
            while process.child.try_wait()?.is_none() && Instant::now() < deadline {
                sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    fn serve(&mut self, number: usize) -> anyhow::Result<()> {
        let (config, ports) = self.prepare(number)?;
        let mut serve = self.command(&self.home.join(format!("server-{number}")));
        serve.arg("serve").arg("--config").arg(config);
        let child = serve.spawn().context("`muster serve` can't be started")?;
        self.processes.push(Process { id: number as u64, ports, child, killed: false });
        Ok(())
    }

    /// A folder with settings for a server on ports of its own.
    fn prepare(&self, number: usize) -> anyhow::Result<(PathBuf, Ports)> {
        let folder = self.home.join(format!("server-{number}"));
        fs::create_dir_all(&folder)?;
        let ports = Ports::free()?;
        let Ports { enrolment, nodes, operators, peers, http } = ports;
        let data = folder.join("data");
        let text = format!(
            "[server]\ndata_dir = \"{}\"\nlisten = \"127.0.0.1\"\nadvertise = \"127.0.0.1\"\npromote_after = \"{PROMOTE_AFTER}\"\n\
             [server.ports]\nenrolment = {enrolment}\nnodes = {nodes}\noperators = {operators}\npeers = {peers}\nhttp = {http}\n",
            data.display(),
        );
        let config = folder.join("server.toml");
        fs::write(&config, text)?;
        Ok((config, ports))
    }

    /// This program, with its words going to the server's log and no settings of the caller's.
    #[expect(clippy::disallowed_methods, reason = "a child must not take the caller's settings for its own")]
    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MUSTER_")) {
            command.env_remove(name);
        }
        command.env("MUSTER_CONFIG", context_file(&self.home)).stdin(Stdio::null());
        let log = fs::OpenOptions::new().create(true).append(true).open(log(folder));
        if let Some((out, err)) = log.ok().and_then(|out| Some((out.try_clone().ok()?, out))) {
            command.stdout(out).stderr(err);
        }
        command
    }

    async fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + STEP_WITHIN;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            self.check()?;
            ensure!(Instant::now() < deadline, "{what}: not within {STEP_WITHIN:?}");
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn ended(&mut self, child: &mut Child) -> anyhow::Result<ExitStatus> {
        self.until("the join ends", || child.try_wait().ok().flatten()).await
    }
}

/// A child that does not outlive an error.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ports {
    /// Five ports that are free now. Somebody may take one before the server does; it then says so and the demo ends.
    fn free() -> anyhow::Result<Self> {
        let sockets: Vec<TcpListener> =
            (0..5).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
        let ports =
            sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect::<anyhow::Result<Vec<u16>>>()?;
        let [enrolment, nodes, operators, peers, http] = ports[..] else { bail!("five sockets have five ports") };
        Ok(Self { enrolment, nodes, operators, peers, http })
    }
}

/// Where the operator's context of the demo is written.
pub(super) fn context_file(home: &Path) -> PathBuf {
    home.join("config.toml")
}

async fn server_token(session: &Session) -> anyhow::Result<MusterToken> {
    let token = MusterToken::generate()?;
    let request = CreateServerTokenRequest {
        request_id: request_id(),
        id: token.id().to_owned(),
        sha256: token.sha256().to_vec(),
        ttl_seconds: 0,
    };
    session.call(async |mut client| client.create_server_token(request.clone()).await).await?;
    Ok(token)
}

/// What an operator does after comparing the fingerprint with the one on the new server's console.
async fn approve(session: &Session, server: &Server) -> anyhow::Result<()> {
    let request = ApproveServerRequest {
        request_id: request_id(),
        server: server.id,
        key_fingerprint: server.key_fingerprint.clone(),
    };
    session.call(async |mut client| client.approve_server(request.clone()).await).await?;
    Ok(())
}

async fn wait_for(session: &Session, what: &str, is: impl Fn(&Server) -> bool) -> anyhow::Result<Server> {
    let deadline = Instant::now() + STEP_WITHIN;
    loop {
        let request = ListServersRequest::default();
        let servers = session.call(async |mut client| client.list_servers(request).await).await?;
        if let Some(found) = servers.items.into_iter().find(&is) {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{what}: not within {STEP_WITHIN:?}");
        sleep(LOOK_AGAIN).await;
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

/// The last lines of a log, for an error.
fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| path.display().to_string())
}
