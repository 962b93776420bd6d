//! The line that is pasted on a machine: which server, which pin, and a token that is in no argument list.

use muster_proto::admin::v1::{CreateTokenRequest, GetStatusRequest, Selector, Token};
use muster_trust::Pin;
use zeroize::Zeroizing;

use crate::cli::client::{Session, request_id};
use crate::cli::console::plain;
use crate::cli::exit::{Exit, Failure};
use crate::cli::muster_token::MusterToken;

/// Where machines enrol, and the pin by which they know the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Door {
    urls: Vec<String>,
    pin: Pin,
}

/// What a new token is for.
#[derive(Debug, Clone, Default)]
pub(super) struct Purpose {
    pub(super) cluster: String,
    pub(super) pool: String,
    /// For a bound token: the node it admits.
    pub(super) node_name: String,
    pub(super) ttl_s: u64,
    pub(super) uses: u32,
    pub(super) selector: Option<Selector>,
}

impl Door {
    /// As the server tells it.
    ///
    /// # Errors
    /// If the server tells none, or something that must not be pasted into a shell.
    pub(super) async fn of(session: &Session) -> Result<Self, Failure> {
        let status = session.call(async |mut client| client.get_status(GetStatusRequest {}).await).await?;
        Self::new(status.enrolment_urls, &status.root_pin)
    }

    fn new(urls: Vec<String>, pin: &str) -> Result<Self, Failure> {
        let failed = |message: String| Failure::new(Exit::Failed, message);
        if urls.is_empty() {
            return Err(failed("the server names no address for enrolment".to_owned())
                .with_next("set advertise in the server's configuration"));
        }
        if let Some(bad) = urls.iter().find(|url| !is_plain_url(url)) {
            return Err(failed(format!("the server names an enrolment address that is none: {}", plain(bad))));
        }
        let pin = pin.parse().map_err(|error| failed(format!("the server's root pin is none: {error}")))?;
        Ok(Self { urls, pin })
    }

    /// `host:port` of each server, for the kernel command line.
    pub(super) fn authorities(&self) -> Vec<&str> {
        self.urls.iter().map(|url| url.trim_start_matches("https://").trim_end_matches('/')).collect()
    }

    /// The arguments of `muster-agent run`, unquoted.
    pub(super) fn arguments(&self) -> Vec<String> {
        let servers = self.urls.iter().flat_map(|url| ["--server".to_owned(), url.clone()]);
        servers.chain(["--ca-hash".to_owned(), self.pin.to_string()]).collect()
    }

    /// The pin of the fleet root.
    pub(super) fn pin(&self) -> Pin {
        self.pin
    }

    /// The line for one machine. `echo` is a part of every shell, so the token is in no argument list of a process.
    pub(super) fn line(&self, token: &MusterToken) -> Zeroizing<String> {
        let arguments: Vec<String> = self.arguments().iter().map(|argument| quoted(argument)).collect();
        Zeroizing::new(format!("echo {} | muster-agent run {} --token-file -", token.expose(), arguments.join(" ")))
    }
}

impl Door {
    /// The line for a machine that is to become a server.
    pub(super) fn server_line(&self, token: &MusterToken) -> Zeroizing<String> {
        let urls: Vec<String> = self.urls.iter().map(|url| quoted(url)).collect();
        let (token, urls, pin) = (token.expose(), urls.join(" "), self.pin);
        Zeroizing::new(format!("echo {token} | muster server join {urls} --ca {pin} --token-file -"))
    }
}

/// Makes a token on this machine and tells the server its hash.
///
/// # Errors
/// If there is no randomness, or the server refuses.
pub(super) async fn make_token(session: &Session, purpose: &Purpose) -> Result<(MusterToken, Token), Failure> {
    let token = MusterToken::generate()?;
    let request = CreateTokenRequest {
        request_id: request_id(),
        id: token.id().to_owned(),
        sha256: token.sha256().to_vec(),
        cluster: purpose.cluster.clone(),
        pool: purpose.pool.clone(),
        node_name: purpose.node_name.clone(),
        ttl_seconds: purpose.ttl_s,
        uses: purpose.uses,
        selector: purpose.selector.clone(),
    };
    let stored = session.call(async |mut client| client.create_token(request.clone()).await).await?;
    Ok((token, stored))
}

/// A URL of host and port without anything that a shell or a kernel command line would take apart.
fn is_plain_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
    })
}

/// Quotes what some shell would take for a pattern: the brackets of an IPv6 address.
fn quoted(argument: &str) -> String {
    if argument.contains(['[', ']']) { format!("'{argument}'") } else { argument.to_owned() }
}

#[cfg(test)]
pub(super) mod testing {
    use super::Door;

    pub(in crate::cli::command) const PIN: &str =
        "sha256:e1aa6649e300beb13400cdf1e600a2496462a09b52b6fe03417cdcf838b32d68";

    /// A door to these servers.
    pub(in crate::cli::command) fn mk_door(urls: &[&str]) -> Door {
        Door::new(urls.iter().map(|url| (*url).to_owned()).collect(), PIN).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{PIN, mk_door};
    use super::*;

    fn mk_token() -> MusterToken {
        MusterToken::parse(&format!("mst-abcd1234-{}", "x".repeat(32))).unwrap()
    }

    #[test]
    fn the_line_feeds_the_token_through_standard_input() {
        let door = mk_door(&["https://192.0.2.1:9443"]);
        assert_eq!(
            *door.line(&mk_token()),
            format!(
                "echo mst-abcd1234-{} | muster-agent run --server https://192.0.2.1:9443 --ca-hash {PIN} --token-file -",
                "x".repeat(32)
            )
        );
    }

    #[test]
    fn the_agent_understands_what_is_pasted() {
        use clap::Parser as _;
        let line = mk_door(&["https://192.0.2.1:9443", "https://192.0.2.2:9443"]).line(&mk_token());
        let (_, command) = line.split_once(" | ").unwrap();
        muster_agent::cli::Cli::try_parse_from(command.split(' ')).unwrap();
    }

    #[test]
    fn every_server_is_named_and_brackets_are_quoted() {
        let door = mk_door(&["https://a:9443", "https://[2001:db8::1]:9443"]);
        assert!(door.line(&mk_token()).contains("--server https://a:9443 --server 'https://[2001:db8::1]:9443' "));
        assert_eq!(door.authorities(), ["a:9443", "[2001:db8::1]:9443"]);
    }

    #[test]
    fn what_a_shell_would_run_is_never_printed() {
        for url in
            ["https://a;reboot", "https://$(reboot)", "http://a:1", "https://a:1 --token x", "https://a'b", "https://"]
        {
            assert!(Door::new(vec![url.into()], PIN).is_err(), "{url}");
        }
        assert!(Door::new(vec!["https://a:1".into()], "sha256:00").is_err());
        assert!(Door::new(Vec::new(), PIN).is_err());
    }
}
