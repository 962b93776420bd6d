//! tonic services: parse, call, render. Nothing is decided here.

pub mod access;
pub mod admin;
pub mod caller;
pub mod enrolment;
#[cfg(test)]
pub(crate) mod fixture;
pub mod join;
pub mod leader;
pub mod listener;
pub mod opening;
mod payload;
pub mod peers;
pub mod relay;
pub mod status;
pub mod voters;
pub mod wire;
