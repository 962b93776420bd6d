//! Muster's server and the operator's command line.

pub mod agreement;
pub mod api;
pub mod app;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod conductor;
pub mod config;
pub mod consensus;
pub mod demo;
pub mod foreground;
pub mod identity;
pub mod joining;
pub mod kubeadm;
pub mod ledger;
pub mod logging;
pub mod membership;
pub mod offline;
pub mod operations;
pub mod peers;
pub mod pki;
pub mod process;
pub mod seal;
pub mod sessions;
pub mod storage;
mod suggestion;
pub mod web;
