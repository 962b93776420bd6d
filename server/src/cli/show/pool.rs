//! Pools: parts of clusters, listed on their own.

use muster_proto::admin::v1::{Cluster, Pool, Selector};
use serde::Serialize;

use super::{Columns, token::selector_text};
use crate::cli::console::{Paint, Table};

const COLUMNS: Columns = Columns {
    all: &["CLUSTER", "NAME", "ROLE", "COUNT", "ADMISSION", "NAMED-NODES", "CERTIFICATES", "DISCOVERY", "MATCH"],
    narrow: 6,
};

/// A pool and the cluster it is in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::cli) struct PoolItem {
    cluster: String,
    #[serde(flatten)]
    pool: Pool,
    /// What applies if the pool itself says nothing.
    #[serde(skip)]
    cluster_admission: String,
}

/// As clusters and nodes are listed.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct PoolList {
    /// The pools.
    pub(in crate::cli) items: Vec<PoolItem>,
}

impl PoolItem {
    /// The pools of all these clusters.
    pub(in crate::cli) fn of_clusters(clusters: &[Cluster]) -> Vec<Self> {
        let specs = clusters.iter().filter_map(|cluster| cluster.spec.as_ref());
        let items = specs.flat_map(|spec| {
            spec.pools.iter().map(|pool| Self {
                cluster: spec.name.clone(),
                pool: pool.clone(),
                cluster_admission: spec.admission.clone(),
            })
        });
        items.collect()
    }

    /// The pool itself.
    pub(in crate::cli) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// `pool/CLUSTER/NAME`.
    pub(in crate::cli) fn name(&self) -> String {
        format!("pool/{}/{}", self.cluster, self.pool.name)
    }
}

/// The table of `get pools`.
pub(in crate::cli) fn pool_table(items: &[PoolItem], wide: bool) -> Table {
    let or = |value: &str, default: &str| if value.is_empty() { default.to_owned() } else { value.to_owned() };
    let mut table = COLUMNS.table(wide);
    for item in items {
        let pool = &item.pool;
        let discovery = or(&pool.discovery, "file");
        let cells = [
            item.cluster.clone(),
            pool.name.clone(),
            pool.role.clone(),
            if pool.count == 0 { String::new() } else { pool.count.to_string() },
            or(&pool.admission, &or(&item.cluster_admission, "approve")),
            pool.nodes.len().to_string(),
            or(&pool.certificates, "secret"),
            discovery.clone(),
            selector_text(pool.r#match.as_ref().unwrap_or(&Selector::default())),
        ];
        let alarm = pool.unsafe_skip_ca_verification.then_some(Paint::Bad);
        // Unsafe discovery is marked in the narrow table, too, on the pool's name.
        let column = if wide { "DISCOVERY" } else { "NAME" };
        table.row(COLUMNS.cut(wide, cells)).paint(column, alarm);
    }
    table
}
