//! Conversions between wire messages and the domain; here and nowhere else on the server.

pub mod cluster;
pub mod etcd;
pub mod event;
pub mod facts;
pub mod instruction;
pub mod log;
pub mod node;
pub mod payload;
pub mod permit;
pub mod preflight;
pub mod report;
pub mod selector;
pub mod server;
pub mod server_statement;
pub mod statement;
pub mod time;
pub mod token;
pub mod word;
