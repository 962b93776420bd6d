//! How a command reaches a server: mutual TLS with the fleet's pin as the only anchor, the servers of the context in order.

mod address;
mod connect;
mod find;
mod follow;
pub(super) mod renewal;
mod session;

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

pub(super) use follow::Patience;
pub(crate) use session::{Client, Session, request_id};
