//! Every sealed secret of the state by name, in one place: what is sealed anew when a fleet is restored or its data key is
//! rotated is all of it, and a test counts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClusterId, Refusal, State, TokenId, record::SealedSecret};

/// Which sealed secret. With the secret's revision this is what its associated data is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SecretName {
    /// A private key of the fleet's PKI, by role or `root`.
    FleetKey(String),
    /// A private key of a cluster, by kubeadm's file name.
    ClusterKey(ClusterId, String),
    /// The certificate key of a cluster's join window.
    CertificateKey(ClusterId),
    /// The credentials for the API of a cluster that was brought in.
    Credentials(ClusterId),
    /// The secret part of a bootstrap token.
    BootstrapToken(ClusterId, TokenId),
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FleetKey(role) => write!(f, "fleet key {role}"),
            Self::ClusterKey(cluster, name) => write!(f, "key {name} of cluster {cluster}"),
            Self::CertificateKey(cluster) => write!(f, "certificate key of cluster {cluster}"),
            Self::Credentials(cluster) => write!(f, "credentials for the API of cluster {cluster}"),
            Self::BootstrapToken(_, token) => write!(f, "bootstrap token {token}"),
        }
    }
}

impl State {
    /// All sealed secrets, in a fixed order.
    pub fn secrets(&self) -> impl Iterator<Item = (SecretName, &SealedSecret)> {
        let fleet = self.fleet.iter().flat_map(|fleet| &fleet.keys);
        let fleet = fleet.map(|(role, secret)| (SecretName::FleetKey(role.clone()), secret));
        let clusters = self.clusters.values().flat_map(|cluster| {
            let id = || cluster.id.clone();
            let keys = cluster.keys.iter();
            let keys = keys.map(move |(name, secret)| (SecretName::ClusterKey(id(), name.clone()), secret));
            let credentials = cluster.credentials.iter();
            let credentials = credentials.map(move |given| (SecretName::Credentials(id()), &given.secret));
            keys.chain([(SecretName::CertificateKey(id()), &cluster.certificate_key)]).chain(credentials)
        });
        let tokens = self.bootstrap_tokens.values();
        let tokens =
            tokens.map(|token| (SecretName::BootstrapToken(token.cluster.clone(), token.id.clone()), &token.secret));
        fleet.chain(clusters).chain(tokens)
    }

    /// Refuses secrets that were sealed with a data key that is no more: nobody could open them again. Whoever seals looks at
    /// the keys a moment before.
    pub(crate) fn check_sealed<'a>(&self, secrets: impl IntoIterator<Item = &'a SealedSecret>) -> Result<(), Refusal> {
        let Some(fleet) = &self.fleet else { return Ok(()) };
        let lost = secrets.into_iter().find(|secret| !fleet.epochs.contains_key(&secret.sealed.epoch));
        match lost {
            None => Ok(()),
            Some(secret) => {
                let problem = format!("data key {} is no more, try again", secret.sealed.epoch);
                Err(Refusal::Epoch(problem))
            }
        }
    }

    /// The secret of that name, to be changed.
    pub(crate) fn secret_mut(&mut self, name: &SecretName) -> Option<&mut SealedSecret> {
        match name {
            SecretName::FleetKey(role) => self.fleet.as_mut()?.keys.get_mut(role),
            SecretName::ClusterKey(cluster, name) => self.clusters.get_mut(cluster)?.keys.get_mut(name),
            SecretName::CertificateKey(cluster) => Some(&mut self.clusters.get_mut(cluster)?.certificate_key),
            SecretName::Credentials(cluster) => Some(&mut self.clusters.get_mut(cluster)?.credentials.as_mut()?.secret),
            SecretName::BootstrapToken(cluster, token) => {
                let token = self.bootstrap_tokens.get_mut(token).filter(|token| token.cluster == *cluster)?;
                Some(&mut token.secret)
            }
        }
    }
}
