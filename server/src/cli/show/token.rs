//! Tokens: their public part, never the secret.

use jiff::Timestamp;
use muster_proto::admin::v1::{Selector, Token};

use super::Columns;
use crate::cli::console::{Paint, Table, age, span};

const COLUMNS: Columns = Columns {
    all: &[
        "ID",
        "KIND",
        "STATE",
        "IN-CLUSTER",
        "CLUSTER",
        "POOL",
        "NODE",
        "USES",
        "TTL",
        "ROLE",
        "NODE-ID",
        "AGE",
        "SELECTOR",
    ],
    narrow: 9,
};

/// The table of `get tokens`.
pub(in crate::cli) fn token_table(tokens: &[Token], wide: bool, now: Timestamp) -> Table {
    let mut table = COLUMNS.table(wide);
    for token in tokens {
        let cells = [
            token.id.clone(),
            token.kind.clone(),
            token.state.clone(),
            token.in_cluster.clone(),
            token.cluster.clone(),
            token.pool.clone(),
            token.node_name.clone(),
            if token.uses == 0 { String::new() } else { format!("{}/{}", token.uses_left, token.uses) },
            ttl(token, now),
            token.role.clone(),
            token.node_id.clone(),
            age(token.created.as_ref(), now),
            token.selector.as_ref().map(selector_text).unwrap_or_default(),
        ];
        let differs = paint_store(token);
        let column = if differs.is_some() { "IN-CLUSTER" } else { "STATE" };
        table.row(COLUMNS.cut(wide, cells)).paint(column, differs.or_else(|| paint(token)));
    }
    table
}

/// Time left; never an expiry date that looks alive.
fn ttl(token: &Token, now: Timestamp) -> String {
    match &token.expires {
        None => "never".to_owned(),
        Some(expires) => match u64::try_from(expires.seconds.saturating_sub(now.as_second())) {
            Ok(left) if left > 0 => span(left),
            _ => "expired".to_owned(),
        },
    }
}

fn paint(token: &Token) -> Option<Paint> {
    match token.state.as_str() {
        "Live" | "Present" => Some(Paint::Good),
        "Expired" | "Revoked" => Some(Paint::Bad),
        _ => None,
    }
}

/// Where the two stores differ.
fn paint_store(token: &Token) -> Option<Paint> {
    ["missing", "foreign", "unsigned", "unreadable"].contains(&token.in_cluster.as_str()).then_some(Paint::Bad)
}

/// `KEY=VALUE` pairs in the words of `--selector`.
pub(in crate::cli) fn selector_text(selector: &Selector) -> String {
    let mut terms: Vec<String> = [
        ("uuid", &selector.uuid),
        ("serial", &selector.serial),
        ("hostname", &selector.hostname),
        ("asset", &selector.asset),
        ("product", &selector.product),
        ("manufacturer", &selector.manufacturer),
        ("board-serial", &selector.board_serial),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| format!("{key}={value}"))
    .collect();
    terms.extend(selector.macs.iter().map(|mac| format!("mac={mac}")));
    terms.extend(selector.labels.iter().map(|(key, value)| format!("label.{key}={value}")));
    terms.join(",")
}
