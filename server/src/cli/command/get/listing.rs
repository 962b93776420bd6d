//! A list of one kind, in whichever format.

use muster_proto::admin::v1::{ClusterList, Event, EventList, NodeList, PermitList, ServerList, TokenList};
use serde::Serialize;

use crate::cli::args::{Format, LabelQuery};
use crate::cli::console::{Console, Document, Table, json_line, yaml};
use crate::cli::exit::Failure;
use crate::cli::show::{self, PoolList};

/// A list as the server sent it, or a part of it.
#[derive(Debug)]
pub(in crate::cli::command) enum Listing {
    Nodes(NodeList),
    Clusters(ClusterList),
    Pools(PoolList),
    Tokens(TokenList),
    Permits(PermitList),
    Servers(ServerList),
    Events(EventList),
}

/// Calls `$f` with the kind of one item and the items.
macro_rules! with_items {
    ($listing:expr, $kind:ident, $items:ident => $body:expr) => {
        match $listing {
            Listing::Nodes(NodeList { items: $items }) => {
                let $kind = ("Node", "NodeList");
                $body
            }
            Listing::Clusters(ClusterList { items: $items }) => {
                let $kind = ("Cluster", "ClusterList");
                $body
            }
            Listing::Pools(PoolList { items: $items }) => {
                let $kind = ("Pool", "PoolList");
                $body
            }
            Listing::Tokens(TokenList { items: $items }) => {
                let $kind = ("", "TokenList");
                $body
            }
            Listing::Permits(PermitList { items: $items }) => {
                let $kind = ("", "PermitList");
                $body
            }
            Listing::Servers(ServerList { items: $items, .. }) => {
                let $kind = ("Server", "ServerList");
                $body
            }
            Listing::Events(EventList { items: $items }) => {
                let $kind = ("Event", "EventList");
                $body
            }
        }
    };
}

impl Listing {
    /// Keeps those whose labels are as asked for. Nodes are picked by what they claim.
    pub(in crate::cli::command) fn keep(&mut self, query: Option<&LabelQuery>) {
        let Some(query) = query else { return };
        let none = std::collections::BTreeMap::new();
        match self {
            Listing::Nodes(list) => {
                list.items.retain(|node| query.matches(node.facts.as_ref().map_or(&none, |facts| &facts.labels)));
            }
            Listing::Pools(list) => list.items.retain(|item| query.matches(&item.pool().labels)),
            Listing::Tokens(list) => {
                list.items
                    .retain(|token| query.matches(token.selector.as_ref().map_or(&none, |selector| &selector.labels)));
            }
            Listing::Clusters(_) | Listing::Permits(_) | Listing::Servers(_) | Listing::Events(_) => {}
        }
    }

    /// Shows the whole list; `single` if one thing was asked for, which is then no list in JSON and YAML.
    pub(in crate::cli::command) fn show(&self, single: bool, console: &mut Console) -> Result<(), Failure> {
        match (console.format, self) {
            // Whole: it says who answered, and whether anybody confirmed it.
            (Format::Json | Format::Yaml, Listing::Servers(list)) if !single => {
                console.document(&Document::new("ServerList", list))
            }
            (Format::Json | Format::Yaml, _) => with_items!(self, kind, items => match items.as_slice() {
                [only] if single && !kind.0.is_empty() => console.document(&Document::new(kind.0, only)),
                _ => console.document(&Document::new(kind.1, &Items { items })),
            }),
            (Format::Name, _) => self.names().iter().try_for_each(|name| console.data(name)),
            (Format::Table | Format::Wide, _) => {
                if self.is_empty() {
                    console.say("nothing found");
                    return Ok(());
                }
                let table = self.table(console.format == Format::Wide, console);
                console.table(&table)
            }
        }
    }

