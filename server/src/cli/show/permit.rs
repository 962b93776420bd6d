//! Permits: who holds a step that must be serial, and who waits.

use jiff::Timestamp;
use muster_proto::admin::v1::Permit;

use super::Columns;
use crate::cli::console::{Table, age};

const COLUMNS: Columns =
    Columns { all: &["CLUSTER", "KIND", "HOLDER", "HELD", "WAITING", "GRANTS", "HOLDER-ID", "QUEUE"], narrow: 6 };

/// The table of `get permits`.
pub(in crate::cli) fn permit_table(permits: &[Permit], wide: bool, now: Timestamp) -> Table {
    let mut table = COLUMNS.table(wide);
    for permit in permits {
        let free = permit.holder.is_empty();
        let holder = if permit.holder_name.is_empty() { &permit.holder } else { &permit.holder_name };
        let cells = [
            permit.cluster.clone(),
            permit.kind.clone(),
            holder.clone(),
            if free { String::new() } else { age(permit.since.as_ref(), now) },
            permit.waiting.len().to_string(),
            permit.grants.to_string(),
            permit.holder.clone(),
            permit.waiting.join(","),
        ];
        table.row(COLUMNS.cut(wide, cells));
    }
    table
}
