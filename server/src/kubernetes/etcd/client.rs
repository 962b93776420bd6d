//! Asks a cluster's etcd, over its own API: who its members are and how each is, and takes one out. Every call has an end.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use muster_proto::etcd::{
    Member, MemberListRequest, MemberRemoveRequest, StatusRequest, StatusResponse, cluster_client::ClusterClient,
    maintenance_client::MaintenanceClient,
};
use muster_state::record::{EtcdMember, WatchedMember};
use muster_trust::TlsIdentity;
use tokio::{task::JoinSet, time::timeout};
use tokio_rustls::TlsConnector;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use crate::kubernetes::transport::{self, Target};

/// One member may take this long to let us in, TLS included.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// And this long for an answer: etcd itself gives up on a vote after some seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// A member that is busy for a moment is not sick: it is asked again after this.
const SECOND_LOOK_AFTER: Duration = Duration::from_millis(500);
/// A list of 64 members with long names has a tenth of this.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Client URLs of one member that are tried.
const URLS_TRIED: usize = 2;

/// Why etcd did not do, or say, what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum EtcdError {
    /// No address gave an answer that counts; another try may.
    #[error("{0}")]
    Unreachable(String),
    /// Etcd has said no, and will again.
    #[error("{0}")]
    Refused(String),
}

/// A client of one cluster's etcd, for the life of one certificate.
pub(super) struct Client(Arc<Inner>);

struct Inner {
    targets: Vec<Target>,
    /// Which target answered last.
    good: AtomicUsize,
    tls: TlsConnector,
    /// Connections that stand. Held for a map operation, never over an await.
    lines: Mutex<BTreeMap<Target, Channel>>,
}

impl Client {
    /// A client that trusts members certified by `authority` alone; `None` if that or the identity can't be read. Nothing is
    /// connected yet.
    pub(super) fn new(targets: Vec<Target>, authority: &str, identity: TlsIdentity) -> Option<Self> {
        let tls = TlsConnector::from(Arc::new(transport::tls(authority, Some(identity), muster_trust::ALPN_H2)?));
        Some(Self(Arc::new(Inner { targets, good: AtomicUsize::new(0), tls, lines: Mutex::default() })))
    }

    /// All members as a majority of etcd lists them, and how each is.
    pub(super) async fn look(&self) -> Result<Vec<WatchedMember>, EtcdError> {
        let members = self.0.list().await?;
        let mut looks = JoinSet::new();
        for member in members {
            let inner = Arc::clone(&self.0);
            looks.spawn(async move {
                let healthy = inner.is_healthy(&member).await;
                WatchedMember { member: render(member), healthy }
            });
        }
        Ok(looks.join_all().await)
    }

    /// Takes a member out; one that is not there is out already. By the member that answered last.
    pub(super) async fn remove(&self, id: &str) -> Result<(), EtcdError> {
        let inner = &self.0;
        let id = u64::from_str_radix(id, 16).map_err(|_| EtcdError::Refused(format!("{id:?} is no member's id")))?;
        let target = inner.targets.get(inner.good.load(Ordering::Relaxed));
        let target = target.ok_or_else(|| EtcdError::Unreachable("no address of etcd is known".into()))?;
        let outcome = inner
            .ask(target, async |channel| ClusterClient::new(channel).member_remove(MemberRemoveRequest { id }).await)
            .await;
        match outcome {
            Ok(_) => Ok(()),
            Err(Failure::Answer(status)) => of_removal(&status),
            Err(failure) => Err(EtcdError::Unreachable(failure.sentence(target))),
        }
    }
}

/// What an answer to a removal means. Etcd says Unavailable while a voter is away, which may pass.
fn of_removal(status: &Status) -> Result<(), EtcdError> {
    let text = status.message().to_owned();
    match status.code() {
        Code::NotFound => Ok(()),
        Code::FailedPrecondition | Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated => {
            Err(EtcdError::Refused(text))
        }
        _ => Err(EtcdError::Unreachable(text)),
    }
}

/// A call that was not answered as it should be.
enum Failure {
    /// There is no connection, and why.
    Connection(String),
    /// Nothing came in time.
    Silence,
    /// Etcd itself says what is wrong.
    Answer(Status),
}

impl Failure {
    fn sentence(&self, target: &Target) -> String {
        let why = match self {
            Self::Connection(why) => why,
            Self::Silence => "no answer in time",
            Self::Answer(status) => status.message(),
        };
        format!("{} port {}: {why}", target.host, target.port)
    }
}

impl Inner {
    /// Asks the target that answered last, then the others in their order.
    async fn list(&self) -> Result<Vec<Member>, EtcdError> {
        let good = self.good.load(Ordering::Relaxed);
        let others = (0..self.targets.len()).filter(|at| *at != good);
        let mut failures = Vec::new();
        for at in [good].into_iter().filter(|at| *at < self.targets.len()).chain(others) {
            let target = &self.targets[at];
            let request = MemberListRequest { linearizable: true };
            let asked = async |channel| {
                let mut client = ClusterClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
                client.member_list(request).await
            };
            match self.ask(target, asked).await {
                Ok(answer) if !answer.members.is_empty() => {
                    self.good.store(at, Ordering::Relaxed);
                    return Ok(answer.members);
                }
                Ok(_) => failures.push(Failure::Connection("it lists no members".into()).sentence(target)),
                Err(failure) => failures.push(failure.sentence(target)),
            }
        }
        if failures.is_empty() {
            failures.push("no address of etcd is known".into());
        }
        Err(EtcdError::Unreachable(failures.join("; ")))
    }

