//! Every metric of the server: its name, what it means, and the one function that records it.
//!
//! Labels come from small closed sets only (types, not text): no machine, token or address ever becomes a label. Histogram
//! buckets are fixed here, so that every server of a fleet can be summed with the others.
//!
//! Absent on purpose: names for what is not measured. A series that never moves looks like good news.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use muster_state::record::Role;

/// Version and revision of this program, always 1.
pub const BUILD_INFO: &str = "muster_build_info";
/// 1 while the data keys are not at hand.
pub const SEALED: &str = "muster_sealed";
/// 1 while a leader is known.
pub const RAFT_HAS_LEADER: &str = "muster_raft_has_leader";
/// 1 while this server leads.
pub const RAFT_IS_LEADER: &str = "muster_raft_is_leader";
/// 1 while this server does not vote.
pub const RAFT_IS_LEARNER: &str = "muster_raft_is_learner";
/// The Raft term.
pub const RAFT_TERM: &str = "muster_raft_term";
/// Index of the last entry in the log.
pub const RAFT_LAST_LOG_INDEX: &str = "muster_raft_last_log_index";
/// Index of the last entry in the state.
pub const RAFT_APPLIED_INDEX: &str = "muster_raft_applied_index";
/// Index of the last entry in the newest snapshot.
pub const RAFT_SNAPSHOT_INDEX: &str = "muster_raft_snapshot_index";
/// How often another leader was seen.
pub const RAFT_LEADER_CHANGES: &str = "muster_raft_leader_changes_total";
/// Age of the last answer of a majority; leaders only.
pub const RAFT_QUORUM_ACK_AGE: &str = "muster_raft_quorum_ack_age_seconds";
/// Entries that a peer is behind; leaders only.
pub const RAFT_PEER_LAG: &str = "muster_raft_peer_lag_entries";
/// Commands by what became of them.
pub const RAFT_PROPOSALS: &str = "muster_raft_proposals_total";
/// From proposing a command to its reply.
pub const RAFT_PROPOSAL_DURATION: &str = "muster_raft_proposal_duration_seconds";
/// Fsyncs of the log.
pub const STORAGE_SYNCS: &str = "muster_storage_syncs_total";
/// One durable write of the log, from the batch to the end of its fsync. Recorded by the storage itself, which enters no room.
pub const STORAGE_FLUSH_DURATION: &str = "muster_storage_flush_duration_seconds";
/// Bytes of entries in the log.
pub const STORAGE_SIZE: &str = "muster_storage_size_bytes";
/// Agents whose stream this server holds.
pub const AGENTS_CONNECTED: &str = "muster_agents_connected";
/// Machines by role and phase.
pub const NODES: &str = "muster_nodes";
/// Joins that ended, by how.
pub const JOINS: &str = "muster_joins_total";
/// From admission to Ready.
pub const JOIN_DURATION: &str = "muster_join_duration_seconds";
/// Time spent in each phase by nodes that became Ready.
pub const JOIN_PHASE_DURATION: &str = "muster_join_phase_duration_seconds";
/// Permits held.
pub const PERMITS_IN_USE: &str = "muster_join_permits_in_use";
/// Nodes that wait for a permit.
pub const PERMITS_WAITING: &str = "muster_join_permits_waiting";
/// Bootstrap tokens by state.
pub const BOOTSTRAP_TOKENS: &str = "muster_bootstrap_tokens";
/// When the next live token of any kind runs out; absent without one.
pub const TOKEN_NEXT_EXPIRY: &str = "muster_token_next_expiry_timestamp_seconds";
/// When the first certificate of that name in any cluster runs out.
pub const CERTIFICATE_EXPIRY: &str = "muster_certificate_expiry_timestamp_seconds";
/// Refused identities, by why.
pub const AUTHENTICATION_FAILURES: &str = "muster_authentication_failures_total";
/// Events by type and reason.
pub const EVENTS: &str = "muster_events_total";
/// From a message to another server to its answer.
pub const PEER_ROUND_TRIP: &str = "muster_peer_round_trip_seconds";
/// Messages to other servers that got no answer, by why.
pub const PEER_FAILURES: &str = "muster_peer_failures_total";
/// Bytes of messages to other servers, and of their answers.
pub const PEER_BYTES: &str = "muster_peer_bytes_total";
/// Calls begun.
pub const GRPC_STARTED: &str = "grpc_server_started_total";
/// Calls ended, by code.
pub const GRPC_HANDLED: &str = "grpc_server_handled_total";
/// From the request to the last byte of the answer.
pub const GRPC_HANDLING: &str = "grpc_server_handling_seconds";

