//! What can go wrong, and how much of it a seed draws.

use serde::{Deserialize, Serialize};

use super::TROUBLE_MS;

/// One thing that goes wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When it begins, milliseconds of virtual time after the clients began.
    pub at_ms: u64,
    /// How long it lasts, milliseconds.
    pub lasts_ms: u64,
    /// What it is.
    pub kind: Kind,
}

/// Whom it hits; decided when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Victim {
    /// Whoever leads then.
    Leader,
    /// A server, as a place in the list of those that are there.
    Any(usize),
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The victim and so many of those after it in the list are cut off from the others: a minority or a majority, with the
    /// leader or without.
    Split {
        /// One of them.
        victim: Victim,
        /// How many more.
        more: usize,
    },
    /// Messages pass in one direction only.
    OneWay {
        /// Whose.
        victim: Victim,
        /// Nothing reaches it; else nothing leaves it.
        deaf: bool,
    },
    /// Messages are lost, doubled, late, and overtake each other.
    Storm {
        /// Of a hundred.
        lost_percent: u8,
        /// Of a hundred.
        doubled_percent: u8,
        /// Milliseconds at most.
        delay_ms: u64,
    },
    /// A process is killed and started again. What the kernel holds survives.
    Kill {
        /// Whose.
        victim: Victim,
    },
    /// Machines lose power and start again. What was not synchronised may be gone.
    PowerCut {
        /// The first of them.
        victim: Victim,
        /// How many more; with a large number all at once.
        more: usize,
        /// Batches that reached the disk all the same, of those that were not synchronised.
        kept: usize,
    },
    /// A process is stopped and goes on.
    Pause {
        /// Which.
        victim: Victim,
    },
    /// A clock is set.
    ClockStep {
        /// Whose.
        victim: Victim,
        /// By how much, milliseconds. It is set back at the end.
        by_ms: i64,
    },
    /// A disk takes its time.
    SlowDisk {
        /// Whose.
        victim: Victim,
        /// Milliseconds at most for each sync.
        most_ms: u64,
    },
    /// A disk is full: its server ends, and is started again and again.
    FullDisk {
        /// Whose.
        victim: Victim,
    },
    /// Leadership is handed over.
    HandOver {
        /// To whom.
        to: usize,
    },
    /// A snapshot is made now.
    Snapshot {
        /// By whom.
        victim: Victim,
    },
    /// A server is replaced by a new one: added as a learner, made a voter, and the old one removed.
    Replace {
        /// Who goes.
        victim: Victim,
        /// The new one was approved after another that joins later: numbers need not come in order.
        out_of_turn: bool,
    },
    /// A voter becomes a learner, and a voter again at the end.
    Demote {
        /// Which.
        victim: Victim,
    },
}

impl Kind {
    /// The names of all kinds.
    pub const NAMES: &[&str] = &[
        "split",
        "one-way",
        "storm",
        "kill",
        "power-cut",
        "pause",
        "clock-step",
        "slow-disk",
        "full-disk",
        "hand-over",
        "snapshot",
        "replace",
        "demote",
    ];

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Split { .. } => "split",
            Self::OneWay { .. } => "one-way",
            Self::Storm { .. } => "storm",
            Self::Kill { .. } => "kill",
            Self::PowerCut { .. } => "power-cut",
            Self::Pause { .. } => "pause",
            Self::ClockStep { .. } => "clock-step",
            Self::SlowDisk { .. } => "slow-disk",
            Self::FullDisk { .. } => "full-disk",
            Self::HandOver { .. } => "hand-over",
            Self::Snapshot { .. } => "snapshot",
            Self::Replace { .. } => "replace",
            Self::Demote { .. } => "demote",
        }
    }

    fn draw(random: &mut fastrand::Rng, name: &str) -> Self {
        let victim = victim(random);
        match name {
            "split" => Self::Split { victim, more: random.usize(0..3) },
            "one-way" => Self::OneWay { victim, deaf: random.bool() },
            "storm" => Self::Storm {
                lost_percent: random.u8(0..40),
                doubled_percent: random.u8(0..40),
                delay_ms: random.u64(5..400),
            },
            "kill" => Self::Kill { victim },
            // One time in three everything goes dark at once.
            "power-cut" => Self::PowerCut { victim, more: [0, 1, 9][random.usize(0..3)], kept: random.usize(0..3) },
            "pause" => Self::Pause { victim },
            // Less than an hour in sum, which is how long a reply is remembered; now and then beyond what a state believes.
            "clock-step" => {
                let by_ms = if random.u8(0..8) == 0 { 400 * 24 * 3_600_000 } else { random.i64(-300_000..120_000) };
                Self::ClockStep { victim, by_ms }
            }
            "slow-disk" => Self::SlowDisk { victim, most_ms: random.u64(20..900) },
            "full-disk" => Self::FullDisk { victim },
            "hand-over" => Self::HandOver { to: random.usize(0..8) },
            "snapshot" => Self::Snapshot { victim },
            "replace" => Self::Replace { victim, out_of_turn: random.bool() },
            _ => Self::Demote { victim },
        }
    }
}

fn victim(random: &mut fastrand::Rng) -> Victim {
    if random.u8(0..5) < 2 { Victim::Leader } else { Victim::Any(random.usize(0..8)) }
}

/// Kinds of faults in one plan.
const KINDS: usize = 8;

/// Faults in one plan, at least.
const FAULTS: usize = 14;

/// Eight kinds, each at least once, spread over the time of trouble so that they overlap.
pub(super) fn draw(random: &mut fastrand::Rng) -> Vec<Fault> {
    let mut kinds: Vec<&str> = Kind::NAMES.to_vec();
    random.shuffle(&mut kinds);
    kinds.truncate(KINDS);
    let extra = random.usize(0..8);
    let names = kinds.iter().copied().cycle().take(FAULTS + extra);
    let mut faults: Vec<Fault> = names
        .map(|name| Fault {
            at_ms: random.u64(500..TROUBLE_MS - 2_000),
            lasts_ms: random.u64(100..5_000),
            kind: Kind::draw(random, name),
        })
        .collect();
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}
