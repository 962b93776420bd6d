//! The one screen of `muster status`.

use jiff::Timestamp;
use muster_proto::admin::v1::{CertificateExpiry, Status};

use super::{Fields, server_table};
use crate::cli::console::{Table, span};
use crate::cli::exit::Exit;

/// What the exit code of `muster status` tells.
pub(in crate::cli) fn status_exit(status: &Status) -> Exit {
    if status.sealed {
        Exit::Sealed
    } else if status.leader_id == 0 {
        Exit::Unreachable
    } else {
        Exit::Done
    }
}

/// The screen.
pub(in crate::cli) fn status_fields(status: &Status, now: Timestamp) -> Fields {
    let mut fields = Fields::default();
    let sealed = match (status.sealed, status.seal_reason.as_str()) {
        (false, _) => "no".to_owned(),
        (true, "") => "yes".to_owned(),
        (true, reason) => format!("yes: {reason}"),
    };
    let leader = match status.leader_id {
        0 => "none: no majority of servers is up, or an election is under way".to_owned(),
        leader if leader == status.server_id => format!("server {leader} (this one), term {}", status.raft_term),
        leader => format!("server {leader}, term {}", status.raft_term),
    };
    fields
        .add("Fleet", status.fleet.clone())
        .add("Server", format!("{}, version {}", status.server_id, status.version))
        .add("Sealed", sealed)
        .add("Leader", leader)
        .add("Applied index", status.applied_index.to_string())
        .add("Root pin", status.root_pin.clone())
        .add("Enrolment", status.enrolment_urls.join(", "))
        .add("Clock", clock(status, now))
        .add("Agents", format!("{} connected", status.connected_agents))
        .add("Tokens", format!("{} live", status.tokens_live));
    if !status.servers.is_empty() {
        fields.section("Servers").block(&server_table(&status.servers, false, now).render(false));
    }
    if !status.nodes.is_empty() {
        let mut table = Table::new(&["ROLE", "PHASE", "NODES"]);
        for phase in &status.nodes {
            table.row([phase.role.clone(), phase.phase.clone(), phase.count.to_string()]);
        }
        fields.section("Nodes").block(&table.render(false));
    }
    if !status.certificates.is_empty() {
        let mut table = Table::new(&["CERTIFICATE", "EXPIRES-IN"]);
        for certificate in &status.certificates {
            table.row([certificate.name.clone(), expires_in(certificate, now)]);
        }
        fields.section("Certificates").block(&table.render(false));
    }
    fields
}

fn expires_in(certificate: &CertificateExpiry, now: Timestamp) -> String {
    match &certificate.not_after {
        None => String::new(),
        Some(at) => match u64::try_from(at.seconds - now.as_second()) {
            Ok(left) if left > 0 => span(left),
            _ => "expired".to_owned(),
        },
    }
}

/// Clocks that differ are a common cause of "not yet valid"; a second is the noise of the call itself.
fn clock(status: &Status, now: Timestamp) -> String {
    let Some(server) = &status.server_time else { return String::new() };
    match server.seconds - now.as_second() {
        -1..=1 => "as here".to_owned(),
        ahead @ 2.. => format!("{} ahead of this machine", span(ahead.unsigned_abs())),
        behind => format!("{} behind this machine", span(behind.unsigned_abs())),
    }
}
