//! Cluster files, and what applying them prints.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::Server;

/// A cluster file in the making.
#[derive(Clone, Debug)]
pub struct ClusterFile {
    name: String,
    pools: String,
}

/// One printed line for one named machine.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The node's name.
    pub node: String,
    /// Its role.
    pub role: String,
    /// What to paste.
    pub line: String,
}

impl ClusterFile {
    /// A cluster without pools.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), pools: String::new() }
    }

    /// Adds a pool; `nodes` are names, and the first pool's first address is the endpoint's.
    #[must_use]
    pub fn pool(mut self, name: &str, role: &str, admission: &str, nodes: &[&str]) -> Self {
        let _ = writeln!(self.pools, "    - name: {name}\n      role: {role}\n      admission: {admission}");
        if !nodes.is_empty() {
            self.pools.push_str("      nodes:\n");
        }
        for node in nodes {
            let _ = writeln!(self.pools, "        - {{ name: {node} }}");
        }
        self
    }

    /// The file.
    pub fn text(&self) -> String {
        let Self { name, pools } = self;
        format!(
            "apiVersion: muster/v1\nkind: Cluster\nmetadata: {{ name: {name} }}\nspec:\n  kubernetes: {{ version: v1.36.2, \
             endpoint: \"{name}.example:6443\" }}\n  keyAlgorithm: ECDSA-P256\n  pools:\n{pools}"
        )
    }

    /// Applies it with the command line and gives the lines that were printed for named machines.
    ///
    /// # Errors
    /// If it is refused.
    pub fn apply(&self, server: &Server) -> Result<Vec<Enrolment>> {
        let file = server.home().join(format!("{}.yaml", self.name));
        fs::write(&file, self.text())?;
        let printed = server.done(&["cluster", "apply", "-f", &file.to_string_lossy()])?;
        enrolments(&printed)
    }
}

/// Takes `# NODE (ROLE)` and the line after it from what was printed for people.
fn enrolments(printed: &str) -> Result<Vec<Enrolment>> {
    let mut lines = printed.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(title) = line.strip_prefix("# ") else { continue };
        let Some((node, role)) = title.strip_suffix(')').and_then(|title| title.split_once(" (")) else {
            bail!("no title of a line: {line}");
        };
        let line = lines.next().context("a title without a line")?.to_owned();
        found.push(Enrolment { node: node.to_owned(), role: role.to_owned(), line });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_lines_are_taken_with_their_titles() {
        let printed = "cluster/a created\n# cp-1 (control-plane)\necho x | muster-agent run\n# w (worker)\necho y\n";
        let found = enrolments(printed).unwrap();
        assert_eq!((found[0].node.as_str(), found[0].role.as_str()), ("cp-1", "control-plane"));
        assert_eq!((found[0].line.as_str(), found[1].line.as_str()), ("echo x | muster-agent run", "echo y"));
        assert!(enrolments("# w (worker)").is_err());
    }
}
