//! One of everything that is stored.

mod importing;
pub(super) mod linking;
mod rotating;
mod servers;

use std::collections::BTreeMap;

use muster_state::{
    Bytes, Command, Phase, Refusal, Reply, Request, Stamp, State,
    command::{
        AcceptTime, ApproveNode, ChooseFirst, CompleteErrand, ConfirmIdentity, DenyNode, Enrolled, ErrandOutcome,
        FreePermit, GrantPermit, Instruct, IssueCertificate, JudgePreflight, LockNode, MintBootstrapToken, OpenErrand,
        RecordDetached, RecordHello, RecordTokenMisuse, Release, ReleaseBackup, ReleaseJoinCommand, RemoveNode,
        RenewEnrolmentToken, RenewIdentity, ReplaceCertificateKey, Report, RetryNode, RevokeToken, ServerRequested,
        StepOutcome, Sweep, UnlockNode, UpdateCluster,
    },
    facts::{Finding, Preflight, Selector},
    record::{
        Attachment, Certificate, ErrandKind, EtcdMember, Observation, Origin, PermitKind, Purpose, Role, Verb as Step,
    },
};

use crate::world::{self, DAY_MS, START_MS, World, digest, friendly, name, secret};

fn plain(verb: impl Into<muster_state::Verb>) -> Command {
    Command { request: None, verb: verb.into() }
}

fn certificate() -> Certificate {
    Certificate { chain: vec![Bytes(vec![1, 2, 3]), Bytes(vec![4])], not_after_ms: START_MS + DAY_MS }
}

fn report(outcome: StepOutcome) -> Command {
    let step = "etcd-join".into();
    plain(Report { node: "n1".into(), attempt: 2, step, outcome, elapsed_ms: 1_500 })
}

fn observation() -> Observation {
    Observation {
        found: true,
        ready: false,
        message: "KubeletNotReady: no network plugin".into(),
        kubelet_version: "v1.36.2".into(),
        uid: "uid-1".into(),
    }
}

fn members() -> Vec<EtcdMember> {
    let peer_urls = vec!["https://10.0.0.1:2380".into()];
    vec![EtcdMember { id: "8e9e05c52164694d".into(), name: "cp1".into(), peer_urls, learner: true }]
}

/// Every verb, and every shape of those that have several.
pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let mut all = clusters_and_tokens();
    all.extend(machines());
    all.extend(planning());
    all.extend(reports());
    all.extend(servers::commands());
    all.extend(rotating::commands());
    all.extend(linking::commands().into_iter().chain(importing::commands()));
    all
}

fn clusters_and_tokens() -> Vec<(&'static str, Command)> {
    let request = Request { caller: "spiffe://fleet/operator/anna".into(), id: "r-1".into(), digest: digest(1) };
    let imported =
        muster_state::command::CreateCluster { origin: Origin::Imported, first_token: None, ..world::create("c2") };
    let selector = Selector { labels: BTreeMap::from([("rack".into(), "7".into())]), ..Selector::default() };
    let bound =
        muster_state::command::CreateEnrolmentToken { selector, ..world::token("t2", "c1", "control", Some("cp1"), 1) };
    vec![
        ("FoundFleet", plain(world::found())),
        ("CreateCluster", Command { request: Some(request), verb: world::create("c1").into() }),
        ("CreateCluster-imported", plain(imported)),
        ("UpdateCluster", plain(UpdateCluster { id: "c1".into(), revision: 3, spec: world::spec("c1") })),
        ("ChooseFirst", plain(ChooseFirst { cluster: "c1".into(), name: Some(name("cp1")) })),
        ("CreateEnrolmentToken", plain(world::token("t1", "c1", "workers", None, 20))),
        ("CreateEnrolmentToken-bound", plain(bound)),
        ("RevokeToken", plain(RevokeToken { id: "t1".into() })),
        ("RenewEnrolmentToken", plain(RenewEnrolmentToken { id: "t1".into(), ttl_ms: DAY_MS })),
        (
            "RecordTokenMisuse",
            plain(RecordTokenMisuse {
                token: "t1".into(),
                sha256: digest(1),
                key: digest(2),
                from: "192.0.2.1".into(),
            }),
        ),
        ("Sweep", plain(Sweep {})),
        ("AcceptTime", plain(AcceptTime {})),
    ]
}

