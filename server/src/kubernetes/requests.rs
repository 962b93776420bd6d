//! Certificate requests: each is decided upon in the log, and then approved or denied at the version that was looked at.

use std::{collections::BTreeSet, convert::Infallible};

use k8s_openapi::{
    api::{
        certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use muster_state::{ClusterId, command::DecideCsr, csr::CsrDecision};

use super::{
    call::answer,
    claim,
    follow::{Follower, Listed, Told, follow},
    nodes,
    trouble::Trouble,
};
use crate::ledger::{Ledger, ProposeError};

/// Requests that wait for a person, remembered so that each is told once per link; more are told again.
const WAITING_MAX: usize = 1_000;

/// Decides upon requests until something goes wrong.
pub(super) async fn watch(
    client: Client,
    ledger: &Ledger,
    cluster: &ClusterId,
    listed: &Listed,
) -> Result<Infallible, Trouble> {
    let (api, nodes) = (Api::all(client.clone()), Api::all(client));
    follow(&api, listed, Requests { api: &api, nodes: &nodes, ledger, cluster, waiting: BTreeSet::new() }).await
}

struct Requests<'a> {
    api: &'a Api<CertificateSigningRequest>,
    nodes: &'a Api<Node>,
    ledger: &'a Ledger,
    cluster: &'a ClusterId,
    /// Requests that a person has to decide upon, by uid.
    waiting: BTreeSet<String>,
}

impl Follower<CertificateSigningRequest> for Requests<'_> {
    async fn told(&mut self, told: Told<CertificateSigningRequest>) -> Result<(), Trouble> {
        match told {
            Told::All(requests) => {
                for request in requests {
                    self.settle(request).await?;
                }
            }
            Told::Changed(request) => self.settle(request).await?,
            Told::Gone(request) => drop(self.waiting.remove(&request.uid().unwrap_or_default())),
        }
        Ok(())
    }
}

impl Requests<'_> {
    async fn settle(&mut self, request: CertificateSigningRequest) -> Result<(), Trouble> {
        let uid = request.uid().unwrap_or_default();
        if is_settled(&request) {
            self.waiting.remove(&uid);
            return Ok(());
        }
        let mut claim = claim::of(&request);
        let line = self.ledger.read(|state| state.line_name_of(self.cluster, &claim).cloned());
        if let Some(name) = line {
            claim.node_is_ready = nodes::find(self.nodes, &name).await?.is_some_and(|node| node.ready);
        }
        let first_look = self.ledger.read(|state| state.judge_csr(self.cluster, &uid, &claim));
        // What is nobody's business of ours does not go through the log.
        if self.waiting.contains(&uid) || first_look == CsrDecision::Ignore {
            return Ok(());
        }
        let (cluster, name, digest) = (self.cluster.clone(), request.name_any(), claim::digest(&request));
        let decided = self.ledger.propose(DecideCsr { cluster, uid: uid.clone(), name, digest, claim }).await;
        // One that the state does not take must not hold up all others.
        if let Err(ProposeError::Refused(why)) = &decided {
            tracing::warn!(request = %request.name_any(), err = %why, "a certificate request is left alone");
            return Ok(());
        }
        match decided? {
            CsrDecision::Approve => {
                conclude(self.api, request, "Approved", "it is what the holder of this token was to ask for").await
            }
            CsrDecision::Deny(why) => conclude(self.api, request, "Denied", &why).await,
            CsrDecision::Wait(_) => {
                if self.waiting.len() < WAITING_MAX {
                    self.waiting.insert(uid);
                }
                Ok(())
            }
            CsrDecision::Ignore => Ok(()),
        }
    }
}

/// Somebody has decided, or the signer has given up.
fn is_settled(request: &CertificateSigningRequest) -> bool {
    let status = request.status.as_ref();
    status.is_some_and(|status| {
        status.certificate.is_some() || status.conditions.as_ref().is_some_and(|all| !all.is_empty())
    })
}

/// Says so to the cluster, unless the request is another by now: then a change follows, and is looked at anew.
async fn conclude(
    api: &Api<CertificateSigningRequest>,
    mut request: CertificateSigningRequest,
    verdict: &str,
    why: &str,
) -> Result<(), Trouble> {
    let now = Time(k8s_openapi::jiff::Timestamp::from_second(seconds_now()).unwrap_or_default());
    let condition = CertificateSigningRequestCondition {
        type_: verdict.to_owned(),
        status: "True".to_owned(),
        reason: Some(format!("Muster{verdict}")),
        message: Some(why.to_owned()),
        last_update_time: Some(now.clone()),
        last_transition_time: Some(now),
    };
    request.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
    let name = request.name_any();
    match answer("approval", api.replace_subresource("approval", &name, &PostParams::default(), &request)).await {
        Ok(_) => Ok(()),
        Err(Trouble::Conflict | Trouble::Absent) => Ok(()),
        Err(Trouble::Rejected(why)) => {
            tracing::warn!(request = %name, err = %why, "the API server does not take a decision on a certificate request");
            Ok(())
        }
        Err(other) => Err(other),
    }
}

fn seconds_now() -> i64 {
    i64::try_from(crate::clock::now_ms() / 1000).unwrap_or_default()
}
