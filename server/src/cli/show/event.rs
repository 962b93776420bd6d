//! Events.

use jiff::Timestamp;
use muster_proto::admin::v1::Event;

use super::{Columns, Fields};
use crate::cli::console::{Paint, Table, age};

const COLUMNS: Columns =
    Columns { all: &["AGE", "TYPE", "REASON", "NODE", "MESSAGE", "SEQUENCE", "CLUSTER", "NODE-ID"], narrow: 5 };

/// Events that `describe` shows.
pub(super) const DESCRIBED: usize = 20;

/// Widths for rows that are printed as they come.
pub(in crate::cli) fn event_widths() -> &'static [u16] {
    &[6, 7, 22, 16]
}

/// The table of `get events`.
pub(in crate::cli) fn event_table(events: &[Event], wide: bool, now: Timestamp) -> Table {
    let mut table = COLUMNS.table(wide);
    for event in events {
        let cells = [
            age(event.at.as_ref(), now),
            event.r#type.clone(),
            event.reason.clone(),
            if event.node_name.is_empty() { event.node_id.clone() } else { event.node_name.clone() },
            event.message.clone(),
            event.sequence.to_string(),
            event.cluster.clone(),
            event.node_id.clone(),
        ];
        let paint = (event.r#type == "Warning").then_some(Paint::Bad);
        table.row(COLUMNS.cut(wide, cells)).paint("TYPE", paint);
    }
    table
}

/// The last events, as the end of `describe`.
pub(in crate::cli) fn events_below(fields: &mut Fields, events: &[Event], now: Timestamp) {
    let last = &events[events.len().saturating_sub(DESCRIBED)..];
    fields.section("Events");
    if last.is_empty() {
        fields.block("<none>");
    } else {
        fields.block(&event_table(last, false, now).render(false));
    }
}