fn machines() -> Vec<(&'static str, Command)> {
    let (node, key) = (|| "n1".into(), digest(1));
    let mut enrol = world::enrol(1, Some(("t1".into(), digest(3))));
    enrol.facts.labels.insert("rack".into(), "7".into());
    enrol.facts.dropped.push(("serial".into(), "To Be Filled By O.E.M.".into()));
    let approve = ApproveNode {
        node: node(),
        key,
        facts_revision: 2,
        cluster: Some("c1".into()),
        pool: Some("workers".into()),
        name: Some(name("w1")),
        replace: true,
    };
    let plain_approve = ApproveNode { cluster: None, pool: None, name: None, replace: false, ..approve.clone() };
    let renew = RenewIdentity { node: node(), key, generation: 1, new_key: digest(2), csr: Bytes(vec![9]) };
    vec![
        ("Enrol", plain(enrol)),
        ("Enrol-without-token", plain(world::enrol(2, None))),
        ("IssueCertificate", plain(IssueCertificate { node: node(), key, certificate: certificate() })),
        ("ConfirmIdentity", plain(ConfirmIdentity { node: node(), key })),
        ("RenewIdentity", plain(renew)),
        ("ApproveNode", plain(approve)),
        ("ApproveNode-as-suggested", plain(plain_approve)),
        ("DenyNode", plain(DenyNode { node: node(), reason: "not ours".into() })),
        ("RetryNode", plain(RetryNode { node: node(), automatic: true })),
        ("RemoveNode", plain(RemoveNode { node: node(), reason: "scrapped".into() })),
        ("LockNode", plain(LockNode { node: node(), reason: "looked at".into() })),
        ("UnlockNode", plain(UnlockNode { node: node() })),
        ("RecordHello", plain(hello())),
        ("RecordHello-by-a-stream", plain(RecordHello { stream: Some(stream()), ..hello() })),
        ("RecordHello-that-confirms", plain(RecordHello { key: Some(key), ..hello() })),
        ("RecordDetached", plain(RecordDetached { node: node(), stream: stream() })),
        ("JudgePreflight", plain(JudgePreflight { node: node(), revision: 2, problem: "kubelet too new".into() })),
    ]
}

fn stream() -> Attachment {
    Attachment { server: 2, start: 3, stream: 4 }
}

fn hello() -> RecordHello {
    let preflight = Preflight {
        kubeadm_version: "v1.36.2".into(),
        clock_offset_ms: -12,
        swap_on: true,
        ports_in_use: vec![6443],
        leftovers: vec!["/var/lib/etcd/member".into()],
        findings: vec![Finding { check: "Swap".into(), message: "swapoff -a".into(), fatal: true }],
        ..Preflight::default()
    };
    RecordHello { preflight, ..world::hello(&"n1".into(), world::facts(1)) }
}

