//! One Raft group over one state machine: propose a command, read state, watch changes.
//!
//! ```text
//! propose ──> batcher ──> openraft ──> log_store ──> storage        (durable)
//!                             └──────> state_machine ──> reply, changes
//! ```
//!
//! Reading order: [`machine`] (what is replicated; [`fleet`] is the real one), [`handle`] (the front door), [`batcher`] (many commands, one entry),
//! [`codec`] (the frozen bytes; the only conversions), [`log_store`] and [`state_machine`] (openraft's two traits),
//! [`transport`] (what is asked of a wire) with [`network`] (openraft's side of it) and [`peer`] (the receiving side),
//! [`membership`] (who belongs to the group), [`elector`] (who stands when no leader is heard), [`supervisor`] (a dead core ends the process).
//!
//! Absent on purpose: what a command means (`muster-state`), who may send it (`api`), bytes and connections between servers
//! (`peers`), wall-clock reads outside [`clock`].

pub mod batcher;
pub mod changes;
pub mod clock;
pub mod codec;
mod contacts;
mod courier;
mod elector;
mod error;
pub mod fleet;
pub mod handle;
mod leadership;
mod legacy;
mod log_cache;
pub mod log_store;
pub mod machine;
pub mod membership;
#[cfg(test)]
pub(crate) mod mesh;
pub mod network;
pub mod options;
mod outbox;
pub mod parcel;
mod parts;
pub mod peer;
mod proposer;
mod reads;
mod receiving;
pub mod runtime;
mod seed;
mod settled;
mod signs;
pub mod state_machine;
pub mod status;
mod supervisor;
mod trail;
pub mod transport;
pub mod types;

pub use changes::{Changes, Update};
pub use clock::{Clock, SystemClock};
pub use error::{ForwardError, OpenError, ProposeError, ReadError};
pub use fleet::Fleet;
pub use handle::Consensus;
pub use machine::{Applied, Machine};
pub use membership::MembershipError;
pub use options::{Options, Timings};
pub use parcel::{Forwarded, Origin, Parcel};
pub use peer::{PeerError, PeerHandle};
pub use status::{Margin, Member, Role, Status};
pub use trail::Checkpoint;
pub use transport::{NoPeers, Transport, TransportError};
pub use types::{Peer, ServerId};
