//! The public half of a fleet's authorities: what peers are verified with. Every server knows it, relays included.

use muster_trust::{NotACertificate, Pin, Role, RoleVerifier, SpiffeId, VerifyError};
use rustls_pki_types::CertificateDer;

use super::certificate;
use super::error::PkiError;

/// Root and intermediates of one fleet, certificates alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetAnchors {
    fleet: String,
    root: CertificateDer<'static>,
    server: CertificateDer<'static>,
    node: CertificateDer<'static>,
    operator: CertificateDer<'static>,
}

impl FleetAnchors {
    /// The fleet with this root, and with these intermediates by role.
    ///
    /// # Errors
    /// If the fleet's id cannot stand in an identity, an intermediate is missing, was not signed by the root, or may not be
    /// used for its role.
    pub fn new(
        fleet: &str,
        root: CertificateDer<'static>,
        intermediate: impl Fn(Role) -> Option<CertificateDer<'static>>,
    ) -> Result<Self, PkiError> {
        SpiffeId::new(fleet, Role::Server, "x")?;
        let of = |role| intermediate(role).ok_or(PkiError::Mismatch { what: "an intermediate is missing" });
        let (server, node, operator) = (of(Role::Server)?, of(Role::Node)?, of(Role::Operator)?);
        let anchors = Self { fleet: fleet.to_owned(), root, server, node, operator };
        Role::ALL.into_iter().try_for_each(|role| anchors.check(role))?;
        Ok(anchors)
    }

    fn check(&self, role: Role) -> Result<(), PkiError> {
        let root = certificate::parse(&self.root)?;
        let intermediate = certificate::parse(self.intermediate(role))?;
        if intermediate.verify_signature(Some(root.public_key())).is_err() {
            return Err(PkiError::Mismatch { what: "an intermediate was not signed by the root" });
        }
        let usage = intermediate.extended_key_usage().map_err(|_| NotACertificate)?;
        let serves = usage.as_ref().is_some_and(|usage| usage.value.server_auth);
        let calls = usage.as_ref().is_some_and(|usage| usage.value.client_auth);
        if serves != (role == Role::Server) || !calls {
            return Err(PkiError::Mismatch { what: "an intermediate is not for its role" });
        }
        Ok(())
    }

    /// The fleet's id, which stands in every identity.
    pub fn fleet(&self) -> &str {
        &self.fleet
    }

    /// The root certificate.
    pub const fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The intermediate that issues to `role`.
    pub const fn intermediate(&self, role: Role) -> &CertificateDer<'static> {
        match role {
            Role::Server => &self.server,
            Role::Node => &self.node,
            Role::Operator => &self.operator,
        }
    }

    /// What machines are told as `muster.ca`.
    ///
    /// # Errors
    /// If the root cannot be read, which [`FleetAnchors::new`] rules out.
    pub fn pin(&self) -> Result<Pin, PkiError> {
        Ok(Pin::of_certificate(&self.root)?)
    }

    /// What the listener of `role` admits.
    ///
    /// # Errors
    /// If the intermediate cannot be an anchor, which [`FleetAnchors::new`] rules out.
    pub fn role_verifier(&self, role: Role) -> Result<RoleVerifier, VerifyError> {
        RoleVerifier::new(role, &self.fleet, vec![self.intermediate(role).clone()])
    }
}
