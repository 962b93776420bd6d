//! A whole group of servers in one thread, on virtual time, with seeded faults, and the judgement of what its clients saw.
//!
//! Reading order: [`linearizability`] (is there an order that explains the answers), [`objects`] (what clients work on),
//! [`history`] (what they saw).
//!
//! Deliberately absent: anything that is not drawn from the seed.

pub mod history;
pub mod linearizability;
pub mod objects;
