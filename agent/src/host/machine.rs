//! The machine that the agent runs on, its root perhaps mounted elsewhere.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::durable;
use crate::etcd::{self, EtcdError};
use crate::host::{Call, Host, OnLine, Output, process};
use crate::report::EtcdMembers;

/// Where programs are looked for after the agent's own PATH: what systemd gives services may lack some.
const USUAL_DIRS: &[&str] =
    &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/bin"];

/// The real machine.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
    dirs: Vec<PathBuf>,
    /// Marks the programs that this agent started, in their environment.
    tag: String,
}

impl Machine {
    /// The machine whose root file system lies at `root`. `search` is a PATH; `tag` tells this agent's programs from those
    /// of any other agent.
    pub fn new(root: PathBuf, search: &str, tag: String) -> Self {
        let named = search.split(':').filter(|dir| dir.starts_with('/'));
        let dirs = named.chain(USUAL_DIRS.iter().copied()).map(PathBuf::from).collect();
        Self { root, dirs, tag }
    }

    /// Where a path of the machine lies for this process.
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn is_elsewhere(&self) -> bool {
        self.root != Path::new("/")
    }

    /// The program's path on the machine.
    fn find(&self, program: &str) -> Option<PathBuf> {
        self.dirs.iter().map(|dir| dir.join(program)).find(|path| {
            let here = self.root.join(path.strip_prefix("/").unwrap_or(path));
            fs::metadata(here).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
    }

    /// The program and arguments that run it on the machine's own root.
    fn command(&self, call: &Call) -> io::Result<(PathBuf, Vec<String>)> {
        let path = self.find(call.program).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no {} on this machine", call.program))
        })?;
        if !self.is_elsewhere() {
            return Ok((path, call.arguments.clone()));
        }
        let mut arguments = vec![self.root.display().to_string(), path.display().to_string()];
        arguments.extend(call.arguments.iter().cloned());
        Ok((PathBuf::from("chroot"), arguments))
    }
}

#[async_trait]
impl Host for Machine {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.at(path))
    }

    fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    fn is_filled_dir(&self, path: &str) -> bool {
        fs::read_dir(self.at(path)).is_ok_and(|mut entries| entries.next().is_some())
    }

    fn answers(&self, path: &str) -> bool {
        UnixStream::connect(self.at(path)).is_ok()
    }

    fn lay(&self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let path = self.at(path);
        if let Some(dir) = path.parent() {
            durable::make_dir(dir, 0o755)?;
        }
        durable::write(&path, mode, content)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        durable::remove(&self.at(path))
    }

    fn has_program(&self, program: &str) -> bool {
        self.find(program).is_some()
    }

    fn port_in_use(&self, port: u16) -> bool {
        // Read, not tried: a port that is bound for a trial is missing to the API server that starts at that moment.
        ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .any(|table| listens(&fs::read_to_string(table).unwrap_or_default(), port))
    }

    fn unix_ms(&self) -> u64 {
        crate::clock::unix_ms()
    }

    async fn run(&self, call: Call, on_line: OnLine<'_>) -> io::Result<Output> {
        let (path, arguments) = self.command(&call)?;
        process::run(&path, &arguments, &self.tag, call, on_line).await
    }

    async fn end_orphans(&self) {
        process::end_tagged(&self.tag, &["kubeadm", "kubectl"]).await;
    }

    async fn etcd_members(&self, linearizable: bool) -> Result<EtcdMembers, EtcdError> {
        etcd::list_members(self, linearizable).await
    }
}

