//! kubeadm's configuration files, rendered for the version that will read them.
//!
//! Everything is first put together in the shapes of the newest API (`v1beta4`), the cluster file's own fields are
//! checked against a schema of known names and merged in, and the result is taken down to the target's shapes. What
//! Muster owns (discovery, tokens, keys, names) cannot be set in the cluster file.
//!
//! `inputs` says what is needed, `schema` is the data about kubeadm's types, `extra` checks a cluster file's fields,
//! `merge` puts the two trees together, `init` and `join` make the files, `document` writes YAML.

mod document;
mod extra;
mod init;
mod inputs;
mod join;
mod merge;
mod schema;
mod taint;

pub use extra::{Extra, ExtraProblem, ExtraProblems, validate_extra};
pub use init::render_init;
pub use inputs::{
    DEFAULT_CERTIFICATES_DIR, Discovery, ImagePullPolicy, InitInputs, InitToken, JoinControlPlane, JoinInputs,
    KeyAlgorithm, LocalApi, MAX_INIT_TOKENS, Networking, NodeInputs, Taint, Taints, Timeouts,
};
pub use join::render_join;
pub use taint::TaintError;

use super::version::KubernetesVersion;
use crate::seal::SecretText;

/// A configuration file, ready for `kubeadm … --config FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The YAML documents, secrets included.
    pub file: SecretText,
    /// The same with every token and key of ours replaced, for people to read.
    pub masked: String,
    /// The phases to skip: Muster's and the cluster file's. They are in the file too where its API knows the field
    /// (not in `v1beta2`), but a `--skip-phases` flag *replaces* the file's list, so whoever gives the flag must add
    /// these to it.
    pub skip_phases: Vec<String>,
}

/// Why no file was rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The cluster file's own fields do not fit.
    #[error(transparent)]
    Extra(#[from] ExtraProblems),
    /// Kubernetes asks for a DNS-1123 subdomain.
    #[error("node name {0:?} is not a lower-case DNS name")]
    NodeName(String),
    /// Not a comma-separated list of `ADDRESS/BITS`.
    #[error("{field} {value:?} is not a network such as 10.244.0.0/16, or two of them with a comma between")]
    Subnet {
        /// The field's name.
        field: &'static str,
        /// What was given.
        value: String,
    },
    /// Not a DNS name.
    #[error("dnsDomain {0:?} is not a lower-case DNS name")]
    DnsDomain(String),
    /// A path that must not depend on a working directory.
    #[error("{field} {value:?} is not an absolute path")]
    RelativePath {
        /// The field's name.
        field: &'static str,
        /// What was given.
        value: String,
    },
    /// kubeadm creates these one by one, at about 0.4 s each.
    #[error(
        "{found} bootstrap tokens in one init configuration; at most {MAX_INIT_TOKENS} are allowed, create the rest afterwards"
    )]
    TooManyTokens {
        /// How many were given.
        found: usize,
    },
    /// kubeadm fills in what is left empty: both usages, and its default group, which may read `kubeadm-certs`.
    #[error(
        "bootstrap token {id} needs the usage authentication and a group; kubeadm init would add its default group"
    )]
    TokenRights {
        /// The token's id.
        id: String,
    },
    /// This kubeadm cannot make leaf certificates of that kind.
    #[error("kubeadm of Kubernetes {version} does not know the key algorithm {algorithm}")]
    KeyAlgorithm {
        /// The cluster's version.
        version: KubernetesVersion,
        /// What was asked for.
        algorithm: &'static str,
    },
    /// Discovery by token without a pin trusts anyone at the endpoint.
    #[error("discovery by token without a CA pin is refused unless unsafeSkipCAVerification is written out")]
    Unpinned,
    /// A flag given twice where the target's API has room for one.
    #[error("{path}: {name:?} is given more than once, which {api} cannot express")]
    RepeatedArgument {
        /// Where.
        path: String,
        /// The argument.
        name: String,
        /// The target's API.
        api: &'static str,
    },
    /// The YAML writer refused; a value holds something that no YAML text can.
    #[error("the configuration could not be written: {0}")]
    Yaml(String),
}

#[cfg(test)]
mod tests;