fn planning() -> Vec<(&'static str, Command)> {
    let (node, cluster) = (|| "n1".into(), || "c1".into());
    let errand = |kind| plain(OpenErrand { cluster: cluster(), kind, custodian: node() });
    let every_step = vec![
        Step::Reset,
        Step::Init,
        Step::Custodian,
        Step::JoinPrepare,
        Step::JoinEtcd,
        Step::JoinFinish,
        Step::JoinWhole,
        Step::JoinWorker,
        Step::WaitReady,
    ];
    let mint = |purpose| MintBootstrapToken {
        id: "b1".into(),
        cluster: cluster(),
        purpose,
        secret: secret(1),
        ttl_ms: 900_000,
    };
    let release = Release {
        node: node(),
        attempt: 2,
        step: "init".into(),
        key: digest(1),
        caller: "spiffe://fleet/server/1".into(),
    };
    let join_line =
        ReleaseJoinCommand { token: "b1".into(), role: Role::Worker, caller: "spiffe://fleet/operator/ann".into() };
    let backup = ReleaseBackup {
        key: digest(4),
        caller: "spiffe://fleet/operator/ann".into(),
        server: "spiffe://fleet/server/1".into(),
    };
    let free =
        FreePermit { cluster: cluster(), kind: PermitKind::EtcdJoin, holder: node(), reason: "it burned".into() };
    vec![
        ("Instruct", plain(Instruct { node: node(), steps: every_step, token: Some("b1".into()) })),
        ("GrantPermit-init", plain(GrantPermit { cluster: cluster(), kind: PermitKind::Init, node: node() })),
        ("GrantPermit-etcd-join", plain(GrantPermit { cluster: cluster(), kind: PermitKind::EtcdJoin, node: node() })),
        ("FreePermit", plain(free)),
        ("ReleaseJoinCommand", plain(join_line)),
        ("ReleaseBackup", plain(backup)),
        ("MintBootstrapToken-node", plain(mint(Purpose::Node(node())))),
        ("MintBootstrapToken-join-command", plain(mint(Purpose::JoinCommand(Role::ControlPlane)))),
        ("OpenErrand-apply", errand(ErrandKind::ApplyTokens(vec!["b1".into()]))),
        ("OpenErrand-delete", errand(ErrandKind::DeleteTokens(vec!["b1".into(), "b2".into()]))),
        ("OpenErrand-upload", errand(ErrandKind::UploadCertificates)),
        ("OpenErrand-list", errand(ErrandKind::ListEtcdMembers(node()))),
        ("Release", plain(release)),
        ("ReplaceCertificateKey", plain(ReplaceCertificateKey { cluster: cluster(), certificate_key: secret(2) })),
    ]
}

fn reports() -> Vec<(&'static str, Command)> {
    let complete = |outcome| plain(CompleteErrand { number: 7, node: "n1".into(), outcome });
    let (cause, message) = ("LearnerNotInSync".into(), "etcd: not in sync".into());
    let running = StepOutcome::Running { phase: "etcd-join".into(), observation: Some(observation()) };
    let succeeded = StepOutcome::Succeeded { members: Some(members()), observation: None };
    vec![
        ("Report-running", report(running)),
        ("Report-succeeded", report(succeeded)),
        ("Report-failed", report(StepOutcome::Failed { cause, message, clean: false })),
        ("CompleteErrand-done", complete(ErrandOutcome::Done(None))),
        ("CompleteErrand-members", complete(ErrandOutcome::Done(Some(members())))),
        ("CompleteErrand-failed", complete(ErrandOutcome::Failed("connection refused".into()))),
    ]
}

