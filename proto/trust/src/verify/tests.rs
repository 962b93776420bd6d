//! Every way that was thought of to pass for somebody else.

mod handshake;
mod role;
mod server;
