//! No secret of a fleet is anywhere but where it belongs: not on a server's disk, not in a log, an event, a metric, an
//! argument list, nor on a machine that has no use for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use muster_server::consensus::{Consensus, Options, Peer};
use muster_state::State;
use muster_tests::secrets::Inventory;
use muster_tests::{ClusterFile, Enrolment, Machine, Sampler, Server};

/// Everything that all parts have to say.
const TALKATIVE: &str = "trace";

/// A fleet that became Ready while everything that could leak was collected.
struct Collected {
    server: Server,
    lines: Vec<Enrolment>,
    machines: Vec<Machine>,
    collection: PathBuf,
}

fn collect() -> Result<Collected> {
    let sampler = Sampler::start();
    let mut server = Server::founded_with_log(TALKATIVE)?;
    let file = ClusterFile::new("prod").pool("cp", "control-plane", "bound", &["cp-1", "cp-2"]).pool(
        "worker",
        "worker",
        "bound",
        &["worker-1"],
    );
    let lines = file.apply(&server)?;
    let mut machines = Vec::new();
    for enrolment in &lines {
        let mut machine = server.machine(&enrolment.node)?;
        machine.paste(&enrolment.line, "-vv")?;
        machines.push(machine);
    }
    server.done(&["wait", "cluster/prod", "--for", "control-planes=2,workers=1", "--timeout", "2m"])?;
    let collection = server.home().join("collection");
    fs::create_dir(&collection)?;
    let write = |name: &str, text: String| fs::write(collection.join(name), text);
    write("metrics", server.http("/metrics")?.1)?;
    write("readyz", server.http("/readyz?verbose")?.1)?;
    for (name, args) in [
        ("events", &["events"][..]),
        ("nodes", &["get", "nodes"]),
        ("tokens", &["get", "tokens"]),
        ("clusters", &["get", "clusters"]),
        ("status", &["status"]),
    ] {
        write(name, server.done(&[args, &["-o", "json"]].concat())?)?;
        write(&format!("{name}.txt"), server.done(args)?)?;
    }
    for machine in &machines {
        write(&format!("{}.log", machine.name()), server.done(&["logs", machine.name()])?)?;
        write(&format!("{}.described", machine.name()), server.done(&["describe", "node", machine.name()])?)?;
    }
    for machine in &mut machines {
        machine.kill()?;
    }
    // A snapshot is written, and the log of an unclean end lies there as well.
    server.stop()?;
    server.start()?;
    server.wait_ready()?;
    server.kill()?;
    let seen = sampler.write_to(&collection.join("argument-lists"))?;
    assert!(seen > 10, "only {seen} argument lists were seen");
    Ok(Collected { server, lines, machines, collection })
}

impl Collected {
    fn token_of(&self, at: usize) -> Result<&str> {
        self.lines[at].line.split_whitespace().nth(1).context("no token in the line")
    }

    /// The server's secrets, the tokens, and the machines' and the operator's own keys.
    async fn inventory(&self) -> Result<Inventory> {
        let mut inventory = Inventory::of_server(&self.server.data_dir(), &self.server.seal_key(), 1).await?;
        for at in 0..self.lines.len() {
            inventory.add_token(self.token_of(at)?);
        }
        for machine in &self.machines {
            let name = machine.name();
            let key = fs::read(machine.state_dir().join("identity-1.key"))?;
            inventory.add_private_key(&format!("identity key of {name}"), &key)?;
            inventory.add(&format!("sealing key of {name}"), &fs::read(machine.state_dir().join("sealing.key"))?);
        }
        let operator = fs::read(self.server.home().join("operator/local.key"))?;
        inventory.add_private_key("operator's key", &operator)?;
        Ok(inventory)
    }

