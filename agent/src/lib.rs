//! The agent: it proves who its machine is, holds one stream to a server of its fleet, does what it is told with stock
//! kubeadm, and reports.
//!
//! In reading order: [`phase`] decides (pure), [`session`] carries out, [`journal`] remembers, [`executor`] does the steps,
//! with [`kubeadm`] or as a [`rehearsal`]. [`run`] is the whole agent; several may run in one process.
//!
//! Deliberately absent: clients of Kubernetes, Raft and storage. The agent is small and static, and knows the machine's own
//! programs and its servers.

pub mod cli;
pub mod client;
pub mod clock;
pub mod durable;
pub mod error;
pub mod etcd;
pub mod executor;
pub mod facts;
pub mod host;
pub mod identity;
pub mod instruction;
pub mod journal;
pub mod kubeadm;
pub mod kubectl;
pub mod phase;
pub mod preflight;
pub mod rehearsal;
pub mod report;
pub mod session;
pub mod settings;
pub mod url;
pub mod wire;

pub use error::{Error, Outcome};
pub use executor::Executor;
pub use facts::{Dropped, Facts, Sources};
pub use host::Machine;
pub use kubeadm::{Cause, Kubeadm};
pub use rehearsal::{Injection, Options as RehearsalOptions, Rehearsal};
pub use session::run;
pub use settings::{FactSource, Settings, Token, Wanted};
pub use url::{ServerUrl, UrlError};
