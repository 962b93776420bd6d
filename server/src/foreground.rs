//! `muster serve`: a server in the foreground, with words for whoever started it.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, FirstContext, Progress, Sockets},
    cli::{args::ServeArgs, context::default_path},
    config::Config,
    operations::Unsealed,
};

/// Name of the context that a first start writes.
const CONTEXT: &str = "local";

/// Runs a server until SIGTERM or Ctrl-C; a second signal ends it at once.
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(args.config.as_deref())?;
    if args.print_config {
        print!("{}", config.print());
        return Ok(());
    }
    crate::logging::start(&config.log)?;
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone())?);
    let sockets = Sockets::bind(&config).await?;
    app::serve(config, sockets, &Words, shutdown).await
}

#[expect(clippy::disallowed_methods, reason = "a second signal means now, without the grace that the first one gives")]
fn stop_on_signal(shutdown: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!("stopping; a second signal ends it at once");
        shutdown.cancel();
        next().await;
        std::process::exit(1);
    })
}

struct Words;

impl Progress for Words {
    fn key_made(&self, path: &Path) {
        tracing::warn!(path = %path.display(), "made a new seal key; keep a copy elsewhere: without it the data can't be opened");
    }

    fn sealed(&self, why: &str) {
        eprintln!("This server is sealed and serves nobody: {why}");
    }

    fn serving(&self, server: &Unsealed, first: Option<&FirstContext>) {
        for url in &server.urls().enrolment {
            tracing::info!(fleet = %server.fleet, enrolment = %url, "serving");
        }
        let (Some(path), Some(first)) = (default_path(None), first) else { return };
        match first.write(&path, CONTEXT) {
            Ok(_) => tracing::info!(config = %path.display(), context = CONTEXT, "this host's operator context"),
            Err(err) => tracing::warn!(err = %format!("{err:#}"), "no operator context was written for this host"),
        }
    }
}