/// One round of a durable write takes from 0.1 ms (a fast disk) to seconds (a dying one).
const WRITE_BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Joins take from seconds (rehearsed) to the hour of a slow image registry.
const JOIN_BUCKETS: [f64; 12] = [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0];
/// The buckets that everybody's gRPC dashboards expect.
const CALL_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The recorder of this process, installed at the first call; later calls give the same. Servers that share a process, as in
/// the demo, share their figures.
///
/// # Errors
/// If a recorder of another kind was installed before.
pub fn recorder() -> Result<PrometheusHandle, BuildError> {
    static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();
    static INSTALLING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(handle) = INSTALLED.get() {
        return Ok(handle.clone());
    }
    let handle = builder()?.install_recorder()?;
    describe();
    build_info();
    Ok(INSTALLED.get_or_init(|| handle).clone())
}

pub(super) fn builder() -> Result<PrometheusBuilder, BuildError> {
    let of = |name: &str| Matcher::Full(name.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(of(RAFT_PROPOSAL_DURATION), &WRITE_BUCKETS)?
        .set_buckets_for_metric(of(STORAGE_FLUSH_DURATION), &WRITE_BUCKETS)?
        .set_buckets_for_metric(of(PEER_ROUND_TRIP), &WRITE_BUCKETS)?
        .set_buckets_for_metric(of(JOIN_DURATION), &JOIN_BUCKETS)?
        .set_buckets_for_metric(of(JOIN_PHASE_DURATION), &JOIN_BUCKETS)?
        .set_buckets_for_metric(of(GRPC_HANDLING), &CALL_BUCKETS)
}

fn describe() {
    for (name, unit, help) in [
        (BUILD_INFO, Unit::Count, "Version and revision of this program, always 1."),
        (SEALED, Unit::Count, "1 while the data keys are not at hand."),
        (RAFT_HAS_LEADER, Unit::Count, "1 while a leader is known."),
        (RAFT_IS_LEADER, Unit::Count, "1 while this server leads."),
        (RAFT_IS_LEARNER, Unit::Count, "1 while this server does not vote."),
        (RAFT_TERM, Unit::Count, "The Raft term."),
        (RAFT_LAST_LOG_INDEX, Unit::Count, "Index of the last entry in the log."),
        (RAFT_APPLIED_INDEX, Unit::Count, "Index of the last entry in the state."),
        (RAFT_SNAPSHOT_INDEX, Unit::Count, "Index of the last entry in the newest snapshot."),
        (RAFT_QUORUM_ACK_AGE, Unit::Seconds, "Age of the last answer of a majority; leaders only."),
        (RAFT_PEER_LAG, Unit::Count, "Entries that a peer is behind; leaders only."),
        (STORAGE_SIZE, Unit::Bytes, "Bytes of entries in the log."),
        (AGENTS_CONNECTED, Unit::Count, "Agents whose stream this server holds."),
        (NODES, Unit::Count, "Machines by role and phase."),
        (PERMITS_IN_USE, Unit::Count, "Permits held."),
        (PERMITS_WAITING, Unit::Count, "Nodes that wait for a permit."),
        (BOOTSTRAP_TOKENS, Unit::Count, "Bootstrap tokens by state."),
        (TOKEN_NEXT_EXPIRY, Unit::Seconds, "When the next live token runs out, seconds since the Unix epoch."),
        (CERTIFICATE_EXPIRY, Unit::Seconds, "When the first certificate of that name runs out."),
    ] {
        describe_gauge!(name, unit, help);
    }
    for (name, help) in [
        (RAFT_LEADER_CHANGES, "How often another leader was seen."),
        (RAFT_PROPOSALS, "Commands by what became of them."),
        (STORAGE_SYNCS, "Fsyncs of the log."),
        (JOINS, "Joins that ended, by how."),
        (AUTHENTICATION_FAILURES, "Refused identities, by why."),
        (EVENTS, "Events by type and reason."),
        (PEER_FAILURES, "Messages to other servers that got no answer, by why."),
        (PEER_BYTES, "Bytes of messages to other servers, and of their answers."),
        (GRPC_STARTED, "Calls begun."),
        (GRPC_HANDLED, "Calls ended, by code."),
    ] {
        describe_counter!(name, Unit::Count, help);
    }
    for (name, help) in [
        (RAFT_PROPOSAL_DURATION, "From proposing a command to its reply."),
        (STORAGE_FLUSH_DURATION, "One durable write of the log, fsync included."),
        (JOIN_DURATION, "From admission to Ready."),
        (JOIN_PHASE_DURATION, "Time spent in each phase by nodes that became Ready."),
        (PEER_ROUND_TRIP, "From a message to another server to its answer."),
        (GRPC_HANDLING, "From the request to the last byte of the answer."),
    ] {
        describe_histogram!(name, Unit::Seconds, help);
    }
}

fn build_info() {
    // Set by whoever builds a release; a build from a work tree does not know what it was made of.
    let revision = option_env!("MUSTER_REVISION").unwrap_or("unknown");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "revision" => revision).set(1.0);
}

