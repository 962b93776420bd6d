//! Without its own seal key a server serves nobody and changes nothing; and a data directory has one server.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use muster_state::State;
use muster_tests::raw::{Listener, connect, operator, words_of};
use muster_tests::secrets::state_of;
use muster_tests::{ClusterFile, SOON, Server, eventually};

/// A stopped server whose fleet has a cluster with all its secrets.
fn stopped() -> Result<Server> {
    let mut server = Server::founded()?;
    ClusterFile::new("prod").pool("cp", "control-plane", "bound", &["cp-1"]).apply(&server)?;
    server.kill()?;
    Ok(server)
}

fn write_key(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// What a missing or wrong key must not change: all but the clock.
fn secrets_of(mut state: State) -> State {
    state.now_ms = 0;
    // Each start of a server is recorded, with an event.
    state.servers.clear();
    state.events.clear();
    state.last_event = 0;
    // And a window of the log may have been full, and compared, in one of them.
    state.comparisons.clear();
    state
}

/// Waits until the server says that it is sealed, and checks that it serves nobody.
async fn sealed(server: &mut Server, words: &[&str]) -> Result<()> {
    let body = eventually("a sealed server", SOON, || match server.http("/readyz") {
        Ok((503, body)) if body.contains("[-]seal failed") && !body.contains("looking for") => Ok(body),
        other => Err(format!("{other:?}")),
    })?;
    assert!(words.iter().all(|word| body.contains(word)), "{words:?} not in: {body}");
    assert_eq!(server.http("/livez")?.0, 200, "a restart would not unseal it, so it must count as alive");
    assert!(server.http("/metrics")?.1.contains("muster_sealed 1"));
    for listener in Listener::ALL {
        let identity = (listener == Listener::Operators).then(|| operator(server)).transpose()?;
        // The port may take a connection; nobody behind it says a word.
        let attempt =
            tokio::time::timeout(std::time::Duration::from_secs(2), connect(server, listener, identity)).await;
        let served = matches!(attempt, Ok(Ok(_)));
        assert!(!served, "{listener:?} is served");
        if let Ok(Err(error)) = attempt {
            assert!(!words_of(&error).contains("certificate"), "it shows a certificate: {error:#}");
        }
    }
    assert_eq!(server.ended()?, None, "it gave up; it must wait for its key");
    Ok(())
}

#[tokio::test]
async fn a_server_with_another_key_is_sealed_changes_nothing_and_serves_again_with_its_own() -> Result<()> {
    let mut server = stopped()?;
    let (before, own) = (secrets_of(state_of(&server.data_dir(), 1).await?), fs::read_to_string(server.seal_key())?);
    write_key(&server.seal_key(), &format!("{}\n", "5a".repeat(32)))?;
    server.start()?;
    sealed(&mut server, &[]).await?;
    assert!(!server.log().contains(&"5a".repeat(32)), "the wrong key is in the log");
    server.stop()?;
    assert_eq!(secrets_of(state_of(&server.data_dir(), 1).await?), before, "the state was changed");
    assert_eq!(fs::read_to_string(server.seal_key())?, format!("{}\n", "5a".repeat(32)), "the key file was changed");

    write_key(&server.seal_key(), &own)?;
    server.start()?;
    server.wait_ready()?;
    assert_eq!(server.json(&["cluster", "list"])?["items"][0]["spec"]["name"], "prod");
    Ok(())
}

#[tokio::test]
async fn a_founded_server_without_its_key_makes_no_new_one_and_unseals_when_it_comes_back() -> Result<()> {
    let mut server = stopped()?;
    let (before, own) = (secrets_of(state_of(&server.data_dir(), 1).await?), fs::read_to_string(server.seal_key())?);
    fs::remove_file(server.seal_key())?;
    server.start()?;
    let path = server.seal_key();
    sealed(&mut server, &[&path.to_string_lossy()]).await?;
    assert!(!server.seal_key().exists(), "a founded fleet was given a new key");

    // An operator puts it back; no restart is needed.
    write_key(&server.seal_key(), &own)?;
    server.wait_ready()?;
    assert_eq!(server.json(&["cluster", "list"])?["items"][0]["spec"]["name"], "prod");
    server.stop()?;
    assert_eq!(secrets_of(state_of(&server.data_dir(), 1).await?), before, "the state was changed");
    Ok(())
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut server = stopped()?;
    fs::set_permissions(server.seal_key(), fs::Permissions::from_mode(0o644))?;
    server.start()?;
    let path = server.seal_key();
    sealed(&mut server, &[&path.to_string_lossy()]).await
}

#[test]
fn a_second_server_on_a_live_data_directory_ends_and_names_it() -> Result<()> {
    let mut server = Server::founded()?;
    let mut rival = server.rival()?;
    rival.start()?;
    assert_eq!(rival.wait_end(SOON)?, 1, "{}", rival.log());
    let (log, directory) = (rival.log(), server.data_dir());
    let last = log.lines().last().context("it said nothing")?;
    assert!(last.contains(&*directory.to_string_lossy()), "the directory is not named: {last}");
    // The first one did not even notice.
    assert_eq!(server.ended()?, None);
    server.wait_ready()?;
    let address = SocketAddr::from((server.address(), 9443));
    TcpStream::connect(address)?;
    Ok(())
}
