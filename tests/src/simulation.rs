//! A whole group of servers in one thread, on virtual time, with seeded faults, and the judgement of what its clients saw.
//!
//! Real are: consensus with everything in it, the durability layer over a simulated disk, the state, snapshots and the
//! witness in files. Simulated are: the wire ([`network`], [`weather`]), the disk under the log ([`disk`]), clocks ([`clock`]), and
//! what a process is ([`process`], and [`turnstile`] for the order in which its tasks run).
//!
//! Reading order: [`plan`] (what a seed means), [`run`] (one run, from an empty disk to the judgement) with [`group`] and
//! [`server`], [`trouble`] (faults), [`client`] and [`conductor`]; [`objects`] (what clients work on) and [`commands`] (in Muster's own
//! words); [`history`], [`linearizability`] and [`oracle`] (the judgement); [`campaign`] (many seeds).
//!
//! Deliberately absent: anything that is not drawn from the seed, and threads.

pub mod campaign;
pub mod client;
pub mod clock;
pub mod commands;
pub mod conductor;
pub mod disk;
pub mod group;
pub mod history;
pub mod journal;
pub mod linearizability;
pub mod network;
pub mod objects;
pub mod oracle;
pub mod plan;
pub mod process;
pub mod run;
pub mod server;
pub mod trouble;
pub mod turnstile;
pub mod weather;

pub use plan::Plan;
pub use run::{Outcome, run};
