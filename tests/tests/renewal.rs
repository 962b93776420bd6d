//! Certificates are renewed with new keys, and a key in two hands locks its node.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use muster_tests::raw::{Applicant, Attached, Certified};
use muster_tests::{ClusterFile, Machine, SOON, Server, eventually};
use serde_json::Value;
use tonic::Code;

fn server() -> Result<Server> {
    let server = Server::founded()?;
    ClusterFile::new("prod").pool("worker", "worker", "token", &[]).apply(&server)?;
    Ok(server)
}

fn token(server: &Server) -> Result<String> {
    let made = server.json(&["token", "create", "--pool", "worker"])?;
    made["token"].as_str().map(str::to_owned).context("no token was printed")
}

async fn worker(server: &Server) -> Result<(Applicant, Certified)> {
    let machine = Applicant::new("a-worker")?;
    let node = machine.admitted(server, &token(server)?).await?;
    Attached::open(server, &node, &machine).await?.instruction().await?;
    Ok((machine, node))
}

fn node(server: &Server, id: &str) -> Result<Value> {
    server.nodes()?.into_iter().find(|node| node["id"] == id).context("the node is gone")
}

#[tokio::test]
async fn the_old_key_is_good_until_the_new_one_is_used_and_locks_the_node_after() -> Result<()> {
    let server = server()?;
    let (machine, old) = worker(&server).await?;
    let next = Applicant::new("next")?;
    let answer = old.renew(&server, &next).await??;
    assert_eq!(answer.generation, 2);
    // The answer may be lost: the same question gets the same answer.
    assert_eq!(old.renew(&server, &next).await??, answer);
    // Nobody has used it yet, so the old key is the node.
    Attached::open(&server, &old, &machine).await?.instruction().await?;
    assert_eq!(node(&server, &old.node_id)?["generation"], "1");

    let new = old.renewed(&next.key, &answer);
    Attached::open(&server, &new, &machine).await?.instruction().await?;
    assert_eq!(node(&server, &old.node_id)?["generation"], "2");
    let refused = old.renew(&server, &Applicant::new("third")?).await?;
    assert_eq!(refused.err().map(|status| status.code()), Some(Code::Aborted));

    // Whoever still shows the old one holds a copy.
    let opened = match Attached::open(&server, &old, &machine).await {
        Ok(mut stream) => stream.instruction().await.map(|_| ()),
        Err(error) => Err(error),
    };
    let status = opened.err().context("the old key was let in")?.downcast::<tonic::Status>()?;
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    let locked = node(&server, &old.node_id)?;
    assert_eq!((&locked["phase"], &locked["locked"]), (&"Locked".into(), &true.into()), "{locked}");
    Ok(())
}

#[tokio::test]
async fn two_different_keys_from_one_generation_lock_the_node() -> Result<()> {
    let server = server()?;
    let (machine, old) = worker(&server).await?;
    let mut stream = Attached::open(&server, &old, &machine).await?;
    stream.instruction().await?;
    let (one, other) = (Applicant::new("one")?, Applicant::new("other")?);
    let answer = old.renew(&server, &one).await??;
    let refused = old.renew(&server, &other).await?.err().context("a second key was taken")?;
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let locked = node(&server, &old.node_id)?;
    assert_eq!(locked["phase"], "Locked", "{locked}");
    assert!(locked["message"].as_str().is_some_and(|text| text.contains("two different keys")), "{locked}");
    // Neither the first answer nor the old key opens anything now.
    for identity in [old.renewed(&one.key, &answer), old] {
        let status = Attached::open(&server, &identity, &machine).await.err().context("it was let in")?;
        assert_eq!(status.downcast::<tonic::Status>()?.code(), Code::PermissionDenied);
    }
    Ok(())
}

#[tokio::test]
async fn a_request_for_somebody_elses_name_binds_no_key() -> Result<()> {
    let server = server()?;
    let (_, old) = worker(&server).await?;
    let greedy = Applicant::new("greedy")?;
    let request = greedy.request_with(|params| params.distinguished_name.push(rcgen::DnType::CommonName, "another"))?;
    let refused = old.renew_with(&server, request).await?.err().context("it was signed")?;
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    // The honest renewal that follows is not taken for a second key.
    assert_eq!(old.renew(&server, &Applicant::new("next")?).await??.generation, 2);
    Ok(())
}

/// Hours by which the agent's clock is set forward: past two thirds of a certificate's day, before its end.
const HOURS_AHEAD: u32 = 18;

#[test]
fn an_agent_renews_before_the_end_with_a_new_key_and_stays_attached() -> Result<()> {
    let server = Server::founded()?;
    let lines = ClusterFile::new("prod").pool("cp", "control-plane", "bound", &["cp-1"]).apply(&server)?;
    let mut machine = server.machine("cp-1")?;
    machine.paste(&lines[0].line, "")?;
    server.done(&["wait", "node/cp-1", "--for", "phase=Ready", "--timeout", "1m"])?;
    let before = machine.fingerprint()?;
    machine.kill()?;

    machine.preload(&build_shim(server.home())?, &(HOURS_AHEAD * 3600).to_string());
    machine.paste(&lines[0].line, "")?;
    machine.wait_log(SOON, &["certificate renewed", "generation=2"])?;
    let renewed = eventually("the second generation", SOON, || match server.nodes() {
        Ok(nodes) if nodes[0]["generation"] == "2" && nodes[0]["connected"] == true => Ok(nodes[0].clone()),
        Ok(nodes) => Err(format!("{nodes:?}")),
        Err(error) => Err(format!("{error:#}")),
    })?;
    assert_ne!(renewed["keyFingerprint"], before.as_str(), "{renewed}");
    assert_eq!((&renewed["phase"], renewed["attempt"].as_u64()), (&"Ready".into(), Some(1)), "{renewed}");
    old_key_is_gone(&machine)
}

/// Once the new key is in use, the old one is off the disk.
fn old_key_is_gone(machine: &Machine) -> Result<()> {
    let file = |number: u32| machine.state_dir().join(format!("identity-{number}.key"));
    eventually("the old key's end", SOON, || {
        let (old, new) = (file(1).exists(), file(2).exists());
        if new && !old { Ok(()) } else { Err(format!("old: {old}, new: {new}")) }
    })
}

fn build_shim(home: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/clock_ahead.c");
    let shim = home.join("clock_ahead.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&shim).arg(source).arg("-ldl");
    ensure!(compiler.status().context("a C compiler is needed, as `cc`")?.success(), "the shim does not compile");
    Ok(shim)
}
