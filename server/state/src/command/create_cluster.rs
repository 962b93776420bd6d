use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{set_credentials::check_bounds, update_cluster::{check_roles, check_spec}};
use crate::{
    ClusterId, Refusal, State, TokenId, limits,
    record::{BootstrapToken, BootstrapTokenState, CaCertificate, Cluster, ClusterSpec, Credentials, Origin, Purpose, Role, SealedSecret},
    state::{Change, Context},
};

/// Makes a cluster's record with everything it will need, before any of its machines exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateCluster {
    /// Minted by the proposer.
    pub id: ClusterId,
    /// What the operator wrote.
    pub spec: ClusterSpec,
    /// Made here or brought in.
    pub origin: Origin,
    /// Public certificates.
    pub certificates: Vec<CaCertificate>,
    /// Public half of the service-account key, PEM.
    pub service_account_public: String,
    /// Sealed private keys by kubeadm's file name.
    pub keys: BTreeMap<String, SealedSecret>,
    /// The first certificate key, sealed.
    pub certificate_key: SealedSecret,
    /// Public id and sealed secret part of the token that `kubeadm init` creates.
    pub first_token: Option<(TokenId, SealedSecret)>,
    /// Lifetime of that token from init, milliseconds.
    pub first_token_ttl_ms: u64,
    /// Of a cluster that is brought in with a kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Why no control plane can be added, in a sentence; empty: they can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workers_only: String,
}

impl CreateCluster {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<ClusterId, Refusal> {
        Self::check(&self.spec, state)?;
        if state.clusters.contains_key(&self.id) {
            return Err(Refusal::Exists { kind: "cluster".into(), name: self.id.to_string() });
        }
        self.check_access()?;
        check_roles(&self.spec, &self.workers_only)?;
        let token_secret = self.first_token.as_ref().map(|(_, secret)| secret);
        let credentials = self.credentials.as_ref().map(|credentials| &credentials.secret);
        state.check_sealed(self.keys.values().chain([&self.certificate_key]).chain(token_secret).chain(credentials))?;
        if let Some((token, _)) = &self.first_token
            && state.bootstrap_tokens.contains_key(token)
        {
            return Err(Refusal::Exists { kind: "bootstrap token".into(), name: token.to_string() });
        }
        let (id, now_ms) = (self.id.clone(), context.now_ms);
        let first_token = self.first_token.map(|(token, secret)| {
            let record = BootstrapToken {
                id: token.clone(),
                cluster: id.clone(),
                purpose: Purpose::JoinCommand(Role::Worker),
                secret,
                created_ms: now_ms,
                ttl_ms: self.first_token_ttl_ms,
                expires_ms: 0,
                state: BootstrapTokenState::Minted,
                differs: None,
                deleted_ms: 0,
                renewal_ms: 0,
                requests: Vec::new(),
            };
            state.bootstrap_tokens.insert(token.clone(), record);
            token
        });
        let message = format!("cluster {} at {} was {}", self.spec.name, self.spec.endpoint, origin_word(self.origin));
        let cluster = Cluster {
            id: id.clone(),
            spec: self.spec,
            revision: 1,
            origin: self.origin,
            created_ms: now_ms,
            certificates: self.certificates,
            service_account_public: self.service_account_public,
            keys: self.keys,
            certificate_key: self.certificate_key,
            certificates_uploaded_ms: 0,
            certificates_ending: false,
            certificates_wanted_until_ms: 0,
            first_token,
            permits: BTreeMap::new(),
            initialised: self.origin == Origin::Imported,
            first: None,
            link: None,
            custody: None,
            requests_told: None,
            etcd: None,
            credentials: self.credentials,
            workers_only: limits::clip(&self.workers_only),
        };
        state.clusters.insert(id.clone(), cluster);
        state.event(false, "ClusterCreated", message, Some(id.clone()), None);
        state.changes.push(Change::Cluster(id.clone()));
        Ok(id)
    }

    /// A cluster that was brought in is linked by its credentials, and only by them.
    fn check_access(&self) -> Result<(), Refusal> {
        let is_linked = self.spec.link.is_some();
        match &self.credentials {
            None if self.origin == Origin::Imported && is_linked => {
                let problem = "a cluster that is brought in is linked by a kubeconfig: give one, or leave it detached";
                Err(Refusal::invalid("spec.kubernetes.access", problem))
            }
            Some(_) if self.origin != Origin::Imported || !is_linked => {
                Err(Refusal::invalid("kubeconfig", "only a cluster that is brought in, and linked, has one"))
            }
            None => Ok(()),
            Some(credentials) => check_bounds(credentials),
        }
    }

    /// Whether a cluster of that spec would be refused now, before anything is made for it; changes nothing.
    pub fn check(spec: &ClusterSpec, state: &State) -> Result<(), Refusal> {
        check_spec(spec)?;
        if state.cluster_named(&spec.name).is_some() {
            return Err(Refusal::Exists { kind: "cluster".into(), name: spec.name.clone() });
        }
        if state.clusters.len() >= limits::CLUSTERS_MAX {
            return Err(Refusal::Full { what: "clusters".into(), limit: limits::CLUSTERS_MAX as u64 });
        }
        Ok(())
    }
}

fn origin_word(origin: Origin) -> &'static str {
    match origin {
        Origin::Created => "created",
        Origin::Imported => "imported",
    }
}
