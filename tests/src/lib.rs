//! The harness of the scenarios: the real binaries, real sockets and real disks, and nothing faked but kubeadm.
//!
//! In reading order: `binaries` builds what is tested, `process` starts and kills it, [`Server`] is a server with an
//! operator beside it, [`Fleet`] several of them, [`Machine`] a rehearsed machine, [`eventually`] the only way to wait. [`raw`] speaks to a server
//! without any program of ours in between, [`Operators`] work on a fleet and know what was acknowledged, a [`Crowd`] of them insists
//! while an [`Ordeal`] kills servers, [`network`] is a network with faults, and [`secrets`] looks for every secret of a fleet where it
//! must not be. [`house`] reads the repository itself, and [`percentile`] is for the benches.
//!
//! Deliberately absent: expectations. What must hold is said in the scenarios (`tests/*.rs`).

mod binaries;
mod cluster_file;
mod crowd;
pub mod disk;
mod eventually;
mod fleet;
pub mod house;
mod loopback;
mod machine;
pub mod network;
mod operators;
mod ordeal;
mod percentile;
mod process;
pub mod raw;
mod sampler;
pub mod secrets;
mod server;
pub mod simulation;

pub use binaries::{Binaries, binaries};
pub use cluster_file::{ClusterFile, Enrolment};
pub use crowd::{Crowd, Pace};
pub use eventually::{MOMENT, SOON, WHILE, eventually, eventually_async};
pub use fleet::Fleet;
pub use machine::Machine;
pub use operators::{Operators, Work};
pub use ordeal::{FailOver, Ordeal};
pub use percentile::percentile;
pub use process::Output;
pub use sampler::Sampler;
pub use server::{Door, Server, ServerSettings, demo};

/// Says on standard error, past the capture of the test's output, what this machine does not allow to be tried.
pub fn skipped(what: &str) {
    use std::io::Write as _;
    // The word must not fail a test.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
