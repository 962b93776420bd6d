//! A fleet that is backed up, lost, and goes on from the backup: what machines know of it stays right, what admitted
//! somebody does not, and a backup shows nothing to whoever has no key.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use muster_tests::raw::Applicant;
use muster_tests::secrets::{Inventory, state_of};
use muster_tests::{ClusterFile, Machine, SOON, Server, WHILE, eventually};
use serde_json::Value;

/// A fleet with two machines that have joined, a spent token and one that nobody used, and a backup of it.
struct Fleet {
    server: Server,
    machines: Vec<Machine>,
    spent: String,
    live: String,
    status: Value,
    /// The operator's context as it was.
    old_context: PathBuf,
}

fn token_of(line: &str) -> Result<String> {
    line.split_whitespace().nth(1).map(str::to_owned).context("no token in the line")
}

impl Fleet {
    fn backed_up() -> Result<Self> {
        let server = Server::founded()?;
        let file = ClusterFile::new("prod")
            .pool("cp", "control-plane", "bound", &["cp-1"])
            .pool("worker", "worker", "bound", &["worker-1"])
            .pool("queue", "worker", "token", &[]);
        let lines = file.apply(&server)?;
        let mut machines = Vec::new();
        for enrolment in &lines {
            let mut machine = server.machine(&enrolment.node)?;
            machine.paste(&enrolment.line, "")?;
            machines.push(machine);
        }
        server.done(&["wait", "cluster/prod", "--for", "control-planes=1,workers=1", "--timeout", "2m"])?;
        let made = server.json(&["token", "create", "--pool", "queue", "--uses", "5"])?;
        let fleet = Self {
            spent: token_of(&lines[0].line)?,
            live: made["token"].as_str().context("no token")?.to_owned(),
            status: server.json(&["status"])?,
            old_context: server.home().join("old-operator"),
            server,
            machines,
        };
        fleet.done(&["backup", &fleet.backup(), "--key-file", &fleet.key()])?;
        fs::create_dir(&fleet.old_context)?;
        for file in fs::read_dir(fleet.server.home().join("operator"))? {
            let file = file?;
            fs::copy(file.path(), fleet.old_context.join(file.file_name()))?;
        }
        // The context names its certificate and key by their whole paths, and `muster serve` will replace those.
        let config = fleet.old_context.join("config.toml");
        let operator = fleet.server.home().join("operator").display().to_string();
        let text = fs::read_to_string(&config)?;
        ensure!(text.contains(&operator), "{text}");
        fs::write(&config, text.replace(&operator, &fleet.old_context.display().to_string()))?;
        Ok(fleet)
    }

    fn path(&self, name: &str) -> String {
        self.server.home().join(name).display().to_string()
    }

    fn backup(&self) -> String {
        self.path("fleet.muster")
    }

    fn key(&self) -> String {
        self.path("backup.key")
    }

    fn done(&self, args: &[&str]) -> Result<String> {
        self.server.done(args)
    }

    /// A restore with this file and key into the server's own data directory.
    fn restore(&self, file: &str, key: &str) -> Result<muster_tests::Output> {
        self.server.muster(&["restore", file, "--key-file", key, "--config", &self.path("server.toml")])
    }

    /// The server and all it had are gone, the seal key too.
    fn lose(&mut self) -> Result<()> {
        self.server.kill()?;
        fs::remove_dir_all(self.server.data_dir())?;
        Ok(fs::remove_dir_all(self.server.seal_key().parent().context("no folder")?)?)
    }
}

fn write_private(path: &str, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}

/// What can't be restored is refused in words, and leaves the directory as empty as it was.
fn what_is_no_good_is_refused(fleet: &Fleet) -> Result<()> {
    let whole = fs::read(fleet.backup())?;
    let (other_key, bad) = (fleet.path("other.key"), fleet.path("bad.muster"));
    write_private(&other_key, &[7; 32])?;
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    for (what, bytes, key, says) in [
        ("another key", &whole[..], &other_key, "made with another key file or passphrase"),
        ("a damaged file", &damaged, &fleet.key(), "its checksum is wrong"),
        ("a file that is cut off", &whole[..whole.len() - 100], &fleet.key(), "cut off"),
        ("a foreign file", b"something else", &fleet.key(), "not a backup"),
    ] {
        fs::write(&bad, bytes)?;
        let refused = fleet.restore(&bad, key)?;
        assert_eq!(refused.code, 3, "{what}: {}", refused.stderr);
        assert!(refused.stderr.contains(says), "{what}: {}", refused.stderr);
        assert!(!fleet.server.data_dir().exists(), "{what} left something behind");
    }
    Ok(())
}

