use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::update_cluster::check_spec;
use crate::{
    ClusterId, Refusal, State, TokenId, limits,
    record::{BootstrapToken, BootstrapTokenState, CaCertificate, Cluster, ClusterSpec, Origin, Purpose, Role, SealedSecret},
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
}

impl CreateCluster {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<ClusterId, Refusal> {
        Self::check(&self.spec, state)?;
        if state.clusters.contains_key(&self.id) {
            return Err(Refusal::Exists { kind: "cluster".into(), name: self.id.to_string() });
        }
        if self.origin == Origin::Imported && self.spec.link.is_some() {
            let problem = "a cluster that was brought in can't be linked yet: leave it detached";
            return Err(Refusal::invalid("spec.kubernetes.access", problem));
        }
        let token_secret = self.first_token.as_ref().map(|(_, secret)| secret);
        state.check_sealed(self.keys.values().chain([&self.certificate_key]).chain(token_secret))?;
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
            etcd: None,
        };
        state.clusters.insert(id.clone(), cluster);
        state.event(false, "ClusterCreated", message, Some(id.clone()), None);
        state.changes.push(Change::Cluster(id.clone()));
        Ok(id)
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
