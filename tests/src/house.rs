//! The repository read as text, for the rules that neither the compiler nor clippy can hold: `tests/house.rs` has the rules.

pub mod graph;
pub mod rust;
pub mod tracked;
