//! How each kind of thing looks to people. JSON and YAML need nothing of this: they are the messages themselves.

mod cluster;
mod etcd;
mod event;
mod fields;
mod node;
mod permit;
mod pool;
mod server;
mod status;
mod token;

pub(super) use cluster::{cluster_fields, cluster_name, cluster_table, cluster_widths};
pub(super) use etcd::{etcd_problem, etcd_table};
pub(super) use event::{event_table, event_widths, events_below};
pub(super) use fields::Fields;
pub(super) use node::{claims, is_phase, label, node_fields, node_name, node_table, node_widths, shown_phase};
pub(super) use permit::permit_table;
pub(super) use pool::{PoolItem, PoolList, pool_table};
pub(super) use server::{server_fields, server_name, server_table};
pub(super) use status::{status_exit, status_fields};
pub(super) use token::token_table;

use crate::cli::console::Table;

/// The columns of a table, and what fills them: the first `narrow` for `-o table`, all for `-o wide`.
struct Columns {
    all: &'static [&'static str],
    narrow: usize,
}

impl Columns {
    fn table(&self, wide: bool) -> Table {
        Table::new(if wide { self.all } else { &self.all[..self.narrow] })
    }

    fn cut<const N: usize>(&self, wide: bool, cells: [String; N]) -> impl Iterator<Item = String> {
        let count = if wide { self.all.len() } else { self.narrow };
        cells.into_iter().take(count)
    }
}

#[cfg(test)]
mod tests;
