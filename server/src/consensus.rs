//! One Raft group over one state machine: propose a command, read state, watch changes.
//!
//! ```text
//! propose ──> batcher ──> openraft ──> log_store ──> storage        (durable)
//!                             └──────> state_machine ──> reply, changes
//! ```
//!
//! Reading order: [`machine`] (what is replicated; [`fleet`] is the real one), [`handle`] (the front door), [`batcher`] (many commands, one entry),
//! [`codec`] (the frozen bytes; the only conversions), [`log_store`] and [`state_machine`] (openraft's two traits),
//! [`supervisor`] (a dead core ends the process).
//!
//! Absent on purpose: what a command means (`muster-state`), who may send it (`api`), the wire between peers (one voter
//! today; [`network`] says so to whoever tries), wall-clock reads outside [`clock`].

pub mod batcher;
pub mod changes;
pub mod clock;
pub mod codec;
mod error;
pub mod fleet;
pub mod handle;
mod log_cache;
pub mod log_store;
pub mod machine;
pub mod network;
pub mod runtime;
pub mod state_machine;
pub mod status;
mod supervisor;
pub mod types;

pub use changes::{Changes, Update};
pub use clock::{Clock, SystemClock};
pub use error::{OpenError, ProposeError, ReadError};
pub use fleet::Fleet;
pub use handle::{Consensus, Options};
pub use machine::{Applied, Machine};
pub use status::{Role, Status};
pub use types::Peer;
