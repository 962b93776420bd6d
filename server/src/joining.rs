//! `muster server join`: this host asks to become one of a fleet's servers, and waits for an operator. What it made and was given
//! is on disk before anybody hears of it, so the same command goes on after an interruption, with the same keys.
//!
//! Reading order: this file (the host's side), [`conversation`] (the wire's; a member renews its certificate by it, too).

pub mod conversation;

use std::{
    fs::File,
    io::{Read as _, stdin},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use muster_trust::Pin;
use tonic::transport::Uri;
use zeroize::Zeroizing;

use crate::{
    cli::{
        args::JoinServerArgs,
        exit::{Exit, Failure},
    },
    config::Config,
    identity::{
        Identity, Private, Standing,
        marker::{self, Marker},
        seal_key,
    },
    storage::directory::DataDirectory,
};
use conversation::{Applicant, JoinError, Pending, Places};

/// Port of the enrolment listener, taken when a URL names none.
const ENROLMENT_PORT: u16 = 9443;
/// Largest token file that is read, in bytes.
const TOKEN_FILE_MAX: u64 = 4096;
/// Before the second try; doubled with each further one.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Never longer: an approval is noticed soon after the fleet is back.
const PAUSE_LONGEST: Duration = Duration::from_secs(10);

/// Asks, waits, and leaves a data directory with which `muster serve` runs as a member.
///
/// # Errors
/// A [`Failure`] if the fleet refuses for good, or something is wrong on this host.
pub async fn run(args: JoinServerArgs) -> anyhow::Result<()> {
    let JoinServerArgs { urls, ca, token_file, token, config } = args;
    if token.is_some() {
        let why = "a token as an argument can be read by everyone on this machine, and stays in the shell's history";
        let next = "give it with --token-file FILE, or --token-file - for standard input";
        return Err(Failure::new(Exit::Usage, why).with_next(next).into());
    }
    let urls = urls.iter().map(|url| parse_url(url)).collect::<Result<Vec<_>, _>>()?;
    let pin: Pin = ca.parse().map_err(|err| Failure::new(Exit::Invalid, format!("--ca: {err}")))?;
    let config = Config::load(config.as_deref())?;
    let places = places(&config)?;
    crate::logging::start(&config.log)?;
    let token = token_file.as_deref().map(read_token).transpose()?;
    // Held to the end, so that no server runs here meanwhile.
    let _owned = DataDirectory::open(&config.server.data_dir)?;
    let (mut identity, private) = prepare(&config)?;
    eprintln!("This server's key: {}", identity.fingerprint());
    let applicant = Applicant { pin, key: &private.identity, sealing: private.own.sealing.public(), token, places };
    let membership = until_admitted(&applicant, &urls).await?;
    let marker = Marker { server: membership.server, fleet: membership.fleet.clone() };
    identity.remember(Standing::Member(membership))?;
    // The marker itself is written by the first start, when there is a log to be missed.
    eprintln!("This is {marker} now; its certificate is in {}.", config.server.data_dir.display());
    eprintln!("Next: muster serve");
    Ok(())
}

/// The identity of a host that asks: that of an earlier try, or a new one.
fn prepare(config: &Config) -> anyhow::Result<(Identity, Private)> {
    let data_dir = &config.server.data_dir;
    let found = Identity::read(data_dir)?;
    if let Some(membership) = found.as_ref().and_then(Identity::membership) {
        let why = format!("{} is that of server {} already", data_dir.display(), membership.server);
        return Err(Failure::new(Exit::Conflict, why).with_next("muster serve").into());
    }
    if DataDirectory::was_used(data_dir) || found.as_ref().is_some_and(|found| *found.standing() == Standing::Founder) {
        let why = format!("{} holds a server's log; a server that joins brings an empty one", data_dir.display());
        return Err(Failure::new(Exit::Conflict, why).into());
    }
    let key_made = |path: &Path| {
        eprintln!(
            "Made a new seal key, {}; keep a copy elsewhere: without it the data can't be opened.",
            path.display()
        );
    };
    let seal_key = seal_key::find(config, found.is_none(), key_made)?;
    if let Some(identity) = found {
        let private = identity.open(seal_key)?;
        return Ok((identity, private));
    }
    if let Some(before) = Marker::read(&marker::path(config)) {
        eprintln!(
            "This host was {before}; it gets a new number. If that one is still listed: muster server remove {}",
            before.server
        );
    }
    Ok(Identity::create(data_dir, seal_key, Standing::Applicant)?)
}

/// One server after the other, for as long as it takes an operator to decide.
async fn until_admitted(applicant: &Applicant<'_>, urls: &[Uri]) -> anyhow::Result<crate::identity::Membership> {
    let (mut told, mut pause) = (String::new(), PAUSE_FIRST);
    let own = applicant.key.fingerprint().to_string();
    for url in urls.iter().cycle() {
        let mut asked = false;
        let mut pending = |seen: Pending| {
            asked = true;
            tell(&mut told, words(&seen, &own));
        };
        match applicant.ask(url, &mut pending).await {
            Ok(membership) => return Ok(membership),
            Err(err) if err.is_retryable() => tell(&mut told, format!("{err}; trying on")),
            Err(err) => return Err(failure(err).into()),
        }
        // It was heard, so the next try is no burden.
        pause = if asked { PAUSE_FIRST } else { (pause * 2).min(PAUSE_LONGEST) };
        tokio::time::sleep(pause).await;
    }
    bail!("no server was given")
}

fn words(seen: &Pending, own: &str) -> String {
    let Pending { server, fingerprint } = seen;
    if fingerprint != own {
        return format!("the fleet saw another key than this server's ({fingerprint}); do not approve it");
    }
    format!(
        "The fleet knows it as server {server}. Compare the key, and let it in from where you are an operator:\n  \
         muster server approve {server} --fingerprint {own}\n\
         Waiting. After an interruption the same command goes on from here; --token-file is not needed again."
    )
}

/// Says something once, however often it is so.
fn tell(told: &mut String, words: String) {
    if *told != words {
        eprintln!("{words}");
        *told = words;
    }
}

fn failure(error: JoinError) -> Failure {
    let exit = match &error {
        JoinError::Refused { .. } => Exit::NotAllowed,
        JoinError::Untrusted { .. } | JoinError::Protocol(_) => Exit::Invalid,
        JoinError::Unreachable { .. } => Exit::Unreachable,
        JoinError::Own(_) => Exit::Failed,
    };
    let failure = Failure::new(exit, error.to_string());
    match exit {
        Exit::Invalid => failure.with_next("compare --ca with the pin that `muster status` shows"),
        _ => failure,
    }
}

/// What others will be told of this server; they can't be told of a port that changes with each start.
fn places(config: &Config) -> anyhow::Result<Places> {
    let ports = config.server.ports;
    if [ports.enrolment, ports.nodes, ports.operators, ports.peers].contains(&0) {
        bail!("a server that joins needs fixed ports in [server.ports]");
    }
    Ok(Places {
        address: config.server.peer_address(),
        enrolment: config.server.enrolment_urls(),
        nodes: config.server.node_urls(),
        operators: config.server.operator_urls(),
    })
}

/// `https://host:port` from a URL or from `host[:port]`.
fn parse_url(text: &str) -> Result<Uri, Failure> {
    let wrong = || {
        let why = format!("{text:?} is no server; write it like https://192.0.2.1:{ENROLMENT_PORT}");
        Failure::new(Exit::Usage, why)
    };
    let rest = match text.trim().split_once("://") {
        Some(("https", rest)) => rest.trim_end_matches('/'),
        Some(_) => return Err(wrong()),
        None => text.trim(),
    };
    if rest.is_empty() || rest.contains(['/', '?', '#', '@']) {
        return Err(wrong());
    }
    let has_port = rest.rfind(':').is_some_and(|colon| !rest[colon..].contains(']'));
    let authority = if has_port { rest.to_owned() } else { format!("{rest}:{ENROLMENT_PORT}") };
    let uri: Uri = format!("https://{authority}/").parse().map_err(|_| wrong())?;
    if uri.host().is_none_or(str::is_empty) || uri.port_u16().is_none() { Err(wrong()) } else { Ok(uri) }
}

fn read_token(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        stdin().take(TOKEN_FILE_MAX).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(TOKEN_FILE_MAX).read_to_string(&mut text))
    };
    read.with_context(|| format!("--token-file {}", path.display()))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests;
