//! The server that leads is killed under load, again and again: another takes over, and nothing that was acknowledged is lost.
//!
//! How long it takes is measured, not asserted: `cargo bench -p muster-tests --bench failover`.

use std::time::Duration;

use anyhow::Result;
use muster_tests::{Fleet, Ordeal, Pace};

/// Leaders that are killed. More: `LEADERS_KILLED=100`.
const KILLS: usize = 4;

const PACE: Pace = Pace { operators: 6, each: Duration::from_millis(20), per_token: 2 };

#[test]
fn leaders_that_are_killed_under_load_take_nothing_with_them() -> Result<()> {
    let kills = std::env::var("LEADERS_KILLED").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut ordeal = Ordeal::begin(Fleet::of(3)?, PACE)?;
    for kill in 0..kills {
        let fail_over = ordeal.kill_leader()?;
        println!("kill {kill}: {fail_over:?}");
        assert!(fail_over.terms >= 1, "another was elected");
        ordeal.nothing_is_lost(&[kill % 3])?;
    }
    let (changes, tokens) = ordeal.end()?;
    println!("{kills} leaders killed, {changes} acknowledged changes, {tokens} tokens looked for, none lost");
    Ok(())
}
