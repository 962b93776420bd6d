//! Changing the engine of a server that has a log, with the real program.

use anyhow::{Result, ensure};
use muster_server::storage::Engine;
use muster_tests::{MOMENT, Server};

/// The code of a command that failed for none of the reasons that have their own.
const FAILED: i32 = 1;

#[test]
fn a_server_goes_on_under_the_other_engine_once_its_log_was_converted() {
    convert_there_and_back().unwrap();
}

fn convert(server: &Server) -> Result<muster_tests::Output> {
    let settings = server.settings_file();
    server.muster(&["storage", "convert", "--config", settings.to_str().unwrap_or_default()])
}

fn clusters(server: &Server) -> Result<Vec<String>> {
    let listed = server.json(&["get", "clusters"])?;
    let items = listed["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().map(|cluster| cluster["spec"]["name"].as_str().unwrap_or_default().to_owned()).collect())
}

fn convert_there_and_back() -> Result<()> {
    let mut server = Server::founded()?;
    let mut expected = Vec::new();
    for (from, to) in [(Engine::Sled, Engine::Redb), (Engine::Redb, Engine::Sled)] {
        let name = format!("on-{from}");
        server.done(&["cluster", "create", &name, "--endpoint", "k8s.example:6443", "--kubernetes", "v1.36.2"])?;
        expected.push(name);
        server.set_engine(to)?;
        let refused = convert(&server)?;
        ensure!(refused.code == FAILED && refused.stderr.contains("in use by process"), "{}", refused.stderr);
        server.stop()?;
        server.start()?;
        ensure!(server.wait_end(MOMENT)? == FAILED, "it started on a log that {from} keeps:\n{}", server.log());
        server.kill()?;
        for word in [&format!("kept by {from}"), &format!("\"{to}\""), "muster storage convert"] {
            ensure!(server.log().contains(word), "{word:?} is not in:\n{}", server.log());
        }
        let done = convert(&server)?;
        ensure!(done.code == 0 && done.stdout.contains(&format!("now kept by {to}, no longer by {from}")), "{done:?}");
        let again = convert(&server)?;
        ensure!(again.code == 0 && again.stdout.contains(&format!("kept by {to} already")), "{again:?}");
        server.start()?;
        server.wait_ready()?;
        let mut found = clusters(&server)?;
        found.sort_unstable_by_key(|name| expected.iter().position(|expected| expected == name));
        ensure!(found == expected, "{found:?}, not {expected:?}");
    }
    Ok(())
}
