//! Muster's server and the operator's command line.

pub mod kubeadm;
pub mod pki;
pub mod seal;
pub mod storage;
