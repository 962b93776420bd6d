//! What a leader owes to its former self, when it is started again and goes on leading in its old term.
//!
//! openraft lets it, and then takes for the latest what it notes as committed (a note that may not have reached the disk) or the
//! first entry of its term. Entries after these may have been acknowledged before it stopped. All of them are in the log that
//! it opened, so before it speaks for the group its state must hold the whole of that.

use super::types::LogId;

/// The last entry of the log when it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Legacy(Option<LogId>);

impl Legacy {
    /// That of a log which ended with this entry.
    pub(super) fn new(last: Option<LogId>) -> Self {
        Self(last)
    }

    /// The index that a read must wait for, when openraft says that the group has confirmed this entry's leader and that a
    /// read may stop at this entry.
    pub(super) fn read_index(self, confirmed: LogId) -> u64 {
        // In another term it leads because it was elected anew; then the first entry of that term suffices.
        let own = self.0.filter(|last| last.leader_id == confirmed.leader_id);
        own.map_or(confirmed.index, |last| last.index.max(confirmed.index))
    }

    /// Whether a state that is here holds all that was acknowledged before this server began or went on to lead in that term.
    /// The first entry of a term is the leader's own, so after it the state holds what was committed in those before.
    pub(super) fn is_held(self, applied: LogId, term: u64) -> bool {
        let own = self.0.filter(|last| last.leader_id.term == term);
        applied.leader_id.term == term && own.is_none_or(|last| applied.index >= last.index)
    }
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;

    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(term, 1), index)
    }

    #[test]
    fn a_leader_that_goes_on_in_its_old_term_waits_for_the_whole_log_it_opened() {
        let legacy = Legacy::new(Some(id(2, 40)));
        assert_eq!(legacy.read_index(id(2, 11)), 40, "the first of its term is not enough");
        assert_eq!(legacy.read_index(id(2, 41)), 41);
        assert_eq!([id(2, 39), id(2, 40), id(2, 41)].map(|applied| legacy.is_held(applied, 2)), [false, true, true]);
    }

    #[test]
    fn one_that_was_elected_since_waits_for_the_first_entry_of_its_term() {
        // What it opened beyond this may have been cut off meanwhile, and is not coming back.
        for legacy in [Legacy::new(Some(id(2, 40))), Legacy::default()] {
            assert_eq!(legacy.read_index(id(5, 38)), 38);
            assert_eq!([id(4, 37), id(5, 38)].map(|applied| legacy.is_held(applied, 5)), [false, true]);
        }
    }
}
