//! The leader's planner: what the fleet needs next, as a pure function of state and time, and the task that runs it.

pub mod plan;
mod task;

pub use task::run;
