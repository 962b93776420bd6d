//! What the agent was told to be, from whichever source.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use muster_trust::Pin;
use zeroize::Zeroizing;

use crate::facts::{Facts, Sources};
use crate::url::ServerUrl;

/// An enrolment token. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The token in `text`, without the blanks and line ends around it; `None` if that leaves nothing.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// For the wire alone.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// What the command line asks for. Claims like all else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `worker`, `control-plane`, or empty for whatever the fleet decides.
    pub role: String,
    /// Empty for whatever the fleet decides.
    pub node_name: String,
    /// For selectors.
    pub labels: BTreeMap<String, String>,
}

/// Where facts come from.
#[derive(Debug, Clone)]
pub enum FactSource {
    /// This machine.
    Machine(Sources),
    /// Given, for rehearsals of many machines in one process.
    Given(Box<Facts>),
}

/// Everything that [`crate::run`] needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Enrolment listeners, at least one.
    pub servers: Vec<ServerUrl>,
    /// Of the fleet root: the only anchor of trust.
    pub pin: Pin,
    /// To be admitted with; without one an operator approves.
    pub token: Option<Token>,
    /// For keys and journal; made with mode 0700.
    pub state_dir: PathBuf,
    /// End when the server has recorded that the node is Ready, instead of staying attached.
    pub once: bool,
    /// End after this time without any server; `None`: never.
    pub give_up_after: Option<Duration>,
    /// What the machine claims to be.
    pub facts: FactSource,
    /// What it asks for.
    pub wanted: Wanted,
    /// When the agent is to stop: how long a running call may still take.
    pub grace: Duration,
}

impl Settings {
    /// The least: servers, pin and state directory; all else by default.
    pub fn new(servers: Vec<ServerUrl>, pin: Pin, state_dir: PathBuf) -> Self {
        Self {
            servers,
            pin,
            token: None,
            state_dir,
            once: false,
            give_up_after: None,
            facts: FactSource::Machine(Sources::default()),
            wanted: Wanted::default(),
            // Most calls end within it; systemd gives 90 s.
            grace: Duration::from_secs(30),
        }
    }

    /// The facts to send.
    pub(crate) fn facts(&self) -> Facts {
        let facts = match &self.facts {
            FactSource::Machine(sources) => Facts::read(sources),
            FactSource::Given(facts) => (**facts).clone(),
        };
        Facts {
            wanted_role: self.wanted.role.clone(),
            wanted_node_name: self.wanted.node_name.clone(),
            labels: self.wanted.labels.clone(),
            ephemeral_state: crate::identity::is_ephemeral(&self.state_dir),
            ..facts
        }
    }
}
