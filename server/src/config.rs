//! The server's settings: `/etc/muster/server.toml`, then the few `MUSTER_*` variables that override it.
//!
//! Every setting has a default, so the file may be missing or empty. A key that nothing knows is an error: a misspelt
//! setting must not be ignored in silence. No secret is kept here; [`Seal`] only says where the seal key comes from.
//!
//! Absent on purpose: reload while running, and layers of files. One file, read once, at the start.

mod discovery;
mod error;
mod keys;
mod print;
mod span;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use discovery::Discovery;
pub use error::ConfigError;
pub use span::Span;

use crate::storage::Engine;

/// Where the settings are looked for when no `--config` names a file. It may be missing.
pub const DEFAULT_FILE: &str = "/etc/muster/server.toml";

/// All settings of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who this server is and where it listens.
    pub server: Server,
    /// Discovery files over HTTPS.
    pub discovery: Discovery,
    /// Where the log is kept.
    pub storage: Storage,
    /// Where the seal key comes from.
    pub seal: Seal,
    /// What is logged and how.
    pub log: Log,
}

/// Who this server is and where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Its number among the servers of the fleet, which the fleet gives it and its data directory remembers; if it is written
    /// out, a start with another one is refused.
    pub id: Option<NonZeroU64>,
    /// Its log and snapshots.
    pub data_dir: PathBuf,
    /// The address that every listener binds.
    pub listen: IpAddr,
    /// A DNS name or address under which others reach it; without one, see [`Server::advertised_host`].
    pub advertise: Option<String>,
    /// A port per listener.
    pub ports: Ports,
    /// `HOST:PORT` of every server's enrolment listener, as printed for machines; empty: only this one.
    pub enrolment_urls: Vec<String>,
    /// `HOST:PORT` of every server's node listener, as told to agents; empty: only this one.
    pub node_urls: Vec<String>,
    /// `HOST:PORT` of every server's operator listener, as written into contexts; empty: only this one.
    pub operator_urls: Vec<String>,
    /// How long a server must have kept up with the leader before it gets the data keys and its vote.
    pub promote_after: Span,
}

/// A port per listener. 0 lets the kernel choose a free one, which only tests and the demo want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ports {
    /// Machines without an identity (TLS, server-authenticated only).
    pub enrolment: u16,
    /// Agents (mutual TLS).
    pub nodes: u16,
    /// Operators (mutual TLS).
    pub operators: u16,
    /// Other servers (mutual TLS).
    pub peers: u16,
    /// Health and metrics, in the clear.
    pub http: u16,
}

/// Where the log is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// The engine under the durability layer. A log that another one wrote is refused; `muster storage convert` moves it.
    pub backend: Engine,
}

/// Where the seal key comes from, under which the fleet's data keys are wrapped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seal {
    /// The kind of source.
    pub kind: SealKind,
    /// The file that holds it. Without one: beside the data directory for `file` ([`Config::seal_path`]); the credential
    /// named `seal-key` for `credential`; the credential `seal-passphrase` or a question on the terminal for `passphrase`.
    pub path: Option<PathBuf>,
    /// While the seal key is changed: the file with the one before, of the same kind. A start puts what is under it under the
    /// present one and says when it may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<PathBuf>,
}

/// A kind of source for the seal key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SealKind {
    /// A systemd credential (`LoadCredentialEncrypted=seal-key`).
    Credential,
    /// A key file, mode 0600; the first start makes one if it is missing, and says so.
    #[default]
    File,
    /// A passphrase, from a file or asked for.
    Passphrase,
}

/// What is logged and how; always to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// Levels per target, as in `info,openraft=warn`; `MUSTER_LOG` overrides it.
    pub level: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line.
    #[default]
    Text,
    /// One flat JSON object per line.
    Json,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            id: None,
            data_dir: PathBuf::from("/var/lib/muster"),
            listen: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            advertise: None,
            ports: Ports::default(),
            enrolment_urls: Vec::new(),
            node_urls: Vec::new(),
            operator_urls: Vec::new(),
            // Vault's own, and three times what a slow disk or a restart takes.
            promote_after: Span::seconds(10),
        }
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self { enrolment: 9443, nodes: 9444, operators: 9445, peers: 9446, http: 9080 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info,openraft=warn".to_owned() }
    }
}

