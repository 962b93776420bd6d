//! The other tables and screens, to the letter.

use jiff::Timestamp;
use muster_proto::Timestamp as At;
use muster_proto::admin::v1::{
    CertificateExpiry, Cluster, ClusterSpec, Event, Permit, PhaseCount, Pool, Selector, Status, Token,
};

use super::*;
use crate::cli::console::testing::noon;
use crate::cli::exit::Exit;

fn at(seconds_ago: i64) -> Option<At> {
    Some(At { seconds: noon().as_second() - seconds_ago, nanos: 0 })
}

fn now() -> Timestamp {
    noon()
}

fn mk_cluster() -> Cluster {
    let pool = |name: &str, role: &str| Pool { name: name.into(), role: role.into(), ..Pool::default() };
    Cluster {
        id: "c1".into(),
        spec: Some(ClusterSpec {
            name: "prod".into(),
            kubernetes_version: "v1.36.2".into(),
            endpoint: "k8s.prod:6443".into(),
            admission: "bound".into(),
            pools: vec![
                Pool { count: 3, ..pool("cp", "control-plane") },
                Pool {
                    admission: "token".into(),
                    discovery: "token-unsafe".into(),
                    unsafe_skip_ca_verification: true,
                    ..pool("w", "worker")
                },
            ],
            ..ClusterSpec::default()
        }),
        revision: 4,
        origin: "created".into(),
        mode: "Detached".into(),
        ca_pins: vec!["sha256:aa".into()],
        created: at(7200),
        control_planes_ready: 2,
        control_planes_wanted: 3,
        workers_ready: 5,
        warnings: vec!["the CA expires soon".into()],
        ..Cluster::default()
    }
}

#[test]
fn clusters_show_how_many_are_ready_of_how_many() {
    assert_eq!(
        cluster_table(&[mk_cluster()], false, now()).render(false),
        "NAME   VERSION   ENDPOINT        CONTROL-PLANES   WORKERS   AGE\n\
         prod   v1.36.2   k8s.prod:6443   2/3              5         120m\n"
    );
}

#[test]
fn a_cluster_is_described_with_pins_warnings_and_pools() {
    assert_eq!(
        cluster_fields(&mk_cluster()).render(),
        "Name:             prod\n\
         Id:               c1\n\
         Origin:           created\n\
         Mode:             Detached\n\
         Kubernetes:       v1.36.2\n\
         Endpoint:         k8s.prod:6443\n\
         Admission:        bound\n\
         Revision:         4\n\
         Created:          2026-11-22T10:00:00Z\n\
         Initialised:      no\n\
         Control planes:   2/3 ready\n\
         Workers:          5 ready\n\
         CA pin:           sha256:aa\n\
         Warning:          the CA expires soon\n\
         Pools:\n\
         \u{20} CLUSTER   NAME   ROLE            COUNT    ADMISSION   NAMED-NODES   CERTIFICATES   DISCOVERY      MATCH\n\
         \u{20} prod      cp     control-plane   3        bound       0             secret         file           <none>\n\
         \u{20} prod      w      worker          <none>   token       0             secret         token-unsafe   <none>\n"
    );
}

#[test]
fn pools_inherit_admission_and_unsafe_discovery_is_red() {
    let items = PoolItem::of_clusters(&[mk_cluster()]);
    assert_eq!(items[1].name(), "pool/prod/w");
    assert!(pool_table(&items, false).render(true).contains("\u{1b}[31mw\u{1b}[0m"));
    assert!(pool_table(&items, true).render(true).contains("\u{1b}[31mtoken-unsafe\u{1b}[0m"));
    assert!(!pool_table(&items[..1], true).render(true).contains('\u{1b}'));
}

#[test]
fn tokens_show_time_left_and_never_a_secret() {
    let token = Token {
        id: "abcd1234".into(),
        cluster: "prod".into(),
        pool: "w".into(),
        node_name: "n1".into(),
        expires: at(-7200),
        uses_left: 1,
        uses: 1,
        state: "Live".into(),
        kind: "enrolment".into(),
        ..Token::default()
    };
    let spent = Token {
        id: "ffff0000".into(),
        expires: at(1),
        state: "Expired".into(),
        kind: "bootstrap".into(),
        ..Token::default()
    };
    assert_eq!(
        token_table(&[token, spent], false, now()).render(false),
        "ID         KIND        STATE     IN-CLUSTER   CLUSTER   POOL     NODE     USES     TTL\n\
         abcd1234   enrolment   Live      <none>       prod      w        n1       1/1      120m\n\
         ffff0000   bootstrap   Expired   <none>       <none>    <none>   <none>   <none>   expired\n"
    );
    let missing = Token { in_cluster: "missing".into(), state: "Present".into(), ..Token::default() };
    assert!(token_table(&[missing], false, now()).render(true).contains("\u{1b}[31mmissing\u{1b}[0m"));
}

