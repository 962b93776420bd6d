//! Servers of one process over real sockets, with real certificates.

mod group;
mod leading;
mod logs;
mod refusals;
mod replication;
mod starts;
