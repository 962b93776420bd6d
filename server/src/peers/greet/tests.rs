use openraft::LeaderId;

use super::*;

const MEMBER: Standing = Standing { member: true, votes: true, approved: true, removed: false, generation: 0 };

fn vote(term: u64, server: u64, committed: bool) -> Vote {
    Vote { leader_id: LeaderId { term, voted_for: Some(server) }, committed }
}

fn greeting(generation: u64, last_index: u64, vote: Vote) -> Greeting {
    Greeting { generation, start: [1; 16], fresh: true, last_index: Some(last_index), vote: Some(vote) }
}

/// Server 2 acknowledged entry 40 to server 1, the leader of term 3.
fn mk_memory() -> Memory {
    let memory = Memory::default();
    memory.acknowledged(2, vote(3, 1, true), Some(40));
    memory
}

#[test]
fn a_server_that_has_what_it_acknowledged_is_welcome() {
    let memory = mk_memory();
    for last in [40, 41] {
        assert_eq!(memory.greeted(2, &greeting(1, last, vote(3, 1, true)), MEMBER), Greeted::Welcome, "{last}");
    }
    let nobody = Greeting { last_index: None, vote: None, ..greeting(1, 0, vote(0, 0, false)) };
    assert_eq!(memory.greeted(3, &nobody, MEMBER), Greeted::Welcome, "nothing was seen of it");
}

#[test]
fn a_log_that_went_back_is_noticed() {
    let memory = mk_memory();
    let refused = memory.greeted(2, &greeting(1, 12, vote(3, 1, true)), MEMBER);
    assert_eq!(refused, Greeted::Refused(Refused::LostLog { ends_at: 12, acknowledged: 40 }));
    let Greeted::Refused(refused) = refused else { unreachable!() };
    assert!(refused.to_string().contains("its log ends at 12, but a peer saw it acknowledge 40"), "{refused}");
    assert!(refused.advice(2).contains("`muster server remove 2`"), "{}", refused.advice(2));
    let empty = Greeting { last_index: None, ..greeting(1, 0, vote(3, 1, true)) };
    let lost = Refused::LostLog { ends_at: 0, acknowledged: 40 };
    assert_eq!(memory.greeted(2, &empty, MEMBER), Greeted::Refused(lost));
}

#[test]
fn what_a_later_leader_cut_off_is_no_loss() {
    let memory = mk_memory();
    let cut = greeting(1, 38, vote(4, 3, true));
    assert_eq!(memory.greeted(2, &cut, MEMBER), Greeted::Welcome);
    // What it acknowledged to that leader counts from then on.
    memory.acknowledged(2, vote(4, 3, true), Some(39));
    let lost = Refused::LostLog { ends_at: 38, acknowledged: 39 };
    assert_eq!(memory.greeted(2, &cut, MEMBER), Greeted::Refused(lost));
}

#[test]
fn a_vote_that_went_back_or_was_given_twice_is_noticed() {
    let memory = Memory::default();
    memory.voted(2, vote(5, 1, false));
    for (now, term) in [(Some(vote(4, 1, true)), 4), (Some(vote(5, 3, false)), 5), (None, 0)] {
        let greeting = Greeting { vote: now, ..greeting(1, 1, vote(0, 0, false)) };
        let lost = Refused::LostVote { term, given: 5 };
        assert_eq!(memory.greeted(2, &greeting, MEMBER), Greeted::Refused(lost), "{now:?}");
    }
    for now in [vote(5, 1, false), vote(5, 3, true), vote(6, 2, false)] {
        assert_eq!(memory.greeted(2, &greeting(1, 1, now), MEMBER), Greeted::Welcome, "{now:?}");
    }
}

#[test]
fn a_copy_of_a_data_directory_is_noticed_by_its_count_of_starts() {
    let memory = Memory::default();
    let of = |generation: u64, start: u8, fresh: bool| Greeting {
        start: [start; 16],
        fresh,
        ..greeting(generation, 1, vote(1, 1, true))
    };
    let stale = |generation, known| Greeted::Refused(Refused::StaleGeneration { generation, known });
    let known = Standing { generation: 5, ..MEMBER };
    assert_eq!(memory.greeted(2, &of(4, 1, true), known), stale(4, 5));
    assert_eq!(memory.greeted(2, &of(5, 1, true), known), stale(5, 5), "it can't have told of this start");
    assert_eq!(memory.greeted(2, &of(6, 1, true), known), Greeted::Welcome);
    assert_eq!(memory.greeted(2, &of(6, 1, true), known), Greeted::Welcome, "the same start, asked again");
    assert_eq!(memory.greeted(2, &of(6, 2, true), known), stale(6, 6), "another start with the same number");
    let told = Standing { generation: 6, ..MEMBER };
    assert_eq!(memory.greeted(2, &of(6, 1, false), told), Greeted::Welcome, "it has told of this start");
    assert_eq!(memory.greeted(2, &of(5, 1, false), MEMBER), stale(5, 6), "known from memory alone");
}

#[test]
fn a_removed_server_is_told_so_and_a_stranger_to_ask_again() {
    let memory = Memory::default();
    let hello = greeting(1, 1, vote(1, 1, true));
    let removed = Standing { removed: true, ..MEMBER };
    assert_eq!(memory.greeted(2, &hello, removed), Greeted::Refused(Refused::Removed));
    assert_eq!(memory.greeted(2, &hello, Standing::default()), Greeted::Unknown);
    let approved = Standing { approved: true, ..Standing::default() };
    assert_eq!(memory.greeted(2, &hello, approved), Greeted::Welcome);
}
