//! Where machines, agents and operators reach the fleet: what the settings write out, or what its servers say of themselves.

use muster_state::{State, record::ServerUrls};

/// What stands before a cluster's name in the URL of its discovery file.
pub const DISCOVERY_PATH: &str = "/discovery/v1/clusters/";

/// Where machines and operators reach this fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Urls {
    /// Enrolment listeners (9443).
    pub enrolment: Vec<String>,
    /// Node listeners (9444).
    pub nodes: Vec<String>,
    /// Operator listeners (9445).
    pub operators: Vec<String>,
}

/// What one server knows of it from its own settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Lists that stand over everything else; empty: the servers' own.
    pub written: Urls,
    /// This server's own listeners.
    pub own: Urls,
    /// Where this server serves discovery files over HTTPS, if it does.
    pub discovery: Option<DiscoveryPlace>,
}

/// Where discovery files are served over HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryPlace {
    /// `https://HOST:PORT`, as machines reach it.
    pub url: String,
    /// It shows the fleet's own certificate, which no machine's trust store knows.
    pub of_fleet: bool,
}

impl DiscoveryPlace {
    /// Where the file of a cluster is.
    pub fn file(&self, cluster: &str) -> String {
        format!("{}{DISCOVERY_PATH}{cluster}", self.url)
    }
}

impl Places {
    /// The lists in force: those written out, else those of all members by number, else this server's.
    pub fn urls(&self, state: &State) -> Urls {
        let list = |written: &Vec<String>, own: &Vec<String>, of: fn(&ServerUrls) -> &Vec<String>| {
            if !written.is_empty() {
                return written.clone();
            }
            let mut all: Vec<String> = Vec::new();
            for url in state.servers.values().filter(|server| server.standing.is_member()).flat_map(|it| of(&it.urls)) {
                if !all.contains(url) {
                    all.push(url.clone());
                }
            }
            if all.is_empty() { own.clone() } else { all }
        };
        let Self { written, own, discovery: _ } = self;
        Urls {
            enrolment: list(&written.enrolment, &own.enrolment, |urls| &urls.enrolment),
            nodes: list(&written.nodes, &own.nodes, |urls| &urls.nodes),
            operators: list(&written.operators, &own.operators, |urls| &urls.operators),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_state::{
        Bytes, Digest,
        command::{RecordServer, RemoveServer},
    };

    use super::*;
    use crate::api::fixture::{NOW_MS, mk_state};

    fn mk_urls(host: &str) -> Urls {
        let list = |port: u16| vec![format!("https://{host}:{port}")];
        Urls { enrolment: list(9443), nodes: list(9444), operators: list(9445) }
    }

    fn record(state: &mut State, server: u64, host: &str) {
        let Urls { enrolment, nodes, operators } = mk_urls(host);
        let start = RecordServer {
            server,
            key: Digest([0; 32]),
            sealing_key: Bytes(vec![1; 32]),
            address: format!("{host}:9446"),
            urls: ServerUrls { enrolment, nodes, operators },
            version: String::new(),
            generation: 1,
        };
        state.fleet.as_mut().unwrap().epochs.get_mut(&1).unwrap().insert(server, Bytes(vec![1]));
        state.apply_verb(NOW_MS, start).unwrap();
    }

    #[test]
    fn before_any_server_has_told_of_itself_there_is_this_one() {
        let places = Places { own: mk_urls("a"), ..Places::default() };
        assert_eq!(places.urls(&mk_state()), mk_urls("a"));
    }

    #[test]
    fn all_members_are_named_by_number_and_removed_ones_are_not() {
        let (mut state, places) = (mk_state(), Places { own: mk_urls("a"), ..Places::default() });
        for (server, host) in [(2, "b"), (1, "a"), (3, "c")] {
            record(&mut state, server, host);
        }
        let nodes = |state: &State| places.urls(state).nodes;
        assert_eq!(nodes(&state), ["https://a:9444", "https://b:9444", "https://c:9444"]);
        state.apply_verb(NOW_MS, RemoveServer { server: 2, force: false, reason: String::new() }).unwrap();
        assert_eq!(nodes(&state), ["https://a:9444", "https://c:9444"]);
    }

    #[test]
    fn what_the_settings_write_out_stands_list_by_list() {
        let mut state = mk_state();
        record(&mut state, 1, "a");
        let written = Urls { nodes: vec!["https://balancer:9444".into()], ..Urls::default() };
        let urls = Places { own: mk_urls("a"), written, ..Places::default() }.urls(&state);
        assert_eq!((urls.nodes, urls.operators), (vec!["https://balancer:9444".to_owned()], mk_urls("a").operators));
    }
}
