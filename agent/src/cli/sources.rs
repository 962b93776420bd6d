//! One setting from several sources: flags, then environment, kernel command line, systemd credentials, file.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::RunArgs;
use super::environment::Environment;
use crate::facts::{Facts, KernelArguments, Sources};
use crate::settings::{FactSource, Settings, Token, Wanted};
use crate::url::{ServerUrl, UrlError};

/// With `--once`: how long to look for a server, seconds.
const GIVE_UP_ONCE: u64 = 600;

/// Longest token read from a file or standard input, bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// `/etc/muster/agent.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// Addresses.
    #[serde(default)]
    server: Vec<String>,
    ca_hash: Option<String>,
    role: Option<String>,
    node: Option<String>,
    labels: Option<String>,
    token_file: Option<PathBuf>,
}

/// Everything outside the command line that a setting may come from.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// `MUSTER_AGENT_*`, without the prefix, in lower case.
    pub environment: BTreeMap<String, String>,
    /// `muster.*`.
    pub kernel: KernelArguments,
    /// systemd's directory for this unit.
    pub credentials: Option<PathBuf>,
    /// The file.
    pub file: FileSettings,
}

/// Why the settings make no sense.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Nothing says where to go.
    #[error(
        "no server is known: give --server https://boot.example:9443, MUSTER_AGENT_SERVER or muster.server= on the kernel command line"
    )]
    NoServer,
    /// Nothing says whom to trust.
    #[error(
        "no pin is known: give --ca-hash sha256:…, MUSTER_AGENT_CA_HASH or muster.ca= on the kernel command line; `muster pin` prints it"
    )]
    NoPin,
    /// An address.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The pin.
    #[error("the CA hash cannot be used: {0}")]
    Pin(#[from] muster_trust::PinError),
    /// The role.
    #[error("\"{0}\" is no role: write auto, worker or control-plane")]
    Role(String),
    /// The labels.
    #[error("\"{0}\" is no label: write k=v,k=v")]
    Labels(String),
    /// A token as an argument.
    #[error(
        "a token is not taken as an argument, because everybody on the machine can read arguments: `echo TOKEN | muster-agent run … \
         --token-file -`, or MUSTER_AGENT_TOKEN"
    )]
    TokenArgument,
    /// A token that cannot be read.
    #[error("cannot read the token from {from}: {why}")]
    Token {
        /// File or standard input.
        from: String,
        /// Why.
        why: String,
    },
    /// The settings file.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Where and why.
        why: String,
    },
}

impl SettingsError {
    /// 2 for wrong usage, 3 for a value that makes no sense.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NoServer | Self::NoPin | Self::TokenArgument => 2,
            Self::Url(_) | Self::Pin(_) | Self::Role(_) | Self::Labels(_) | Self::Token { .. } | Self::File { .. } => 3,
        }
    }
}

impl Surroundings {
    /// Those of this process.
    ///
    /// # Errors
    /// If the settings file is there and makes no sense.
    pub fn of_process() -> Result<Self, SettingsError> {
        let Environment { settings, credentials, .. } = Environment::of_process();
        Ok(Self {
            environment: settings,
            kernel: KernelArguments::read(Path::new("/proc")),
            credentials,
            file: read_file(Path::new("/etc/muster/agent.toml"))?,
        })
    }

