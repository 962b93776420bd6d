//! `muster seal …` and `muster operator …`.

use clap::Subcommand;

/// Verbs on the keys that secrets are sealed with.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum SealCommand {
    /// The data keys, how many secrets each of them seals, and which servers hold it
    Status,
    /// Start a new data key; what older ones seal is sealed anew, and then they are forgotten
    Rotate,
}

/// Verbs on the operator who types them.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum OperatorCommand {
    /// Another certificate for the key that is there; commands do so by themselves when two thirds of its life are over
    Renew,
}