    async fn is_healthy(&self, member: &Member) -> bool {
        if member.client_ur_ls.is_empty() {
            // It has never run.
            return false;
        }
        if self.is_well(member).await {
            return true;
        }
        tokio::time::sleep(SECOND_LOOK_AFTER).await;
        self.is_well(member).await
    }

    async fn is_well(&self, member: &Member) -> bool {
        for target in member.client_ur_ls.iter().take(URLS_TRIED).filter_map(|url| target(url)) {
            let asked = async |channel| {
                let mut client = MaintenanceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
                client.status(StatusRequest {}).await
            };
            if self.ask(&target, asked).await.is_ok_and(|status| is_well(&status, member.id)) {
                return true;
            }
        }
        false
    }

    /// One call over the line to a target, which is made if there is none, and given up if it did not carry an answer.
    async fn ask<A>(
        &self,
        target: &Target,
        asked: impl AsyncFnOnce(Channel) -> Result<tonic::Response<A>, Status>,
    ) -> Result<A, Failure> {
        let known = self.lines.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned();
        let channel = match known {
            Some(channel) => channel,
            None => connect(&self.tls, target).await.map_err(Failure::Connection)?,
        };
        let outcome = match timeout(ANSWER_WITHIN, asked(channel.clone())).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(Failure::Answer(status)),
            Err(_) => Err(Failure::Silence),
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Ok(_) => lines.insert(target.clone(), channel),
            Err(_) => lines.remove(target),
        };
        outcome
    }
}

/// It is the one that is meant (another may have come to its address), it follows somebody, and nothing is wrong with it.
fn is_well(status: &StatusResponse, id: u64) -> bool {
    let is_it = status.header.as_ref().is_some_and(|header| header.member_id == id);
    is_it && status.leader != 0 && status.errors.is_empty()
}

fn render(member: Member) -> EtcdMember {
    EtcdMember {
        id: format!("{:x}", member.id),
        name: member.name,
        peer_urls: member.peer_ur_ls,
        learner: member.is_learner,
    }
}

/// Where a URL of a member leads.
pub(super) fn target(url: &str) -> Option<Target> {
    let url: Uri = url.parse().ok().filter(|url: &Uri| url.scheme_str() == Some("https"))?;
    let host = url.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some(Target { host, port: url.port_u16()? })
}

/// A line to one member, certified by etcd's authority for that address.
pub(super) async fn connect(tls: &TlsConnector, target: &Target) -> Result<Channel, String> {
    let reached = timeout(CONNECT_WITHIN, transport::reach(tls, target)).await;
    let stream = reached.map_err(|_| "no answer in time".to_owned())?.map_err(|err| err.message)?;
    // "http": tonic must not try TLS a second time.
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let endpoint = Endpoint::from_shared(format!("http://{host}:{}", target.port)).map_err(|err| err.to_string())?;
    // One connection, one channel: a second one would be a reconnect that nobody has noticed.
    let mut ready = Some(stream);
    let connector = service_fn(move |_: Uri| {
        let stream = ready.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        async move { stream.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connector).await.map_err(|err| err.to_string())
}

#[cfg(test)]
mod tests {
    use muster_proto::etcd::ResponseHeader;

    use super::*;

    #[test]
    fn only_a_secure_url_with_a_port_leads_anywhere() {
        let at = |url| target(url).map(|target| (target.host, target.port));
        assert_eq!(at("https://192.0.2.1:2379"), Some(("192.0.2.1".into(), 2379)));
        assert_eq!(at("https://[2001:db8::1]:2379"), Some(("2001:db8::1".into(), 2379)));
        for url in ["http://192.0.2.1:2379", "https://192.0.2.1", "unix://x:1", "", "nonsense"] {
            assert_eq!(at(url), None, "{url}");
        }
    }

    #[test]
    fn a_member_is_well_only_under_its_own_id_with_a_leader_and_without_alarms() {
        let status = |member_id, leader, errors: &[&str]| StatusResponse {
            header: Some(ResponseHeader { member_id, ..ResponseHeader::default() }),
            leader,
            errors: errors.iter().map(|text| (*text).to_owned()).collect(),
        };
        assert!(is_well(&status(7, 1, &[]), 7));
        assert!(!is_well(&status(8, 1, &[]), 7), "another one answers there");
        assert!(!is_well(&status(7, 0, &[]), 7));
        assert!(!is_well(&status(7, 1, &["alarm:NOSPACE"]), 7));
        assert!(!is_well(&StatusResponse::default(), 0), "no header");
    }

    #[test]
    fn what_etcd_says_to_a_removal_is_final_or_passes() {
        let of = |code| of_removal(&Status::new(code, "etcdserver: so"));
        assert!(of(Code::NotFound).is_ok());
        for code in [Code::FailedPrecondition, Code::PermissionDenied] {
            assert!(matches!(of(code), Err(EtcdError::Refused(_))), "{code:?}");
        }
        for code in [Code::Unavailable, Code::Unknown, Code::DeadlineExceeded] {
            assert!(matches!(of(code), Err(EtcdError::Unreachable(_))), "{code:?}");
        }
    }
}