    /// The first source that has it. Names differ: `ca_hash` in the environment and the file, `ca` on the kernel command line,
    /// `muster.ca` as a credential.
    fn pick(&self, flag: Option<String>, environment: &str, short: &str, file: Option<&String>) -> Option<String> {
        flag.or_else(|| self.environment.get(environment).cloned())
            .or_else(|| self.kernel.muster(short).map(str::to_owned))
            .or_else(|| self.credential(short))
            .or_else(|| file.cloned())
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    fn credential(&self, short: &str) -> Option<String> {
        let dir = self.credentials.as_ref()?;
        std::fs::read_to_string(dir.join(format!("muster.{short}"))).ok()
    }

    fn token(&self, args: &RunArgs) -> Result<Option<Token>, SettingsError> {
        if args.token.is_some() {
            return Err(SettingsError::TokenArgument);
        }
        if let Some(path) = &args.token_file {
            return read_token(path).map(Some);
        }
        let near = self.environment.get("token").and_then(|text| Token::new(text));
        let near = near.or_else(|| self.kernel.muster("token").and_then(Token::new));
        if let Some(token) = near.or_else(|| self.credential("token").and_then(|text| Token::new(&text))) {
            return Ok(Some(token));
        }
        self.file.token_file.as_deref().map(read_token).transpose()
    }
}

fn read_file(path: &Path) -> Result<FileSettings, SettingsError> {
    let error = |why: String| SettingsError::File { path: path.display().to_string(), why };
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|why| error(why.to_string())),
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(FileSettings::default()),
        Err(why) => Err(error(why.to_string())),
    }
}

fn read_token(path: &Path) -> Result<Token, SettingsError> {
    let from = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(TOKEN_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
    };
    let error = |why: String| SettingsError::Token { from: from.clone(), why };
    read.map_err(|why| error(why.to_string()))?;
    Token::new(&text).ok_or_else(|| error("it is empty".to_owned()))
}

/// The settings of `run` and `plan`.
///
/// # Errors
/// [`SettingsError`].
pub(super) fn settings(args: &RunArgs, around: &Surroundings) -> Result<Settings, SettingsError> {
    // First, so that a secret on the command line is spoken of whatever else is wrong.
    let token = match around.token(args) {
        // A token is for enrolling; whoever has enrolled starts without the file that it came from.
        Err(SettingsError::Token { .. }) if args.place.state_dir.join("identity.json").exists() => None,
        token => token?,
    };
    let servers = servers(args, around)?;
    let pin = around.pick(args.ca_hash.clone(), "ca_hash", "ca", around.file.ca_hash.as_ref());
    let pin = pin.ok_or(SettingsError::NoPin)?.parse()?;
    let role = around.pick(args.role.clone(), "role", "role", around.file.role.as_ref()).unwrap_or_default();
    let role = match role.as_str() {
        "" | "auto" => String::new(),
        "worker" | "control-plane" => role,
        _ => return Err(SettingsError::Role(role)),
    };
    let labels = around.pick(args.labels.clone(), "labels", "labels", around.file.labels.as_ref()).unwrap_or_default();
    let once = GIVE_UP_ONCE;
    let give_up_after = args.give_up_after.or(args.once.then_some(once)).map(Duration::from_secs);
    let facts = match &args.rehearse_as {
        Some(name) => FactSource::Given(Box::new(Facts::invented(name))),
        None => FactSource::Machine(Sources { dmi: args.place.dmi_dir.clone(), ..Sources::default() }),
    };
    Ok(Settings {
        token,
        once: args.once,
        give_up_after,
        facts,
        wanted: Wanted {
            role,
            node_name: around.pick(args.node.clone(), "node", "node", around.file.node.as_ref()).unwrap_or_default(),
            labels: parse_labels(&labels)?,
        },
        ..Settings::new(servers, pin, args.place.state_dir.clone())
    })
}

fn servers(args: &RunArgs, around: &Surroundings) -> Result<Vec<ServerUrl>, SettingsError> {
    let flag = (!args.server.is_empty()).then(|| args.server.join(","));
    let file = (!around.file.server.is_empty()).then(|| around.file.server.join(","));
    let text = around.pick(flag, "server", "server", file.as_ref()).ok_or(SettingsError::NoServer)?;
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let servers: Vec<ServerUrl> = parts.map(str::parse).collect::<Result<_, _>>()?;
    if servers.is_empty() { Err(SettingsError::NoServer) } else { Ok(servers) }
}

fn parse_labels(text: &str) -> Result<BTreeMap<String, String>, SettingsError> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
            _ => Err(SettingsError::Labels(pair.to_owned())),
        })
        .collect()
}

#[cfg(test)]
mod tests;
