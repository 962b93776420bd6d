//! Who depends on whom, as cargo resolves it for Linux. Never touches the network if the registry's cache has what is needed.

use std::collections::BTreeSet;
use std::process::Command;

use super::tracked::root;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Names of all packages below `package`, itself included. `edges` is as for `cargo tree --edges`.
pub fn below(package: &str, edges: &str) -> BTreeSet<String> {
    tree(&["--package", package, "--edges", edges])
}

/// Names of all packages below any of the workspace.
pub fn below_all(edges: &str) -> BTreeSet<String> {
    tree(&["--workspace", "--edges", edges])
}

fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let mut failure = String::new();
    // Without the network first: it is all there once the tests were built.
    for network in [&["--offline"][..], &[]] {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--target", TARGET, "--prefix", "none", "--format", "{p}"])
            .args(network)
            .args(arguments)
            .current_dir(root())
            .output()
            .expect("cargo runs");
        if output.status.success() {
            let lines = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
            return lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        }
        failure = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    panic!("cargo tree {arguments:?}: {failure}");
}