/// Whether the data keys are missing.
pub fn sealed(sealed: bool) {
    gauge!(SEALED).set(truth(sealed));
}

/// A moment of this server's consensus, as far as metrics go. Indices are 0 where there is no entry yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raft {
    /// The leader's id, if one is known.
    pub leader: Option<u64>,
    /// This server's id.
    pub id: u64,
    /// It does not vote.
    pub learner: bool,
    /// Its term.
    pub term: u64,
    /// Last entry in its log.
    pub last_log_index: u64,
    /// Last entry in its state.
    pub applied_index: u64,
    /// Last entry in its newest snapshot.
    pub snapshot_index: u64,
    /// Age of the last answer of a majority; `None` unless it leads.
    pub quorum_ack_age: Option<Duration>,
    /// Entries that each peer is behind; empty unless it leads. A fleet has a handful of servers.
    pub peer_lag_entries: Vec<(u64, u64)>,
    /// Fsyncs of its log so far.
    pub log_syncs: u64,
    /// Bytes of entries in its log.
    pub log_bytes: u64,
}

/// Records a moment of consensus; `before` is the moment recorded last, by which a change of leader is seen.
pub fn raft(before: &Raft, now: &Raft) {
    gauge!(RAFT_HAS_LEADER).set(truth(now.leader.is_some()));
    gauge!(RAFT_IS_LEADER).set(truth(now.leader == Some(now.id)));
    gauge!(RAFT_IS_LEARNER).set(truth(now.learner));
    gauge!(RAFT_TERM).set(figure(now.term));
    gauge!(RAFT_LAST_LOG_INDEX).set(figure(now.last_log_index));
    gauge!(RAFT_APPLIED_INDEX).set(figure(now.applied_index));
    gauge!(RAFT_SNAPSHOT_INDEX).set(figure(now.snapshot_index));
    gauge!(RAFT_QUORUM_ACK_AGE).set(now.quorum_ack_age.unwrap_or_default().as_secs_f64());
    for (peer, _) in &before.peer_lag_entries {
        gauge!(RAFT_PEER_LAG, "peer" => peer.to_string()).set(0.0);
    }
    for (peer, entries) in &now.peer_lag_entries {
        gauge!(RAFT_PEER_LAG, "peer" => peer.to_string()).set(figure(*entries));
    }
    let changed = now.leader.is_some() && before.leader != now.leader;
    counter!(RAFT_LEADER_CHANGES).increment(u64::from(changed));
    counter!(STORAGE_SYNCS).absolute(now.log_syncs);
    gauge!(STORAGE_SIZE).set(figure(now.log_bytes));
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// Committed and done.
    Done,
    /// Committed and refused by the state.
    Refused,
    /// Not committed, or not known to be.
    Failed,
}

/// Records a command and how long its reply took.
pub fn proposal(result: Proposal, took: Duration) {
    let result = match result {
        Proposal::Done => "done",
        Proposal::Refused => "refused",
        Proposal::Failed => "failed",
    };
    counter!(RAFT_PROPOSALS, "result" => result).increment(1);
    histogram!(RAFT_PROPOSAL_DURATION).record(took.as_secs_f64());
}