/// Every reply.
pub(super) fn replies() -> Vec<(&'static str, Reply)> {
    let enrolled =
        |certificate| Enrolled { node: "n1".into(), admitted: true, certificate, message: "admitted".into() };
    let requested = |certificate| ServerRequested { server: 2, admitted: true, certificate };
    let mut all = vec![
        ("FoundFleet", Reply::FoundFleet(())),
        ("CreateCluster", Reply::CreateCluster("c1".into())),
        ("UpdateCluster", Reply::UpdateCluster(4)),
        ("CreateEnrolmentToken", Reply::CreateEnrolmentToken(())),
        ("RevokeToken", Reply::RevokeToken(())),
        ("RenewEnrolmentToken", Reply::RenewEnrolmentToken(START_MS)),
        ("Enrol", Reply::Enrol(enrolled(Some(certificate())))),
        ("Enrol-without-certificate", Reply::Enrol(enrolled(None))),
        ("IssueCertificate", Reply::IssueCertificate(certificate())),
        ("ConfirmIdentity", Reply::ConfirmIdentity("n1".into())),
        ("RenewIdentity", Reply::RenewIdentity(2)),
        ("ApproveNode", Reply::ApproveNode(())),
        ("DenyNode", Reply::DenyNode(())),
        ("RetryNode", Reply::RetryNode(())),
        ("RemoveNode", Reply::RemoveNode(())),
        ("LockNode", Reply::LockNode(())),
        ("UnlockNode", Reply::UnlockNode(())),
        ("RecordHello", Reply::RecordHello(())),
        ("RecordDetached", Reply::RecordDetached(())),
        ("JudgePreflight", Reply::JudgePreflight(())),
        ("Instruct", Reply::Instruct(3)),
        ("GrantPermit", Reply::GrantPermit(())),
        ("MintBootstrapToken", Reply::MintBootstrapToken(())),
        ("OpenErrand", Reply::OpenErrand(12)),
        ("Release", Reply::Release(())),
        ("ReleaseJoinCommand", Reply::ReleaseJoinCommand(())),
        ("ReleaseBackup", Reply::ReleaseBackup(())),
        ("Report", Reply::Report(())),
        ("CompleteErrand", Reply::CompleteErrand(())),
        ("ReplaceCertificateKey", Reply::ReplaceCertificateKey(())),
        ("FreePermit", Reply::FreePermit(())),
        ("ChooseFirst", Reply::ChooseFirst(())),
        ("RecordTokenMisuse", Reply::RecordTokenMisuse(())),
        ("AcceptTime", Reply::AcceptTime(())),
        ("Sweep", Reply::Sweep(())),
        ("CreateServerToken", Reply::CreateServerToken(())),
        ("RequestServer", Reply::RequestServer(requested(Some(certificate())))),
        ("RequestServer-without-certificate", Reply::RequestServer(requested(None))),
        ("ApproveServer", Reply::ApproveServer(())),
        ("IssueServerCertificate", Reply::IssueServerCertificate(certificate())),
        ("PromoteServer", Reply::PromoteServer(())),
        ("RemoveServer", Reply::RemoveServer(())),
        ("RecordServer", Reply::RecordServer(())),
        ("HandDataKeys", Reply::HandDataKeys(())),
        ("StartEpoch", Reply::StartEpoch(())),
        ("CompareState", Reply::CompareState(())),
        ("ResealSecrets", Reply::ResealSecrets(7)),
        ("EndEpoch", Reply::EndEpoch(())),
        ("ReplaceDataKeyCopies", Reply::ReplaceDataKeyCopies(())),
        ("RenewOperator", Reply::RenewOperator(())),
    ];
    all.extend(linking::replies().into_iter().chain(importing::replies()));
    all
}

/// How many refusals there are: as many as arms of [`variant`].
pub(super) const REFUSALS: usize = 32;

/// Its name as it is stored; a new refusal does not compile before it has a line here.
pub(super) fn variant(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotFound { .. } => "NotFound",
        Refusal::Exists { .. } => "Exists",
        Refusal::Changed { .. } => "Changed",
        Refusal::Invalid { .. } => "Invalid",
        Refusal::Full { .. } => "Full",
        Refusal::TokenUnknown => "TokenUnknown",
        Refusal::TokenSpent(_) => "TokenSpent",
        Refusal::TokenExpired(_) => "TokenExpired",
        Refusal::TokenRevoked(_) => "TokenRevoked",
        Refusal::TokenMismatch { .. } => "TokenMismatch",
        Refusal::AlreadyEnrolled => "AlreadyEnrolled",
        Refusal::Denied(_) => "Denied",
        Refusal::Locked(_) => "Locked",
        Refusal::DuplicateHardware { .. } => "DuplicateHardware",
        Refusal::NameTaken { .. } => "NameTaken",
        Refusal::SeenDiffers { .. } => "SeenDiffers",
        Refusal::WrongPhase { .. } => "WrongPhase",
        Refusal::PermitHeld { .. } => "PermitHeld",
        Refusal::NoEvidence { .. } => "NoEvidence",
        Refusal::RequestReused(_) => "RequestReused",
        Refusal::Fleet(_) => "Fleet",
        Refusal::WrongGeneration { .. } => "WrongGeneration",
        Refusal::ServerTokenUnknown => "ServerTokenUnknown",
        Refusal::ServerTokenSpent(_) => "ServerTokenSpent",
        Refusal::ServerTokenExpired(_) => "ServerTokenExpired",
        Refusal::ServerRemoved(_) => "ServerRemoved",
        Refusal::ServerStanding { .. } => "ServerStanding",
        Refusal::FingerprintDiffers { .. } => "FingerprintDiffers",
        Refusal::ServerWentBack { .. } => "ServerWentBack",
        Refusal::Epoch(_) => "Epoch",
        Refusal::Etcd(_) => "Etcd",
        Refusal::ClockJumped => "ClockJumped",
    }
}