    /// Where no secret may be.
    fn places(&self) -> Result<Vec<PathBuf>> {
        let mut places = vec![self.server.data_dir(), self.server.log_file(), self.collection.clone()];
        for machine in &self.machines {
            places.push(machine.log_file());
            for entry in fs::read_dir(machine.state_dir())? {
                let path = entry?.path();
                // Its own keys belong there, and nowhere else.
                if path.extension().is_none_or(|extension| extension != "key") {
                    places.push(path);
                }
            }
        }
        Ok(places)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fleet_was_formed_no_secret_is_where_it_does_not_belong() -> Result<()> {
    let collected = tokio::task::spawn_blocking(collect).await??;
    let inventory = collected.inventory().await?;
    let names: Vec<&str> = inventory.names().collect();
    for kind in [
        "seal key",
        "fleet key root",
        "fleet key node",
        "prod ca.key",
        "prod etcd/ca.key",
        "prod sa.key",
        "prod front-proxy-ca.key",
        "prod certificate key",
        "bootstrap token",
        "enrolment token",
        "identity key of cp-1",
        "sealing key of worker-1",
        "operator's key",
    ] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "no {kind} among {names:?}");
    }
    // A token per joining machine, and the one made with the cluster.
    assert!(names.iter().filter(|name| name.starts_with("bootstrap token")).count() >= 3, "{names:?}");
    let places = collected.places()?;
    let paths: Vec<&Path> = places.iter().map(PathBuf::as_path).collect();
    assert_eq!(inventory.scan(&paths)?, [], "of {} secrets", inventory.len());
    let bytes: u64 = places.iter().map(|place| size_of(place)).sum();
    println!("{} secrets in no form in {} bytes of {} places", inventory.len(), bytes, places.len());
    assert!(bytes > 1_000_000, "only {bytes} bytes were looked at: was anything logged?");
    planted_ones_are_found(&collected, &inventory)
}

/// The same scan of the same places finds each secret that is put there, and so does the program.
fn planted_ones_are_found(collected: &Collected, inventory: &Inventory) -> Result<()> {
    let planted = collected.collection.join("planted");
    let names: Vec<String> = inventory.names().map(str::to_owned).collect();
    for name in &names {
        let material = inventory.material(name).context("no such secret")?;
        fs::write(&planted, format!("a line\n{{\"key\":\"{}\"}}\n", hex::encode(material)))?;
        let hits = inventory.scan(&[&collected.collection])?;
        assert!(hits.iter().any(|hit| hit.name == *name && hit.file == planted), "{name} was not found: {hits:?}");
    }
    fs::remove_file(&planted)?;
    let scan = |paths: &[&Path]| -> Result<(Option<i32>, String)> {
        let mut program = Command::new(env!("CARGO_BIN_EXE_secret_scan"));
        program.arg(collected.server.data_dir()).arg(collected.server.seal_key()).args(paths);
        let output = program.output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    let (code, words) = scan(&[&collected.collection])?;
    assert_eq!(code, Some(0), "{words}");
    // The seal key lies beside the data directory, where it belongs; told to look there, the program finds it.
    let (code, words) = scan(&[&collected.collection, &collected.server.seal_key()])?;
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("seal key"), "{words}");
    Ok(())
}

fn size_of(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| size_of(&entry.path())).sum(),
        Err(_) => fs::metadata(path).map_or(0, |metadata| metadata.len()),
    }
}

#[tokio::test]
async fn a_scan_that_knows_no_secret_does_not_pass() -> Result<()> {
    let home = tempfile::tempdir()?;
    let data = home.path().join("data");
    let consensus = Consensus::<State>::open(Options::new(&data, 1)).await?;
    consensus.initialize(Peer { address: "127.0.0.1".to_owned() }).await?;
    consensus.wait_ready(std::time::Duration::from_secs(30)).await?;
    consensus.shutdown().await;
    let mut program = Command::new(env!("CARGO_BIN_EXE_secret_scan"));
    let output = program.arg(&data).arg(home.path().join("no-key")).arg(&data).output()?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    Ok(())
}
