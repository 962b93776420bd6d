//! The service over a real ledger: what operators do, see, and never see.

mod backup;
mod changes;
mod etcd;
mod harness;
mod secrets;
mod servers;
mod watching;