/// Whether one of the kernel's sockets in `table` listens on `port`: fields are number, local address, remote address, state,
/// and 0A is listening.
fn listens(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().and_then(|address| address.rsplit_once(':'));
        let bound = local.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        bound == Some(port) && fields.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;
    use zeroize::Zeroizing;

    use super::*;
    use crate::host::Exit;

    fn mk_machine() -> Machine {
        Machine::new(PathBuf::from("/"), "", format!("test-{}", std::process::id()))
    }

    fn mk_call(script: &str, limit: Duration) -> Call {
        Call {
            program: "sh",
            arguments: vec!["-c".to_owned(), script.to_owned()],
            stdin: None,
            limit,
            stop: CancellationToken::new(),
        }
    }

    /// A program with that tag, once the kernel shows its name and its variables: `spawn` may return a moment before.
    fn mk_tagged(tag: &str) -> std::process::Child {
        let child = std::process::Command::new("sleep").arg("1000").env(process::TAG, tag).spawn().unwrap();
        let began = std::time::Instant::now();
        while process::tagged(&format!("{}={tag}", process::TAG), &["sleep"]).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(60), "the program does not begin");
            std::thread::yield_now();
        }
        child
    }

    #[tokio::test]
    async fn both_streams_come_as_lines_and_standard_output_alone_too() {
        let mut live = Vec::new();
        let call = mk_call("echo one; echo two >&2; echo three; exit 4", Duration::from_secs(60));
        let output = mk_machine().run(call, &mut |line| live.push(line.to_owned())).await.unwrap();
        assert_eq!(output.exit, Exit::Code(Some(4)));
        assert_eq!(output.stdout, ["one", "three"]);
        live.sort();
        assert_eq!(live, ["one", "three", "two"]);
    }

    #[tokio::test]
    async fn standard_input_reaches_the_program() {
        let call = Call { stdin: Some(Zeroizing::new(b"objects".to_vec())), ..mk_call("cat", Duration::from_secs(60)) };
        let output = mk_machine().run(call, &mut |_| {}).await.unwrap();
        assert_eq!((output.stdout, output.exit), (vec!["objects".to_owned()], Exit::Code(Some(0))));
    }

    #[tokio::test]
    async fn a_program_over_its_limit_is_ended_with_all_that_it_started() {
        let call = mk_call("sleep 1000 & echo $!; wait", Duration::from_millis(200));
        let output = mk_machine().run(call, &mut |_| {}).await.unwrap();
        assert_eq!(output.exit, Exit::TimedOut);
        let child = output.stdout.first().unwrap();
        let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "still runs: {state}");
    }

    #[tokio::test]
    async fn stopping_ends_a_program() {
        let call = mk_call("exec sleep 1000", Duration::from_secs(600));
        call.stop.cancel();
        let output = mk_machine().run(call, &mut |_| {}).await.unwrap();
        assert_eq!(output.exit, Exit::Stopped);
    }

    #[tokio::test]
    async fn an_orphan_of_an_earlier_life_is_ended_and_another_agents_is_not() {
        let (mut ours, mut theirs) = (mk_tagged("orphan-test"), mk_tagged("another-agent"));
        // A zombie until it is reaped here, as an orphan would be by init.
        let reaper = std::thread::spawn(move || ours.wait().unwrap());
        process::end_tagged("orphan-test", &["kubeadm", "sleep"]).await;
        assert!(!reaper.join().unwrap().success());
        assert!(theirs.try_wait().unwrap().is_none());
        theirs.kill().unwrap();
        theirs.wait().unwrap();
    }

    #[tokio::test]
    async fn a_daemon_that_a_call_started_is_no_orphan() {
        let machine = mk_machine();
        let mut daemon = mk_tagged("daemon-test");
        process::end_tagged("daemon-test", &["kubeadm", "kubectl"]).await;
        machine.end_orphans().await;
        assert!(daemon.try_wait().unwrap().is_none());
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error_that_names_it() {
        let call = Call { program: "no-such-program", ..mk_call("", Duration::from_secs(1)) };
        let error = mk_machine().run(call, &mut |_| {}).await.unwrap_err();
        assert!(error.to_string().contains("no-such-program"));
    }

    #[test]
    fn files_lie_under_the_root_and_their_parents_are_made() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_owned(), "", String::new());
        machine.lay("/etc/kubernetes/pki/ca.crt", 0o644, b"ca").unwrap();
        assert_eq!(fs::read(root.path().join("etc/kubernetes/pki/ca.crt")).unwrap(), b"ca");
        assert!(machine.exists("/etc/kubernetes/pki/ca.crt") && machine.is_filled_dir("/etc/kubernetes/pki"));
        machine.remove("/etc/kubernetes/pki/ca.crt").unwrap();
        assert!(!machine.exists("/etc/kubernetes/pki/ca.crt") && !machine.is_filled_dir("/etc/kubernetes/pki"));
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_in_use() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(mk_machine().port_in_use(port));
        // Another process may take a port the moment it is free: one of several stays free.
        let is_free = |()| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            !mk_machine().port_in_use(port)
        };
        assert!([(); 10].into_iter().any(is_free));
    }
}
