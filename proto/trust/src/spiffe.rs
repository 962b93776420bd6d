//! Identities: `spiffe://<fleet>/<role>/<id>`, in the one URI name of a certificate.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use crate::x509::{self, NotACertificate};

/// Longest fleet and longest id, in bytes: the longest name that DNS, and so Kubernetes, allows.
const NAME_BYTES_MAX: usize = 253;

/// What a certificate's holder is to the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A member of the Raft group.
    Server,
    /// A machine that runs the agent.
    Node,
    /// A person or a pipeline that gives commands.
    Operator,
}

impl Role {
    /// Every role, in the order of their listeners.
    pub const ALL: [Role; 3] = [Role::Server, Role::Node, Role::Operator];

    /// The word in the identity.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Node => "node",
            Role::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    fleet: String,
    role: Role,
    id: String,
}

impl SpiffeId {
    /// The identity of `id` as `role` in `fleet`.
    ///
    /// # Errors
    /// [`SpiffeError::Name`] unless both names have 1 to 253 characters of `a-z 0-9 . -`, begin and end with a letter or
    /// digit and have no empty part between dots. UUIDs and DNS names in lower case pass.
    pub fn new(fleet: &str, role: Role, id: &str) -> Result<Self, SpiffeError> {
        check_name(fleet)?;
        check_name(id)?;
        Ok(Self { fleet: fleet.to_owned(), role, id: id.to_owned() })
    }

    /// The identity that a certificate carries. Its DNS and IP names do not matter; its URI name must be the only one.
    ///
    /// # Errors
    /// If there is no certificate, not exactly one URI name, or the name is no identity of this form.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, SpiffeError> {
        let certificate = x509::parse(certificate)?;
        let names = certificate.subject_alternative_name().map_err(|_| NotACertificate)?;
        let uris: Vec<&str> = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
            .collect();
        match uris.as_slice() {
            [uri] => uri.parse(),
            _ => Err(SpiffeError::UriCount { count: uris.len() }),
        }
    }

    /// The fleet id.
    pub fn fleet(&self) -> &str {
        &self.fleet
    }

    /// The role.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The server's, node's or operator's own id, unique in its role and fleet.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.fleet, self.role, self.id)
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let rest = text.strip_prefix("spiffe://").ok_or(SpiffeError::Form)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [fleet, role, id] = parts.as_slice() else {
            return Err(SpiffeError::Form);
        };
        let role = Role::ALL.into_iter().find(|known| known.as_str() == *role).ok_or(SpiffeError::Role)?;
        Self::new(fleet, role, id)
    }
}

fn check_name(name: &str) -> Result<(), SpiffeError> {
    let characters = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'));
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let good = name.len() <= NAME_BYTES_MAX
        && characters
        && ends(name.bytes().next())
        && ends(name.bytes().last())
        && !name.contains("..");
    if good { Ok(()) } else { Err(SpiffeError::Name) }
}

/// Why a certificate or a text names nobody. No variant repeats the text: it may come from an attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Not `spiffe://<fleet>/<role>/<id>`.
    #[error("an identity has the form spiffe://<fleet>/<role>/<id>")]
    Form,
    /// The role is unknown.
    #[error("the role of an identity is server, node or operator")]
    Role,
    /// A fleet or id with a bad character, an empty part or a bad length.
    #[error(
        "a fleet or id in an identity has 1 to 253 characters of a-z, 0-9, '.' and '-', and starts and ends with a letter or digit"
    )]
    Name,
    /// Not exactly one URI name in the certificate.
    #[error("a certificate must carry exactly one URI name, this one carries {count}")]
    UriCount {
        /// URI names found.
        count: usize,
    },
    /// The bytes are no certificate, or its alternative names cannot be read.
    #[error(transparent)]
    Certificate(#[from] NotACertificate),
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn an_identity_survives_text() {
        for text in [
            "spiffe://4f1c9c5e-0b1c-4a57-9a0e-6a1f2f0d3b7c/server/1",
            "spiffe://fleet.example.org/node/rack1-node7.lan",
            "spiffe://f/operator/o",
        ] {
            assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_identity_of_another_form_is_refused() {
        for text in [
            "",
            "spiffe://f/node",
            "spiffe://f/node/n/",
            "spiffe://f/node/n/x",
            "https://f/node/n",
            "SPIFFE://f/node/n",
            " spiffe://f/node/n",
        ] {
            assert_eq!(text.parse::<SpiffeId>(), Err(SpiffeError::Form), "{text}");
        }
        assert_eq!("spiffe://f/root/n".parse::<SpiffeId>(), Err(SpiffeError::Role));
        assert_eq!("spiffe://f/Node/n".parse::<SpiffeId>(), Err(SpiffeError::Role));
    }

    #[test]
    fn names_that_could_be_read_in_two_ways_are_refused() {
        let long = "a".repeat(254);
        for name in
            ["", "A", "a b", "a_b", "a%2fb", ".a", "a.", "-a", "a-", "a..b", "a\0", "é", "a?x", "a#x", "a@b", &long]
        {
            assert_eq!(SpiffeId::new(name, Role::Node, "n"), Err(SpiffeError::Name), "{name:?}");
            assert_eq!(SpiffeId::new("f", Role::Node, name), Err(SpiffeError::Name), "{name:?}");
        }
        assert!(SpiffeId::new(&"a".repeat(253), Role::Node, "n").is_ok());
    }

    fn mk_certificate(uris: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    #[test]
    fn the_one_uri_name_of_a_certificate_is_its_identity() {
        let id = SpiffeId::of_certificate(&mk_certificate(&["spiffe://f/node/n"])).unwrap();
        assert_eq!(id, SpiffeId::new("f", Role::Node, "n").unwrap());
    }

    #[test]
    fn a_certificate_with_no_or_two_uri_names_is_nobody() {
        let none = SpiffeId::of_certificate(&mk_certificate(&[]));
        assert_eq!(none, Err(SpiffeError::UriCount { count: 0 }));
        let two = SpiffeId::of_certificate(&mk_certificate(&["spiffe://f/node/n", "https://x"]));
        assert_eq!(two, Err(SpiffeError::UriCount { count: 2 }));
        let same = SpiffeId::of_certificate(&mk_certificate(&["spiffe://f/node/n", "spiffe://f/node/n"]));
        assert_eq!(same, Err(SpiffeError::UriCount { count: 2 }));
    }
}
