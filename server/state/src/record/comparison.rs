//! What voters said of their states at one point of the log, so that a replica that went another way is noticed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Digest;

/// One voter's word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSeen {
    /// Version of its program: another one may write the same state in other words, and is not compared.
    pub version: String,
    /// What its state went through in the window, as one hash.
    pub digest: Digest,
}

/// What is known of one window of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// By server.
    pub seen: BTreeMap<u64, StateSeen>,
    /// What a majority of the voters has, once that is known. Never changes then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<StateSeen>,
    /// All voters have spoken, and no majority has the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disputed: bool,
}

impl Comparison {
    /// A state of this program version with this digest is known to be wrong.
    pub fn condemns(&self, version: &str, digest: &Digest) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.version == version && agreed.digest != *digest)
    }

    /// Decides, if the voters' words are enough to.
    pub(crate) fn decide(&mut self, voters: &BTreeSet<u64>) {
        if self.agreed.is_some() {
            return;
        }
        let mut votes: BTreeMap<&StateSeen, usize> = BTreeMap::new();
        for (_, seen) in self.seen.iter().filter(|(server, _)| voters.contains(server)) {
            *votes.entry(seen).or_default() += 1;
        }
        self.agreed = votes.iter().find(|(_, count)| **count * 2 > voters.len()).map(|(seen, _)| (*seen).clone());
        let versions: BTreeSet<&str> = votes.keys().map(|seen| seen.version.as_str()).collect();
        let spoken: usize = votes.values().sum();
        self.disputed = self.agreed.is_none() && versions.len() == 1 && spoken == voters.len();
    }
}
