//! One rehearsed machine: the agent's own loop with its own state directory and hardware facts.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use muster_agent::{Executor, FactSource, Facts, Rehearsal, RehearsalOptions, Settings, Token};
use muster_proto::admin::v1::{NamedNode, Status};
use tokio_util::sync::CancellationToken;

use crate::cli::muster_token::MusterToken;

/// A machine that is about to boot.
pub(super) struct Machine {
    settings: Settings,
    rehearsal: Rehearsal,
    name: String,
}

impl Machine {
    pub(super) fn new(
        number: usize,
        node: &NamedNode,
        status: &Status,
        home: &Path,
        token: MusterToken,
    ) -> anyhow::Result<Self> {
        let servers = status.enrolment_urls.iter().map(|url| url.parse()).collect::<Result<Vec<_>, _>>()?;
        let pin = status.root_pin.parse().context("the pin of the fleet root")?;
        let state_dir: PathBuf = home.join("machines").join(&node.name);
        std::fs::create_dir_all(&state_dir)?;
        let mut settings = Settings::new(servers, pin, state_dir);
        settings.token = Token::new(token.expose());
        settings.grace = Duration::from_secs(1);
        settings.facts = FactSource::Given(Box::new(Facts {
            uuid: format!("00000000-0000-4000-8000-{number:012x}"),
            serial: format!("DEMO{number:04}"),
            macs: vec![format!("02:00:00:00:{:02x}:{:02x}", number / 256, number % 256)],
            hostname: node.name.clone(),
            addresses: vec![node.address.clone()],
            ..Facts::default()
        }));
        let rehearsal = Rehearsal::new(RehearsalOptions { seed: node.name.clone(), ..RehearsalOptions::default() });
        Ok(Self { settings, rehearsal, name: node.name.clone() })
    }

    /// Runs until shutdown.
    pub(super) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { settings, rehearsal, name } = self;
        let outcome = muster_agent::run(settings, Executor::Rehearsal(rehearsal), shutdown.clone()).await;
        match outcome {
            Ok(_) if shutdown.is_cancelled() => std::future::pending().await,
            Ok(_) => Ok(()),
            Err(err) => Err(anyhow::Error::from(err).context(name)),
        }
    }
}