/// A message to another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerCall {
    /// Entries, or a heartbeat.
    Append,
    /// A candidate's question.
    Vote,
    /// A piece of a snapshot.
    InstallSnapshot,
    /// Commands for the leader.
    Forward,
    /// A question before a read.
    ReadIndex,
    /// The word to stand for election.
    Campaign,
    /// The first words of a start.
    Greet,
    /// A relay wants a payload.
    RenderPayload,
    /// A relay wants a first certificate.
    IssueCertificate,
    /// A relay wants a next certificate.
    RenewCertificate,
    /// An operator wants to know how the group is doing.
    Progress,
    /// An operator wants another leader.
    HandOver,
    /// An operator reads what agents print.
    ReadLog,
}

/// Why a message to another server got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerFailure {
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// Larger than a message may be.
    TooLarge,
    /// The other end did not take it.
    Refused,
}

/// Records a message of `sent` bytes to server `peer`, and how long its answer took and how many bytes it had. A fleet has a
/// handful of servers, and their ids are its own.
pub fn peer_call(peer: u64, call: PeerCall, sent: usize, outcome: Result<(Duration, usize), PeerFailure>) {
    let peer = peer.to_string();
    let call = match call {
        PeerCall::Append => "append",
        PeerCall::Vote => "vote",
        PeerCall::InstallSnapshot => "install-snapshot",
        PeerCall::Forward => "forward",
        PeerCall::ReadIndex => "read-index",
        PeerCall::Campaign => "campaign",
        PeerCall::Greet => "greet",
        PeerCall::RenderPayload => "render-payload",
        PeerCall::IssueCertificate => "issue-certificate",
        PeerCall::RenewCertificate => "renew-certificate",
        PeerCall::Progress => "progress",
        PeerCall::HandOver => "hand-over",
        PeerCall::ReadLog => "read-log",
    };
    counter!(PEER_BYTES, "peer" => peer.clone(), "direction" => "sent").increment(sent as u64);
    let failure = match outcome {
        Ok((took, received)) => {
            counter!(PEER_BYTES, "peer" => peer.clone(), "direction" => "received").increment(received as u64);
            return histogram!(PEER_ROUND_TRIP, "peer" => peer, "call" => call).record(took.as_secs_f64());
        }
        Err(PeerFailure::Unreachable) => "unreachable",
        Err(PeerFailure::TimedOut) => "timed-out",
        Err(PeerFailure::TooLarge) => "too-large",
        Err(PeerFailure::Refused) => "refused",
    };
    counter!(PEER_FAILURES, "peer" => peer, "call" => call, "reason" => failure).increment(1);
}

/// How many agents of a role (`None`: not admitted anywhere) this server holds the stream of.
pub fn agents_connected(role: Option<Role>, count: usize) {
    gauge!(AGENTS_CONNECTED, "role" => role_word(role)).set(count_figure(count));
}

/// Why an identity was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationFailure {
    /// The TLS handshake failed; a certificate of another role than the listener serves is one reason.
    Handshake,
    /// A certificate that the state does not know any more, or of a node that was not let in.
    Unknown,
    /// The node is locked.
    Locked,
    /// An enrolment token, or one for a discovery file, that is wrong, spent, expired or revoked.
    Token,
    /// A proof of possession that does not verify.
    Proof,
}

/// Records when the web certificate for discovery over HTTPS runs out, milliseconds since 1970.
pub fn discovery_certificate_ends(not_after_ms: u64) {
    gauge!(CERTIFICATE_EXPIRY, "name" => "discovery").set(figure(not_after_ms / 1000));
}

/// Records a refused identity.
pub fn authentication_failed(reason: AuthenticationFailure) {
    let reason = match reason {
        AuthenticationFailure::Handshake => "handshake",
        AuthenticationFailure::Unknown => "unknown",
        AuthenticationFailure::Locked => "locked",
        AuthenticationFailure::Token => "token",
        AuthenticationFailure::Proof => "proof",
    };
    counter!(AUTHENTICATION_FAILURES, "reason" => reason).increment(1);
}

pub(super) fn role_word(role: Option<Role>) -> &'static str {
    match role {
        Some(Role::ControlPlane) => "control-plane",
        Some(Role::Worker) => "worker",
        None => "unassigned",
    }
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Exact up to 2^53, which no index or size of ours will see.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; see above")]
pub(super) fn figure(value: u64) -> f64 {
    value as f64
}

pub(super) fn count_figure(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}