impl Config {
    /// The settings in force: those of `file`, or of [`DEFAULT_FILE`] if that exists, under those of this process'
    /// environment.
    ///
    /// # Errors
    /// [`ConfigError`], which names the file, the line and the key or the variable.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        let config = match file {
            Some(file) => Self::read(file)?,
            None if default.exists() => Self::read(default)?,
            None => Self::default(),
        };
        config.overridden_by(process_variable)
    }

    /// The settings that the file `path` holds.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { file: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// The settings that `text` holds; `file` is only named in errors.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let lines = keys::check(file, text)?;
        let config: Self = toml::from_str(text).map_err(|error| keys::syntax(file, text, &error))?;
        let invalid = |section: &'static str, key: &'static str, why: &str| ConfigError::Invalid {
            file: file.to_owned(),
            line: lines.line_of(section, key),
            key: format!("{section}.{key}"),
            why: why.to_owned(),
        };
        if let Some(host) = &config.server.advertise {
            check_host(host).map_err(|why| invalid("server", "advertise", why))?;
        }
        for (key, urls) in [
            ("enrolment_urls", &config.server.enrolment_urls),
            ("node_urls", &config.server.node_urls),
            ("operator_urls", &config.server.operator_urls),
        ] {
            for url in urls {
                check_authority(url).map_err(|why| invalid("server", key, &format!("{url:?} {why}")))?;
            }
        }
        config.discovery.check().map_err(|(key, why)| invalid("discovery", key, &why))?;
        config.check_seal().map_err(|why| invalid("seal", "path", why))?;
        Ok(config)
    }

    /// These settings with those variables over them that are set and not empty.
    ///
    /// # Errors
    /// [`ConfigError::Variable`] for a value that does not fit.
    pub fn overridden_by(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let wrong = |name: &'static str, why: String| ConfigError::Variable { name, why };
        if let Some(path) = set("MUSTER_DATA_DIR") {
            self.server.data_dir = PathBuf::from(path);
        }
        if let Some(address) = set("MUSTER_LISTEN") {
            self.server.listen =
                address.parse().map_err(|_| wrong("MUSTER_LISTEN", format!("{address:?} is no IP address")))?;
        }
        if let Some(host) = set("MUSTER_ADVERTISE") {
            check_host(&host).map_err(|why| wrong("MUSTER_ADVERTISE", why.to_owned()))?;
            self.server.advertise = Some(host);
        }
        if let Some(level) = set("MUSTER_LOG") {
            self.log.level = level;
        }
        self.check_seal().map_err(|why| wrong("MUSTER_DATA_DIR", why.to_owned()))?;
        Ok(self)
    }

    /// These settings for another data directory.
    ///
    /// # Errors
    /// [`ConfigError::Variable`] if the seal key would lie in it.
    pub fn with_data_dir(mut self, directory: PathBuf) -> Result<Self, ConfigError> {
        self.server.data_dir = directory;
        self.check_seal().map_err(|why| ConfigError::Variable { name: "--data-dir", why: why.to_owned() })?;
        Ok(self)
    }

    fn check_seal(&self) -> Result<(), &'static str> {
        let mut files = self.seal.path.iter().chain(&self.seal.previous);
        if files.any(|path| path.starts_with(&self.server.data_dir)) {
            return Err("the seal key must not be in the data directory: whoever copies the data would have its key");
        }
        Ok(())
    }

    /// The key file of `kind = "file"`: the one written out, or `<data_dir>-seal/key`, beside the data directory and never
    /// in it, so that a copy of the data does not carry its own key.
    pub fn seal_path(&self) -> PathBuf {
        self.seal.path.clone().unwrap_or_else(|| match self.server.data_dir.file_name() {
            Some(name) => {
                let mut beside = name.to_owned();
                beside.push("-seal");
                self.server.data_dir.with_file_name(beside).join("key")
            }
            // `.`, `..` or `/`: a path without a name of its own.
            None => self.server.data_dir.join("..").join("muster-seal").join("key"),
        })
    }

    /// All settings as a file that [`Config::parse`] reads back as these, each with a word on what it is.
    pub fn print(&self) -> String {
        print::print(self)
    }
}

