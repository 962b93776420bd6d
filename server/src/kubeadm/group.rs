//! The group a bootstrap token authenticates as, `system:bootstrappers:…`.

use std::fmt;

/// What every such group begins with.
const PREFIX: &str = "system:bootstrappers:";
/// Characters allowed after the prefix.
const REST_MAX: usize = 256;

/// The group that kubeadm gives its own tokens: it may read `kubeadm-certs` and is approved automatically.
pub const KUBEADM_DEFAULT: &str = "system:bootstrappers:kubeadm:default-node-token";

/// A group name that the API server accepts: `\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootstrapGroup(String);

/// What a node joins as; it decides what its bootstrap group may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A node that runs an API server and, unless etcd is external, an etcd member.
    ControlPlane,
    /// Any other node.
    Worker,
}

/// Why a text is no bootstrap group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The prefix is missing.
    #[error("group {0:?} does not begin with {PREFIX:?}")]
    Prefix(String),
    /// The part after the prefix is empty, too long, or has a character that is not allowed.
    #[error(
        "group {0:?} must have 1 to {REST_MAX} characters after {PREFIX:?}, each of a-z, 0-9, ':' or '-', the last a letter or digit"
    )]
    Form(String),
}

impl BootstrapGroup {
    /// Parses a group name.
    pub fn parse(text: &str) -> Result<Self, GroupError> {
        let rest = text.strip_prefix(PREFIX).ok_or_else(|| GroupError::Prefix(text.to_owned()))?;
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = rest.len() <= REST_MAX
            && rest.bytes().all(|b| allowed(b) || matches!(b, b':' | b'-'))
            && rest.bytes().last().is_some_and(allowed);
        match fits {
            true => Ok(Self(text.to_owned())),
            false => Err(GroupError::Form(text.to_owned())),
        }
    }

    /// The group of Muster's own tokens, `system:bootstrappers:muster:<cluster>:<role>`. It may do exactly what
    /// `rbac` binds it to.
    pub fn of_muster(cluster: &str, role: Role) -> Result<Self, GroupError> {
        Self::parse(&format!("{PREFIX}muster:{cluster}:{}", role.name()))
    }

    /// The group of kubeadm's own tokens.
    pub fn of_kubeadm() -> Self {
        Self(KUBEADM_DEFAULT.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BootstrapGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Role {
    /// The role as it appears in names: `control-plane` or `worker`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Worker => "worker",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn musters_groups_name_cluster_and_role() {
        let group = BootstrapGroup::of_muster("prod", Role::Worker).unwrap();
        assert_eq!(group.as_str(), "system:bootstrappers:muster:prod:worker");
        let group = BootstrapGroup::of_muster("prod", Role::ControlPlane).unwrap();
        assert_eq!(group.as_str(), "system:bootstrappers:muster:prod:control-plane");
    }

    #[test]
    fn kubeadms_group_is_of_the_form() {
        assert_eq!(BootstrapGroup::parse(KUBEADM_DEFAULT).unwrap(), BootstrapGroup::of_kubeadm());
    }

    #[test]
    fn names_that_the_api_server_refuses_are_refused() {
        for text in [
            "system:masters",
            "system:bootstrappers",
            "system:bootstrappers:",
            "system:bootstrappers:a:",
            "system:bootstrappers:a-",
            "system:bootstrappers:A",
            "system:bootstrappers:a.b",
            "system:bootstrappers:a\n",
            " system:bootstrappers:a",
        ] {
            assert!(BootstrapGroup::parse(text).is_err(), "{text:?}");
        }
        assert!(BootstrapGroup::parse(&format!("{PREFIX}{}", "a".repeat(256))).is_ok());
        assert!(BootstrapGroup::parse(&format!("{PREFIX}{}", "a".repeat(257))).is_err());
    }
}
