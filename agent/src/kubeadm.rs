//! Stock kubeadm: how it is called, what its output means, and why it failed.
//!
//! Secrets reach kubeadm in files only, never as arguments; every line it prints is scrubbed before anything else sees it.

mod argv;
mod call;
mod cause;
mod configuration;
mod executor;
mod output;
mod preflight;
mod probe;
mod scrub;

pub use argv::{init_remainder, join_arguments, upload_certs};
pub use cause::{Cause, Diagnosis, diagnose};
pub use configuration::{mask, skip_phases};
pub use executor::Kubeadm;
pub use output::phase_of;
pub use scrub::Scrubber;
