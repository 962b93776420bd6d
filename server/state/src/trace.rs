//! What of the state goes into the hash by which replicas are compared.

use std::{collections::BTreeSet, io::Write};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{Change, State};

/// In so many windows of the log the whole state passes by, a part in each: what nobody touches is compared as well.
pub(crate) const PARTS: u64 = 64;

impl State {
    /// Adds what the changes left behind: equal states add equal bytes.
    pub fn trace(&self, changes: &[Change], hash: &mut Sha256) {
        let counters = (self.now_ms, self.last_event, self.last_errand, self.last_server);
        add(hash, &counters);
        let touched: BTreeSet<_> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Node(id) => Some((Some(id), None, None)),
                Change::Cluster(id) => Some((None, Some(id), None)),
                Change::Server(id) => Some((None, None, Some(id))),
                Change::Event(_) | Change::Other => None,
            })
            .collect();
        for (node, cluster, server) in touched {
            add(hash, &node.and_then(|id| self.nodes.get(id)));
            add(hash, &cluster.and_then(|id| self.clusters.get(id)));
            add(hash, &server.and_then(|id| self.servers.get(id)));
        }
    }

    /// Adds one part of everything, by number: all of [`PARTS`] together are the whole state.
    pub fn sample(&self, part: u64, hash: &mut Sha256) {
        let part = part % PARTS;
        if part == 0 {
            add(hash, &self.fleet);
        }
        add_part(hash, part, &self.clusters);
        add_part(hash, part, &self.nodes);
        add_part(hash, part, &self.enrolment_tokens);
        add_part(hash, part, &self.bootstrap_tokens);
        add_part(hash, part, &self.errands);
        add_part(hash, part, &self.servers);
        add_part(hash, part, &self.server_tokens);
        add_part(hash, part, &self.events);
        add_part(hash, part, &self.replies);
    }
}

fn add_part<T: Serialize>(hash: &mut Sha256, part: u64, all: impl IntoIterator<Item = T>) {
    let [skip, step] = [part, PARTS].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    all.into_iter().skip(skip).step_by(step).for_each(|one| add(hash, &one));
}

fn add(hash: &mut Sha256, what: &impl Serialize) {
    // Records are what snapshots hold, so they have a JSON; a hash takes any bytes.
    let _written = serde_json::to_writer(Sink(hash), what);
    hash.update([0]);
}

struct Sink<'a>(&'a mut Sha256);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
