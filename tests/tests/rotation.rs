//! Keys and certificates take the place of others while a fleet of three goes on: no command fails, no machine is let down, and
//! what was replaced opens nothing any more.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use muster_tests::secrets::state_of;
use muster_tests::{ClusterFile, Fleet, Machine, Server, WHILE, eventually};
use serde_json::Value;

/// A fleet of three with a cluster that has a control plane, so that there are secrets, and a use for them.
fn founded() -> Result<(Fleet, Machine)> {
    let fleet = Fleet::of(3)?;
    let file = ClusterFile::new("prod").pool("cp", "control-plane", "bound", &["cp-1"]);
    let lines = file.pool("worker", "worker", "token", &[]).apply(&fleet.servers[0])?;
    let mut machine = fleet.servers[0].machine("cp-1")?;
    machine.paste(&lines[0].line, "")?;
    fleet.done(&["wait", "cluster/prod", "--for", "control-planes=1", "--timeout", "2m"])?;
    Ok((fleet, machine))
}

/// Makes tokens through the fleet while `work` goes on; every one of them must be made.
fn under_load<T>(fleet: &Fleet, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (over, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let (done, loaded) = thread::scope(|scope| {
        let load = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                fleet.done(&["token", "create", "--cluster", "prod", "--pool", "worker"])?;
                made.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        (done, load.join())
    });
    loaded.map_err(|_| anyhow::anyhow!("the load panicked"))?.context("a command failed meanwhile")?;
    ensure!(made.load(Ordering::Relaxed) > 0, "there was no load");
    done
}

fn data_keys(seal: &Value) -> Vec<(u64, u64)> {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0);
    let keys = seal["dataKeys"].as_array().cloned().unwrap_or_default();
    keys.iter().map(|key| (number(&key["number"]), number(&key["secrets"]))).collect()
}

#[test]
fn a_new_data_key_takes_over_all_secrets_and_the_old_one_is_forgotten() -> Result<()> {
    let (mut fleet, _machine) = founded()?;
    let before = data_keys(&fleet.json(&["seal", "status"])?);
    ensure!(before.len() == 1 && before[0].0 == 1 && before[0].1 > 5, "{before:?}");
    under_load(&fleet, || {
        for last in [2, 3] {
            fleet.done(&["seal", "rotate"])?;
            eventually("only the new data key", WHILE, || {
                let keys = fleet.json(&["seal", "status"]).map(|seal| data_keys(&seal));
                let keys = keys.map_err(|error| format!("{error:#}"))?;
                let is_done = keys.len() == 1 && keys[0].0 == last && keys[0].1 >= before[0].1;
                if is_done { Ok(()) } else { Err(format!("{keys:?}")) }
            })?;
        }
        Ok(())
    })?;
    // Every server can still do what needs secrets, also after a restart.
    for number in 0..3 {
        fleet.servers[number].stop()?;
        fleet.servers[number].start()?;
        fleet.servers[number].wait_ready()?;
    }
    fleet.done(&["join-command", "--cluster", "prod"])?;
    let events = fleet.servers[0].events()?;
    let told = |reason: &str| events.iter().filter(|event| event["reason"] == reason).count();
    assert_eq!((told("EpochStarted"), told("EpochEnded")), (2, 2), "{events:?}");
    Ok(())
}

fn with_seal(server: &Server, lines: &str) -> Result<()> {
    let path = server.home().join("server.toml");
    let text = fs::read_to_string(&path)?;
    let rest = text.split("[seal]").next().context("settings")?;
    Ok(fs::write(path, format!("{rest}\n[seal]\n{lines}\n"))?)
}

fn new_key(server: &Server) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = server.home().join("new-seal.key");
    let mut key = [0_u8; 32];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut key)?;
    fs::write(&path, key)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

fn restart(server: &mut Server) -> Result<()> {
    server.stop()?;
    server.start()?;
    server.wait_ready()
}

fn said(server: &Server, what: &str) -> Result<()> {
    eventually(what, WHILE, || if server.log().contains(what) { Ok(()) } else { Err("not yet".to_owned()) })
}

#[test]
fn each_server_changes_its_seal_key_by_a_restart_and_the_one_before_is_destroyed() -> Result<()> {
    let (mut fleet, _machine) = founded()?;
    for number in 0..3 {
        let server = &mut fleet.servers[number];
        let (old, new) = (server.seal_key(), new_key(server)?);
        let both = format!("path = {:?}\nprevious = {:?}", new.display().to_string(), old.display().to_string());
        with_seal(server, &both)?;
        restart(server)?;
        said(server, "this server's seal key was changed")?;
        with_seal(server, &format!("path = {:?}", new.display().to_string()))?;
        fs::remove_file(&old)?;
        restart(server)?;
        fleet.done(&["join-command", "--cluster", "prod"])?;
    }
    // Each of them opens what it holds: the leader goes, and whoever leads next makes another join line.
    for _ in 0..2 {
        let leader = fleet.leader()?;
        restart(&mut fleet.servers[leader])?;
        fleet.done(&["join-command", "--cluster", "prod"])?;
    }
    Ok(())
}

/// What is refused while a seal key is changed, and what a wrong key leaves as it was.
#[tokio::test]
async fn a_seal_key_that_opens_nothing_changes_nothing() -> Result<()> {
    let (mut server, old, new) = tokio::task::spawn_blocking(|| -> Result<_> {
        let mut server = Server::founded()?;
        let (old, new) = (server.seal_key(), new_key(&server)?);
        server.stop()?;
        Ok((server, old, new))
    })
    .await??;
    let identity = server.data_dir().join("identity.json");
    let before = fs::read(&identity)?;
    let copies = state_of(&server.data_dir(), 1).await?.fleet.context("no fleet")?.epochs;
    tokio::task::spawn_blocking(move || -> Result<()> {
        let only_new = format!("path = {:?}", new.display().to_string());
        let in_vain = format!("{only_new}\nprevious = {:?}", new.display().to_string());
        for settings in [&only_new, &in_vain] {
            with_seal(&server, settings)?;
            server.start()?;
            said(&server, "this server is sealed")?;
            server.kill()?;
            assert_eq!(fs::read(&identity)?, before, "{settings}");
        }
        with_seal(&server, &format!("path = {:?}", old.display().to_string()))?;
        server.start()?;
        server.wait_ready()?;
        server.stop()
    })
    .await??;
    assert!(!copies.is_empty());
    Ok(())
}

#[test]
fn an_operators_certificate_is_renewed_for_the_same_key_and_commands_go_on() -> Result<()> {
    let (fleet, _machine) = founded()?;
    let operator = fleet.servers[0].home().join("operator");
    let read = |end: &str| -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let files = fs::read_dir(&operator)?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
        let files = files.into_iter().filter(|path| path.extension().is_some_and(|found| found == end));
        files.map(|path| Ok((path.clone(), fs::read(Path::new(&path))?))).collect()
    };
    let (certificates, keys) = (read("crt")?, read("key")?);
    ensure!(!certificates.is_empty() && !keys.is_empty(), "{certificates:?}");
    under_load(&fleet, || fleet.done(&["operator", "renew"]))?;
    assert_ne!(read("crt")?, certificates);
    assert_eq!(read("key")?, keys);
    fleet.done(&["server", "list"])?;
    let events = fleet.servers[0].events()?;
    assert!(events.iter().any(|event| event["reason"] == "OperatorRenewed"), "{events:?}");
    Ok(())
}
