//! Events, as far back as they are kept.

use muster_proto::admin::v1::{Event, EventList, ListEventsRequest};
use muster_state::{ClusterId, State, record::Event as Record};
use tonic::{Request, Response, Status};

use super::{
    Answer,
    call::reading,
    resolve::{self, Called},
};
use crate::{
    api::{status::of_operation, wire},
    operations::{OperationError, Unsealed},
};

/// Events that are looked at in one read. Applying waits for readers, so a page takes well under a millisecond.
const PAGE: usize = 256;

pub(super) fn list(server: &Unsealed, request: Request<ListEventsRequest>) -> Answer<EventList> {
    let (filter, mut after) = Filter::parse(server, reading(request)?)?;
    let mut items = Vec::new();
    loop {
        let page = server.ledger.read(|state| Page::of(state, &filter, after));
        items.extend(page.events);
        if page.is_last {
            return Ok(Response::new(EventList { items }));
        }
        after = page.reached;
    }
}

/// Which events are asked for.
#[derive(Debug, Default)]
pub(super) struct Filter {
    cluster: Option<ClusterId>,
    node: Option<Called>,
    server: Option<u64>,
    since_ms: u64,
}

impl Filter {
    /// Parses a filter, and the sequence number after which events are asked for.
    pub(super) fn parse(server: &Unsealed, asked: ListEventsRequest) -> Result<(Self, u64), Status> {
        let after = asked.after;
        let filter = server.ledger.read(|state| Self::of(state, asked)).map_err(of_operation)?;
        Ok((filter, after))
    }

    fn of(state: &State, asked: ListEventsRequest) -> Result<Self, OperationError> {
        let ListEventsRequest { cluster, node, after: _, since, server } = asked;
        let cluster_id = || resolve::cluster(state, "cluster", &cluster).map(|cluster| cluster.id.clone());
        Ok(Self {
            cluster: (!cluster.is_empty()).then(cluster_id).transpose()?,
            node: Called::parse(state, "node", &node)?,
            server: (server != 0).then_some(server),
            since_ms: wire::time::millis(since),
        })
    }

    fn takes(&self, event: &Record) -> bool {
        let of_node = match (&self.node, &event.node) {
            (None, _) => true,
            (Some(called), Some(id)) => called.means(id, None),
            (Some(_), None) => false,
        };
        let of_cluster = self.cluster.is_none() || self.cluster == event.cluster;
        let of_server = self.server.is_none() || self.server == event.server;
        of_node && of_cluster && of_server && event.at_ms >= self.since_ms
    }
}

/// Events of one look at the state.
pub(super) struct Page {
    /// Those that are asked for.
    pub(super) events: Vec<Event>,
    /// The last sequence number that was looked at.
    pub(super) reached: u64,
    /// There are no more now.
    pub(super) is_last: bool,
    /// Events after the one asked for are no longer kept.
    pub(super) is_gap: bool,
}

impl Page {
    /// The next events after a sequence number.
    pub(super) fn of(state: &State, filter: &Filter, after: u64) -> Self {
        let first = state.events.partition_point(|event| event.sequence <= after);
        let looked_at = || state.events.range(first..).take(PAGE);
        let events = looked_at().filter(|event| filter.takes(event)).map(|event| wire::event::render(state, event));
        Self {
            events: events.collect(),
            reached: looked_at().next_back().map_or(after, |event| event.sequence),
            is_last: state.events.len() - first <= PAGE,
            is_gap: state.events.get(first).is_some_and(|event| event.sequence > after + 1),
        }
    }
}

#[cfg(test)]
mod tests;
