//! Muster's own servers.

use jiff::Timestamp;
use muster_proto::admin::v1::Server;

use super::{Columns, Fields};
use crate::cli::console::{Paint, Table, age, span, stamp};

const COLUMNS: Columns = Columns {
    all: &[
        "ID",
        "ADDRESS",
        "STATE",
        "ROLE",
        "TERM",
        "INDEX",
        "LAG",
        "VERSION",
        "WANTED",
        "DATA-KEYS",
        "SEEN",
        "FINGERPRINT",
        "MESSAGE",
    ],
    narrow: 8,
};

/// What is shown of a member's place where the server that answered does not know it.
const UNKNOWN: &str = "unknown";

/// `server/ID`.
pub(in crate::cli) fn server_name(server: &Server) -> String {
    format!("server/{}", server.id)
}

/// The table of `server list` and `get servers`.
pub(in crate::cli) fn server_table(servers: &[Server], wide: bool, now: Timestamp) -> Table {
    let mut table = COLUMNS.table(wide);
    for server in servers {
        table.row(COLUMNS.cut(wide, cells(server, now))).paint("STATE", paint(server));
    }
    table
}

fn cells(server: &Server, now: Timestamp) -> [String; 13] {
    [
        server.id.to_string(),
        server.address.clone(),
        server.state.clone(),
        server.role.clone(),
        place(server, server.term),
        place(server, server.index),
        place(server, server.lag_entries),
        server.version.clone(),
        server.wanted.clone(),
        if server.has_data_keys { "yes" } else { "no" }.to_owned(),
        age(server.seen.as_ref(), now),
        server.key_fingerprint.clone(),
        server.message.clone(),
    ]
}

/// Where a member is; nothing for a server that is no member.
fn place(server: &Server, number: Option<u64>) -> String {
    match number {
        Some(number) => number.to_string(),
        None if server.role.is_empty() => String::new(),
        None => UNKNOWN.to_owned(),
    }
}

fn paint(server: &Server) -> Option<Paint> {
    match server.state.as_str() {
        "Leader" | "Follower" | "Learner" => Some(Paint::Good),
        "Pending" | "Approved" | "Promoting" | "Candidate" | "Removing" => Some(Paint::Pending),
        "Unreachable" => Some(Paint::Bad),
        _ => None,
    }
}

/// The screen of `describe server`.
pub(in crate::cli) fn server_fields(server: &Server) -> Fields {
    let mut fields = Fields::default();
    let silence = |ms: u64| if ms < 1_000 { "just now".to_owned() } else { format!("{} ago", span(ms / 1_000)) };
    fields
        .add("Id", server.id.to_string())
        .add("Address", server.address.clone())
        .add("State", server.state.clone())
        .add("Message", server.message.clone())
        .add("Role", server.role.clone())
        .add("Wanted", server.wanted.clone())
        .add("Since", stamp(server.since.as_ref()))
        .add("Term", place(server, server.term))
        .add("Index", place(server, server.index))
        .add("Lag", place(server, server.lag_entries))
        .add("Answered", server.silence_ms.map(silence).unwrap_or_default())
        .add("Version", server.version.clone())
        .add("Key fingerprint", server.key_fingerprint.clone())
        .add("Data keys", if server.has_data_keys { "yes" } else { "no" })
        .add("Certificate", until(server))
        .add("Asked from", server.requested_from.clone())
        .add("Asked", stamp(server.requested.as_ref()))
        .add("Seen", stamp(server.seen.as_ref()))
        .add("Starts", if server.generation == 0 { String::new() } else { server.generation.to_string() });
    for (name, urls) in
        [("Enrolment", &server.enrolment_urls), ("Nodes", &server.node_urls), ("Operators", &server.operator_urls)]
    {
        fields.add(name, urls.join(", "));
    }
    fields
}

fn until(server: &Server) -> String {
    match &server.certificate_not_after {
        Some(end) => format!("until {}", stamp(Some(end))),
        None => String::new(),
    }
}