impl Server {
    /// The host that others are told: `advertise`, or the address it listens on, or, when it listens on all, the address
    /// that the machine would speak from to the outside; loopback on a machine without a route.
    pub fn advertised_host(&self) -> String {
        if let Some(host) = &self.advertise {
            return host.clone();
        }
        if !self.listen.is_unspecified() {
            return self.listen.to_string();
        }
        outward_address(self.listen).unwrap_or(loopback(self.listen)).to_string()
    }

    /// Where a listener with this port binds.
    pub fn socket(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.listen, port)
    }

    /// Where other servers reach this one, `host:port`.
    pub fn peer_address(&self) -> String {
        authority(&self.advertised_host(), self.ports.peers)
    }

    /// Where machines enrol, as https URLs: the list written out, or this server.
    pub fn enrolment_urls(&self) -> Vec<String> {
        self.or_this_one(&self.enrolment_urls, self.ports.enrolment)
    }

    /// Where agents connect, as https URLs: the list written out, or this server.
    pub fn node_urls(&self) -> Vec<String> {
        self.or_this_one(&self.node_urls, self.ports.nodes)
    }

    /// Where operators connect, as https URLs: the list written out, or this server.
    pub fn operator_urls(&self) -> Vec<String> {
        self.or_this_one(&self.operator_urls, self.ports.operators)
    }

    fn or_this_one(&self, authorities: &[String], port: u16) -> Vec<String> {
        let url = |authority: &String| format!("https://{authority}");
        if !authorities.is_empty() {
            return authorities.iter().map(url).collect();
        }
        vec![url(&authority(&self.advertised_host(), port))]
    }
}

/// `HOST:PORT`, IPv6 in brackets.
fn authority(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// The one place that reads this process' environment for the server.
#[expect(clippy::disallowed_methods, reason = "see above")]
fn process_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A name or address alone: certificates and lists are made from it.
fn check_host(host: &str) -> Result<(), &'static str> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let labels_are_fine = host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if labels_are_fine {
        Ok(())
    } else {
        Err("must be an IP address or a lower-case DNS name, without scheme and port")
    }
}

/// `HOST:PORT`, IPv6 in brackets.
fn check_authority(text: &str) -> Result<(), &'static str> {
    const WRONG: &str = "must be HOST:PORT (IPv6 in brackets), without a scheme";
    if text.parse::<SocketAddr>().is_ok() {
        return Ok(());
    }
    let (host, port) = text.rsplit_once(':').ok_or(WRONG)?;
    match port.parse::<u16>() {
        Ok(port) if port != 0 && !host.contains(':') => check_host(host).map_err(|_| WRONG),
        _ => Err(WRONG),
    }
}

fn loopback(listen: IpAddr) -> IpAddr {
    if listen.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(std::net::Ipv6Addr::LOCALHOST) }
}

/// The address of the default route. Connecting a UDP socket sends nothing; it only makes the kernel choose one. The
/// targets are from the ranges for documentation.
fn outward_address(listen: IpAddr) -> Option<IpAddr> {
    let target = if listen.is_ipv4() { "192.0.2.1:9" } else { "[2001:db8::1]:9" };
    let socket = std::net::UdpSocket::bind(SocketAddr::new(listen, 0)).ok()?;
    socket.connect(target).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_unspecified())
}
