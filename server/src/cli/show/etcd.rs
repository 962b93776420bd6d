//! The members of a cluster's etcd.

use muster_proto::admin::v1::{Etcd, EtcdMember};

use crate::cli::console::{Paint, Table, stamp};

/// The table of `etcd list`.
pub(in crate::cli) fn etcd_table(members: &[EtcdMember]) -> Table {
    let mut table = Table::new(&["ID", "NAME", "ROLE", "STARTED", "HEALTHY", "PEER-URLS", "NOTE"]);
    for member in members {
        let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let note = if member.removing { "being taken out" } else { "" };
        let paint = if member.healthy { Paint::Good } else { Paint::Bad };
        table
            .row([
                member.id.clone(),
                member.name.clone(),
                member.role.clone(),
                word(member.started),
                word(member.healthy),
                member.peer_urls.join(","),
                note.to_owned(),
            ])
            .paint("HEALTHY", Some(paint));
    }
    table
}

/// Why what is shown may not be what is; `None` if it is.
pub(in crate::cli) fn etcd_problem(etcd: &Etcd) -> Option<String> {
    if etcd.problem.is_empty() {
        return None;
    }
    let known = if etcd.members.is_empty() { "they were never seen" } else { "this is what was last seen" };
    Some(format!(
        "etcd's members can't be seen since {}: {}; {known}",
        stamp(etcd.problem_since.as_ref()),
        etcd.problem
    ))
}