    /// Every item on its own, as a line or a YAML document, with the name by which it is told from others.
    pub(super) fn texts(&self, format: Format) -> Result<Vec<(String, String)>, Failure> {
        let texts = with_items!(self, kind, items => {
            let text = |item| if kind.0.is_empty() {
                text_of(&Document::new(kind.1, &Items { items: std::slice::from_ref(item) }), format)
            } else {
                text_of(&Document::new(kind.0, item), format)
            };
            items.iter().map(text).collect::<Result<Vec<_>, _>>()?
        });
        Ok(self.names().into_iter().zip(texts).collect())
    }

    /// `kind/id` of every item.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Listing::Nodes(list) => list.items.iter().map(show::node_name).collect(),
            Listing::Clusters(list) => {
                list.items.iter().map(|cluster| format!("cluster/{}", show::cluster_name(cluster))).collect()
            }
            Listing::Pools(list) => list.items.iter().map(show::PoolItem::name).collect(),
            Listing::Tokens(list) => list.items.iter().map(|token| format!("token/{}", token.id)).collect(),
            Listing::Permits(list) => {
                list.items.iter().map(|permit| format!("permit/{}/{}", permit.cluster, permit.kind)).collect()
            }
            Listing::Servers(list) => list.items.iter().map(show::server_name).collect(),
            Listing::Events(list) => list.items.iter().map(event_name).collect(),
        }
    }

    pub(super) fn table(&self, wide: bool, console: &Console) -> Table {
        let now = console.now();
        match self {
            Listing::Nodes(list) => show::node_table(&list.items, wide, now),
            Listing::Clusters(list) => show::cluster_table(&list.items, wide, now),
            Listing::Pools(list) => show::pool_table(&list.items, wide),
            Listing::Tokens(list) => show::token_table(&list.items, wide, now),
            Listing::Permits(list) => show::permit_table(&list.items, wide, now),
            Listing::Servers(list) => show::server_table(&list.items, wide, now),
            Listing::Events(list) => show::event_table(&list.items, wide, now),
        }
    }

    /// Column widths for rows that come one by one.
    pub(super) fn widths(&self) -> &'static [u16] {
        match self {
            Listing::Nodes(_) => show::node_widths(),
            Listing::Clusters(_) => show::cluster_widths(),
            Listing::Events(_) => show::event_widths(),
            Listing::Servers(_) => &[4, 20, 11, 7, 6, 8, 7, 7],
            Listing::Pools(_) | Listing::Tokens(_) | Listing::Permits(_) => &[12, 12, 14, 12, 12, 12, 6, 6],
        }
    }

    /// Only the items for which `keep` says so, by their place.
    pub(super) fn pick(&self, keep: &[bool]) -> Self {
        fn picked<T: Clone>(items: &[T], keep: &[bool]) -> Vec<T> {
            items.iter().zip(keep).filter(|(_, keep)| **keep).map(|(item, _)| item.clone()).collect()
        }
        match self {
            Listing::Nodes(list) => Listing::Nodes(NodeList { items: picked(&list.items, keep) }),
            Listing::Clusters(list) => Listing::Clusters(ClusterList { items: picked(&list.items, keep) }),
            Listing::Pools(list) => Listing::Pools(PoolList { items: picked(&list.items, keep) }),
            Listing::Tokens(list) => Listing::Tokens(TokenList { items: picked(&list.items, keep) }),
            Listing::Permits(list) => Listing::Permits(PermitList { items: picked(&list.items, keep) }),
            Listing::Servers(list) => Listing::Servers(ServerList { items: picked(&list.items, keep), ..list.clone() }),
            Listing::Events(list) => Listing::Events(EventList { items: picked(&list.items, keep) }),
        }
    }

    fn is_empty(&self) -> bool {
        with_items!(self, _kind, items => items.is_empty())
    }
}

#[derive(Serialize)]
struct Items<'a, T> {
    items: &'a [T],
}

fn text_of<T: Serialize>(document: &Document<'_, T>, format: Format) -> Result<String, Failure> {
    match format {
        Format::Yaml => Ok(format!("---\n{}", yaml(document)?)),
        _ => json_line(document),
    }
}

fn event_name(event: &Event) -> String {
    format!("event/{}", event.sequence)
}
