//! Muster's server and the operator's command line.

pub mod cli;
pub mod config;
pub mod consensus;
pub mod kubeadm;
pub mod logging;
pub mod pki;
pub mod seal;
pub mod storage;
mod suggestion;
pub mod web;
