//! Servers of one process over real sockets, with real certificates.

mod group;
mod refusals;
mod replication;
mod starts;
