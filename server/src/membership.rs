//! Who belongs to the group of servers: the state says who is to, Raft knows who does, and the leader brings the one to the
//! other, a step at a time.
//!
//! Reading order: [`plan`] (pure: what comes next), [`pace`] (pure: who has kept up for how long), `task` (does it, on the leader
//! only). Every step is safe when it is done twice or late: Raft takes changes from its leader alone, and verbs check again when
//! they are applied.

pub mod pace;
pub mod plan;
mod task;

pub use task::run;
