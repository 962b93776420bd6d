//! Certificate requests: each is decided upon in the log, and then approved or denied at the version that was looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{
        certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use muster_state::{
    ClusterId,
    command::DecideCsr,
    csr::{CsrClaim, CsrDecision, CsrLook},
    limits,
};

use super::{
    call::answer,
    claim,
    follow::{Follower, Listed, Told, follow, list},
    nodes,
    trouble::Trouble,
};
use crate::{
    clock::now_ms,
    ledger::{Ledger, ProposeError},
};

/// Requests that wait for a person, remembered so that each is told once per link; more are told again.
const WAITING_MAX: usize = 1_000;

/// Held requests are looked at this often: they wait for time, for their machines and for their tokens.
const HELD_LOOK: Duration = Duration::from_millis(500);

/// A token that has been known to be gone for so long is forgotten by all API servers.
const FORGOTTEN: Duration = Duration::from_millis(limits::TOKEN_FORGOTTEN_MS);

/// Decides upon requests until something goes wrong.
pub(super) async fn watch(
    client: Client,
    ledger: &Ledger,
    cluster: &ClusterId,
    listed: &Listed,
) -> Result<Infallible, Trouble> {
    let (api, nodes) = (Api::all(client.clone()), Api::all(client));
    let (waiting, held, fading) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    follow(&api, listed, Requests { api: &api, nodes: &nodes, ledger, cluster, waiting, held, fading }).await
}

struct Requests<'a> {
    api: &'a Api<CertificateSigningRequest>,
    nodes: &'a Api<Node>,
    ledger: &'a Ledger,
    cluster: &'a ClusterId,
    /// Requests that a person has to decide upon, by uid.
    waiting: BTreeSet<String>,
    /// Requests that are held, by uid: one for each machine that joins, and each printed line.
    held: BTreeMap<String, Held>,
    /// Since when it is known here that their tokens are gone, by uid and by a clock that nobody sets: servers may differ in what
    /// time it is.
    fading: BTreeMap<String, Instant>,
}

/// A held request as it was looked at last.
#[derive(Clone)]
struct Held {
    request: CertificateSigningRequest,
    claim: CsrClaim,
}

impl Follower<CertificateSigningRequest> for Requests<'_> {
    async fn told(&mut self, told: Told<CertificateSigningRequest>) -> Result<(), Trouble> {
        match told {
            Told::All(requests) => {
                // What is not there any more is held no more.
                self.held.clear();
                for request in requests {
                    self.settle(request, Round::Any).await?;
                }
                self.fading.retain(|uid, _| self.held.contains_key(uid));
            }
            Told::Changed(request) => self.settle(request, Round::Any).await?,
            Told::Gone(request) => self.forget(&request.uid().unwrap_or_default()),
        }
        Ok(())
    }

    fn looks_after(&self) -> Option<Duration> {
        (!self.held.is_empty()).then_some(HELD_LOOK)
    }

    async fn look(&mut self) -> Result<(), Trouble> {
        let looks: Vec<(String, CsrLook)> = self.ledger.read(|state| {
            let look = |(uid, held): (&String, &Held)| {
                (uid.clone(), state.look_at_csr(self.cluster, uid, &held.claim, now_ms()))
            };
            self.held.iter().map(look).collect()
        });
        let mut ripe = BTreeSet::new();
        for (uid, look) in looks {
            match look {
                CsrLook::Waits => {}
                CsrLook::Fading | CsrLook::Ripe => {
                    let gone_for = self.fading.entry(uid.clone()).or_insert_with(Instant::now).elapsed();
                    if look == CsrLook::Ripe && gone_for >= FORGOTTEN {
                        ripe.insert(uid);
                    }
                }
                CsrLook::Due => {
                    if let Some(held) = self.held.get(&uid).cloned() {
                        self.settle(held.request, Round::Any).await?;
                    }
                }
            }
        }
        if ripe.is_empty() { Ok(()) } else { self.settle_ripe(ripe).await }
    }
}

/// When a request is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Any,
    /// After all others that are there: nobody could have made another one since.
    Last,
}

impl Requests<'_> {
    /// What has been held for long enough is approved only after everything that is there by now was decided upon: a watch may be
    /// late with the second request of a token.
    async fn settle_ripe(&mut self, ripe: BTreeSet<String>) -> Result<(), Trouble> {
        let (all, _) = list(self.api).await?;
        let is_ripe = |request: &CertificateSigningRequest| request.uid().is_some_and(|uid| ripe.contains(&uid));
        let (last, first): (Vec<_>, Vec<_>) = all.into_iter().partition(is_ripe);
        self.held.retain(|uid, _| !ripe.contains(uid));
        for request in first {
            self.settle(request, Round::Any).await?;
        }
        for request in last {
            self.settle(request, Round::Last).await?;
        }
        Ok(())
    }

    fn forget(&mut self, uid: &str) {
        self.waiting.remove(uid);
        self.held.remove(uid);
        self.fading.remove(uid);
    }

    async fn settle(&mut self, request: CertificateSigningRequest, round: Round) -> Result<(), Trouble> {
        let uid = request.uid().unwrap_or_default();
        if is_settled(&request) {
            self.forget(&uid);
            return Ok(());
        }
        let mut claim = claim::of(&request);
        let line = self.ledger.read(|state| state.line_name_of(self.cluster, &claim).cloned());
        if let Some(name) = line {
            claim.node_is_ready = nodes::find(self.nodes, &name).await?.is_some_and(|node| node.ready);
        }
        let look = self.ledger.read(|state| state.look_at_csr(self.cluster, &uid, &claim, now_ms()));
        let waits = match look {
            CsrLook::Waits | CsrLook::Fading => true,
            CsrLook::Ripe => round == Round::Any,
            CsrLook::Due => false,
        };
        if waits {
            self.held.insert(uid, Held { request, claim });
            return Ok(());
        }
        self.held.remove(&uid);
        let first_look = self.ledger.read(|state| state.judge_csr(self.cluster, &uid, &claim));
        // What is nobody's business of ours does not go through the log.
        if self.waiting.contains(&uid) || first_look == CsrDecision::Ignore {
            return Ok(());
        }
        let (cluster, name, digest) = (self.cluster.clone(), request.name_any(), claim::digest(&request));
        let decide = DecideCsr { cluster, uid: uid.clone(), name, digest, claim: claim.clone() };
        let decided = self.ledger.propose(decide).await;
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
            CsrDecision::Hold(_) => {
                self.held.insert(uid, Held { request, claim });
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
    i64::try_from(now_ms() / 1000).unwrap_or_default()
}