async fn tokens_are_as_they_should_be(fleet: &Fleet) -> Result<()> {
    let refused = Applicant::new("thief-1")?.enrol(&fleet.server, &fleet.spent).await?;
    assert_eq!(refused.word(), "TokenSpent", "{refused:?}");
    let refused = Applicant::new("thief-2")?.enrol(&fleet.server, &fleet.live).await?;
    assert_eq!(refused.word(), "TokenRevoked", "{refused:?}");
    Ok(())
}

/// Each machine comes by itself, is shown as one that the backup has, and goes on once it was approved.
fn machines_come_back(fleet: &Fleet) -> Result<()> {
    let before: Vec<Vec<String>> = fleet.machines.iter().map(Machine::rehearsed).collect();
    let waiting = |node: &Value| node["next"].as_str().is_some_and(|next| next.contains("--replace"));
    let nodes = eventually("the machines in the queue", WHILE, || {
        let nodes = fleet.server.nodes().map_err(|error| format!("{error:#}"))?;
        if nodes.iter().filter(|node| waiting(node)).count() == 2 { Ok(nodes) } else { Err(format!("{nodes:?}")) }
    })?;
    assert_eq!(nodes.len(), 4, "two records of the backup, two machines that wait");
    for node in nodes.iter().filter(|node| waiting(node)) {
        assert!(node["message"].as_str().is_some_and(|text| text.contains("the backup has")), "{node}");
        let next = node["next"].as_str().context("no command")?;
        fleet.done(&next.split(' ').skip(1).collect::<Vec<_>>())?;
    }
    fleet.done(&["wait", "cluster/prod", "--for", "control-planes=1,workers=1", "--timeout", "2m"])?;
    let nodes = fleet.server.nodes()?;
    let names: Vec<&str> = nodes.iter().filter_map(|node| node["name"].as_str()).collect();
    assert_eq!((nodes.len(), names.contains(&"cp-1"), names.contains(&"worker-1")), (2, true, true), "{names:?}");
    let after: Vec<Vec<String>> = fleet.machines.iter().map(Machine::rehearsed).collect();
    assert_eq!(after, before, "a machine joined again what it is a member of");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_fleet_goes_on_from_its_backup() -> Result<()> {
    let mut fleet = tokio::task::spawn_blocking(Fleet::backed_up).await??;
    fleet.lose()?;
    what_is_no_good_is_refused(&fleet)?;
    let restored = fleet.restore(&fleet.backup(), &fleet.key())?;
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    assert!(restored.stdout.contains("pin sha256:") && restored.stderr.contains("muster serve"), "{restored:?}");
    assert_eq!(fleet.restore(&fleet.backup(), &fleet.key())?.code, 1, "twice into one directory");
    fleet.server.start()?;
    fleet.server.wait_ready()?;

    let status = fleet.server.json(&["status"])?;
    assert_eq!(status["rootPin"], fleet.status["rootPin"], "machines know the fleet by its pin");
    assert_ne!(status["fleet"], fleet.status["fleet"]);
    let cluster = fleet.server.json(&["get", "cluster", "prod"])?;
    assert!(cluster["caPins"][0].as_str().is_some_and(|pin| pin.starts_with("sha256:")), "{cluster}");
    let old = fleet.old_context.join("config.toml").display().to_string();
    let refused = fleet.server.muster(&["--config", &old, "status"])?;
    // 8 where the refusal is read, 5 where the server has closed the connection before it was.
    let (code, words) = (refused.code, refused.stdout + &refused.stderr);
    assert!([5, 8].contains(&code), "the old operator's certificate: {code} {words}");
    let events = fleet.server.events()?;
    assert!(events.iter().any(|event| event["reason"] == "FleetRestored"), "{events:?}");
    tokens_are_as_they_should_be(&fleet).await?;
    machines_come_back(&fleet)?;

    // A new machine enrols as ever, and a restart finds all of it again.
    let made = fleet.server.json(&["token", "create", "--pool", "queue"])?;
    let token = made["token"].as_str().context("no token")?;
    Applicant::new("newcomer")?.admitted(&fleet.server, token).await?;
    fleet.server.stop()?;
    fleet.server.start()?;
    fleet.server.wait_ready()?;
    assert_eq!(fleet.server.nodes()?.len(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_read_in_a_backup_nor_in_what_is_restored_from_it() -> Result<()> {
    let mut fleet = tokio::task::spawn_blocking(Fleet::backed_up).await??;
    fleet.machines.clear();
    fleet.server.stop()?;
    let mut inventory = Inventory::of_server(&fleet.server.data_dir(), &fleet.server.seal_key(), 1).await?;
    inventory.add_token(&fleet.spent);
    inventory.add_token(&fleet.live);
    inventory.add("backup key", &hex::decode(fs::read_to_string(fleet.key())?.trim())?);
    assert!(inventory.len() >= 15, "{inventory:?}");
    let state = state_of(&fleet.server.data_dir(), 1).await?;
    for word in [state.fleet.context("no fleet")?.keys["root"].sealed.bytes.0.clone(), b"worker-1".to_vec()] {
        inventory.add("what is not even secret", &word);
    }
    let backup = PathBuf::from(fleet.backup());
    assert_eq!(inventory.scan(&[&backup])?, [], "of {} secrets", inventory.len());
    let head = String::from_utf8_lossy(&fs::read(&backup)?).into_owned();
    for word in ["worker-1", "prod.example", "BEGIN", "clusters"] {
        assert!(!head.contains(word), "{word} can be read in the backup");
    }
    fleet.lose_stopped()?;
    let restored = fleet.restore(&fleet.backup(), &fleet.key())?;
    ensure!(restored.code == 0, "{}", restored.stderr);
    let mut places = vec![fleet.server.data_dir(), backup];
    let new = Inventory::of_server(&fleet.server.data_dir(), &fleet.server.seal_key(), 1).await?;
    fs::write(fleet.path("words"), format!("{}{}", restored.stdout, restored.stderr))?;
    places.push(PathBuf::from(fleet.path("words")));
    let paths: Vec<&Path> = places.iter().map(PathBuf::as_path).collect();
    assert_eq!(new.scan(&paths)?, [], "of {} secrets", new.len());
    let mut old = Inventory::of_server(&fleet.server.data_dir(), &fleet.server.seal_key(), 1).await?;
    old.add_token(&fleet.live);
    assert_eq!(old.scan(&paths)?, []);
    Ok(())
}

impl Fleet {
    fn lose_stopped(&mut self) -> Result<()> {
        fs::remove_dir_all(self.server.data_dir())?;
        Ok(fs::remove_dir_all(self.server.seal_key().parent().context("no folder")?)?)
    }
}

/// A backup is a moment, whole, while the fleet changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_holds_every_token_that_was_acknowledged_before_it() -> Result<()> {
    let made = tokio::task::spawn_blocking(|| -> Result<()> {
        let server = Server::founded()?;
        ClusterFile::new("prod").pool("worker", "worker", "token", &[]).apply(&server)?;
        let create = || server.json(&["token", "create", "--pool", "worker"]);
        let mut before = Vec::new();
        for _ in 0..5 {
            before.push(create()?["stored"]["id"].as_str().context("no id")?.to_owned());
        }
        let file = server.home().join("b.muster").display().to_string();
        let key = server.home().join("b.key").display().to_string();
        std::thread::scope(|scope| -> Result<()> {
            let load = scope.spawn(|| (0..5).try_for_each(|_| create().map(drop)));
            server.done(&["backup", &file, "--key-file", &key])?;
            load.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
        })?;
        let contents = muster_server::backup::BackupFile::read(Path::new(&file))?
            .open(&muster_server::backup::BackupKey::of_file(Path::new(&key))?)?;
        for id in before {
            ensure!(contents.state.enrolment_tokens.keys().any(|token| token.as_str() == id), "{id} is missing");
        }
        let verified = server.json(&["backup", "verify", &file, "--key-file", &key])?;
        assert_eq!((&verified["opened"], &verified["kind"]), (&true.into(), &"Backup".into()), "{verified}");
        eventually("the audit record", SOON, || match server.events() {
            Ok(events) if events.iter().any(|event| event["reason"] == "BackupReleased") => Ok(()),
            other => Err(format!("{other:?}")),
        })
    });
    made.await?
}