#[test]
fn selectors_read_as_they_are_typed() {
    let selector = Selector {
        serial: "S1".into(),
        macs: vec!["52:54:00:12:34:ab".into()],
        labels: [("rack".to_owned(), "r1".to_owned())].into(),
        ..Selector::default()
    };
    assert_eq!(token::selector_text(&selector), "serial=S1,mac=52:54:00:12:34:ab,label.rack=r1");
}

#[test]
fn permits_show_who_holds_and_how_many_wait() {
    let held = Permit {
        cluster: "prod".into(),
        kind: "etcd-join".into(),
        holder: "7f3c".into(),
        holder_name: "cp2".into(),
        since: at(45),
        waiting: vec!["cp3".into()],
        grants: 1,
    };
    let free = Permit { cluster: "prod".into(), kind: "init".into(), grants: 1, ..Permit::default() };
    assert_eq!(
        permit_table(&[held, free], false, now()).render(false),
        "CLUSTER   KIND        HOLDER   HELD     WAITING   GRANTS\n\
         prod      etcd-join   cp2      45s      1         1\n\
         prod      init        <none>   <none>   0         1\n"
    );
}

#[test]
fn events_name_the_node_or_else_its_id() {
    let event = |name: &str| Event {
        sequence: 7,
        at: at(90),
        r#type: "Normal".into(),
        reason: "PermitGranted".into(),
        message: "cp2 may join etcd".into(),
        node_id: "7f3c".into(),
        node_name: name.into(),
        ..Event::default()
    };
    assert_eq!(
        event_table(&[event("cp2"), event("")], false, now()).render(false),
        "AGE   TYPE     REASON          NODE   MESSAGE\n\
         90s   Normal   PermitGranted   cp2    cp2 may join etcd\n\
         90s   Normal   PermitGranted   7f3c   cp2 may join etcd\n"
    );
}

fn mk_status() -> Status {
    Status {
        fleet: "f1".into(),
        version: "0.1.0".into(),
        server_id: 1,
        leader_id: 2,
        raft_term: 3,
        applied_index: 40,
        root_pin: "sha256:aa".into(),
        server_time: at(-30),
        nodes: vec![PhaseCount { role: "worker".into(), phase: "Ready".into(), count: 8 }],
        connected_agents: 8,
        tokens_live: 2,
        certificates: vec![CertificateExpiry { name: "root".into(), not_after: at(-86_400 * 30) }],
        enrolment_urls: vec!["https://192.0.2.1:9443".into()],
        ..Status::default()
    }
}

#[test]
fn the_status_is_one_screen() {
    assert_eq!(
        status_fields(&mk_status(), now()).render(),
        "Fleet:            f1\n\
         Server:           1, version 0.1.0\n\
         Sealed:           no\n\
         Leader:           server 2, term 3\n\
         Applied index:    40\n\
         Root pin:         sha256:aa\n\
         Enrolment:        https://192.0.2.1:9443\n\
         Clock:            30s ahead of this machine\n\
         Agents:           8 connected\n\
         Tokens:           2 live\n\
         Nodes:\n\
         \u{20} ROLE     PHASE   NODES\n\
         \u{20} worker   Ready   8\n\
         Certificates:\n\
         \u{20} CERTIFICATE   EXPIRES-IN\n\
         \u{20} root          30d\n"
    );
}

#[test]
fn the_exit_code_of_status_tells_seal_and_leader() {
    assert_eq!(status_exit(&mk_status()), Exit::Done);
    assert_eq!(status_exit(&Status { leader_id: 0, ..mk_status() }), Exit::Unreachable);
    assert_eq!(status_exit(&Status { sealed: true, leader_id: 0, ..mk_status() }), Exit::Sealed);
}
