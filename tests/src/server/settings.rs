//! What a server is told before it starts: settings, and what its disk is like.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use muster_server::storage::Engine;

use super::Server;
use crate::disk::{Fault, Mains};
use crate::network::{Place, command_in};
use crate::{binaries, process::command};

/// Settings that scenarios vary.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Levels of its log.
    pub log: String,
    /// Engine of its log: `sled` or `redb`.
    pub engine: &'static str,
    /// A library to load into it, with the text of `SHIM`.
    pub preload: Option<(PathBuf, String)>,
    /// Machines are told of this server only, as in a rack that reaches no other.
    pub alone_for_nodes: bool,
    /// Where it runs: on a loopback address of its own unless told.
    pub place: Option<Place>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            log: "info,openraft=warn".to_owned(),
            engine: "sled",
            preload: None,
            alone_for_nodes: false,
            place: None,
        }
    }
}

impl Server {
    /// The program `muster` where this server is.
    pub(super) fn command(&self) -> Result<Command> {
        let program = &binaries()?.muster;
        Ok(match &self.namespace {
            Some(namespace) => command_in(namespace, program, &self.home)?,
            None => command(program, &self.home),
        })
    }

    /// Gives it the operator of the server that founded its fleet.
    pub(crate) fn operated_as(&mut self, founder: &Self) {
        self.operator.clone_from(&founder.operator);
    }

    pub(super) fn configure(&self, data_dir: &Path, settings: &ServerSettings) -> Result<()> {
        let listen = self.address();
        let data_dir = data_dir.display();
        let ServerSettings { log, engine, alone_for_nodes, .. } = settings;
        let urls = if *alone_for_nodes { format!("node_urls = [\"{listen}:9444\"]\n") } else { String::new() };
        let text = format!(
            "[server]\ndata_dir = \"{data_dir}\"\nlisten = \"{listen}\"\npromote_after = \"500ms\"\n{urls}\
             [storage]\nbackend = \"{engine}\"\n[log]\nlevel = \"{log}\"\n"
        );
        Ok(fs::write(self.home.join("server.toml"), text)?)
    }

    /// Its settings.
    pub fn settings_file(&self) -> PathBuf {
        self.home.join("server.toml")
    }

    /// Names the engine that keeps its log, from its next start on.
    ///
    /// # Errors
    /// If its settings can't be written.
    pub fn set_engine(&self, engine: Engine) -> Result<()> {
        let text = fs::read_to_string(self.settings_file())?;
        let line = |line: &str| match line.starts_with("backend = ") {
            true => format!("backend = \"{engine}\"\n"),
            false => format!("{line}\n"),
        };
        Ok(fs::write(self.settings_file(), text.lines().map(line).collect::<String>())?)
    }

    /// Puts its data directory on a disk that may lose its power, from its next start on; what is in it counts as durable. Not
    /// together with a preloaded library of the settings.
    ///
    /// # Errors
    /// As [`Mains::plug_in`].
    pub fn plug_into(&mut self, mains: &mut Mains) -> Result<()> {
        self.disk = mains.plug_in(&self.data_dir())?;
        Ok(())
    }

    /// Puts its data directory on a disk that keeps its power, from its next start on.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn plug_past(&mut self, mains: &Mains) -> Result<()> {
        self.disk = mains.bypass(&self.data_dir().canonicalize()?);
        Ok(())
    }

    /// Gives the disk that it was plugged into a fault, from its next start on.
    pub fn break_disk(&mut self, fault: &Fault) {
        self.fault = fault.variables();
    }

    /// Takes the fault away, from its next start on.
    pub fn mend_disk(&mut self) {
        self.fault.clear();
    }
}