/// Every refusal.
pub(super) fn refusals() -> Vec<Refusal> {
    let problem = || "it does not fit".to_owned();
    vec![
        Refusal::not_found("node", "n1"),
        Refusal::Exists { kind: "cluster".into(), name: "c1".into() },
        Refusal::Changed { kind: "cluster".into(), name: "c1".into(), now: 3 },
        Refusal::invalid("spec.pools", problem()),
        Refusal::Full { what: "clusters".into(), limit: 1_000 },
        Refusal::TokenUnknown,
        Refusal::TokenSpent("t1".into()),
        Refusal::TokenExpired("t1".into()),
        Refusal::TokenRevoked("t1".into()),
        Refusal::TokenMismatch { token: "t1".into(), problem: problem() },
        Refusal::AlreadyEnrolled,
        Refusal::Denied("not ours".into()),
        Refusal::Locked("copied".into()),
        Refusal::DuplicateHardware { what: "UUID".into(), other: "w1".into() },
        Refusal::NameTaken { name: name("w1"), holder: "n1".into() },
        Refusal::SeenDiffers { what: "the key fingerprint".into() },
        Refusal::WrongPhase { phase: Phase::WaitingForEtcdPermit, problem: problem() },
        Refusal::PermitHeld { kind: "init".into(), holder: "n1".into() },
        Refusal::NoEvidence { kind: "init".into(), problem: problem() },
        Refusal::RequestReused("r1".into()),
        Refusal::Fleet("the fleet is founded already".into()),
        Refusal::WrongGeneration { given: 1, current: 2 },
        Refusal::ServerTokenUnknown,
        Refusal::ServerTokenSpent("s1".into()),
        Refusal::ServerTokenExpired("s1".into()),
        Refusal::ServerRemoved(2),
        Refusal::not_approved(2),
        Refusal::FingerprintDiffers { server: 2 },
        Refusal::ServerWentBack { server: 2, given: 3, current: 5 },
        Refusal::Epoch("epoch 2 is in use, so 2 is not the next".into()),
        Refusal::Etcd(problem()),
        Refusal::ClockJumped,
    ]
}

/// A state with something in every record.
pub(crate) fn rich() -> State {
    let mut world = World::busy();
    world.settle();
    let token = world.token("t-late", "workers", None, 3);
    let late = world.enrol(7, Some(token)).expect("admitted").node;
    world.advance_to(&late, Step::JoinWorker);
    let outcome = StepOutcome::Running { phase: "kubelet-start".into(), observation: Some(observation()) };
    world.report(&late, outcome);
    let failing = world.worker(8);
    world.advance_to(&failing, Step::JoinWorker);
    world.report(&failing, friendly::failure("TokenExpired", true));
    let renews = RenewIdentity {
        node: "01node".into(),
        key: digest(1),
        generation: 1,
        new_key: digest(201),
        csr: Bytes(vec![7]),
    };
    world.done(renews.clone());
    world.done(ConfirmIdentity { node: "01node".into(), key: digest(201) });
    world.done(RenewIdentity { key: digest(201), generation: 2, new_key: digest(202), ..renews });
    world.done(LockNode { node: "05node".into(), reason: "looked at".into() });
    let twin = muster_state::command::Enrol { facts: world::facts(1), ..world::enrol(9, None) };
    world.done(twin);
    let denied = world.pending(10);
    world.done(DenyNode { node: denied, reason: "not ours".into() });
    world.done(RevokeToken { id: "t-late".into() });
    world.done(world::create("c2"));
    world.done(ChooseFirst { cluster: "c2".into(), name: Some(name("cp9")) });
    let kind = ErrandKind::UploadCertificates;
    world.done(OpenErrand { cluster: "c1".into(), kind, custodian: "02node".into() });
    servers::join(&mut world);
    let request = Request { caller: "spiffe://fleet/operator/anna".into(), id: "r-1".into(), digest: digest(1) };
    let command = Command { request: Some(request), verb: Sweep {}.into() };
    world.state.apply(Stamp { now_ms: world.now_ms }, command).reply.expect("swept");
    world.state
}
