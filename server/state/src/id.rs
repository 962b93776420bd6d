//! Identifiers. All are minted by the proposer; the state only compares them.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id! {
    /// One Muster installation (a UUID).
    FleetId
}
text_id! {
    /// A Kubernetes cluster (a UUID; its name can be chosen by people and is unique too).
    ClusterId
}
text_id! {
    /// A machine (a UUID, minted at its first enrolment).
    NodeId
}
text_id! {
    /// The public part of an enrolment token or of a bootstrap token. Never holds the secret part.
    TokenId
}

/// A Kubernetes node name: a DNS-1123 subdomain (RFC 1123; Kubernetes `IsDNS1123Subdomain`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// The longest name Kubernetes accepts.
    pub const MAX: usize = 253;

    /// Parses a name; the error says which character or length is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        dns1123_subdomain(text)?;
        Ok(Self(text.to_owned()))
    }

    /// A name for a node that no operator named: `<pool>-n<first 12 characters of the id>`. A valid label whatever
    /// the id, since the pool's name is one.
    pub fn made(pool: &str, id: &NodeId) -> Self {
        let head: String = pool.chars().take(48).collect();
        let tail: String = id.0.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        Self(format!("{head}-n{}", tail.to_ascii_lowercase()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a DNS-1123 subdomain: labels of lower-case letters, digits and `-`, joined by dots, at most 253 long.
pub fn dns1123_subdomain(text: &str) -> Result<(), String> {
    if text.len() > NodeName::MAX {
        return Err(format!("is {} characters long; at most {} are allowed", text.len(), NodeName::MAX));
    }
    text.split('.').try_for_each(dns1123_label)
}

/// Checks a DNS-1123 label: 1 to 63 lower-case letters, digits and `-`, no `-` at either end.
pub fn dns1123_label(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("has an empty part; give lower-case letters, digits and '-'".into());
    }
    if text.len() > 63 {
        return Err(format!("has a part of {} characters; at most 63 are allowed", text.len()));
    }
    if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(format!("holds {bad:?}; only lower-case letters, digits, '-' and '.' are allowed"));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("has a part that begins or ends with '-'".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::NodeName;

    #[test]
    fn node_names_are_dns_1123_subdomains() {
        for good in ["n1", "a.b-c.d", "0", &"a".repeat(63)] {
            assert!(NodeName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "N1", "a_b", "-a", "a-", "a..b", ".a", "a b", "é", &"a".repeat(64), &["a"; 150].join(".")] {
            assert!(NodeName::parse(bad).is_err(), "{bad}");
        }
    }
}
