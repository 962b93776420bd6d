//! Commands about Muster's own servers, and a fleet that has some.

use std::collections::BTreeMap;

use muster_state::{
    Bytes, Command,
    command::{
        ApproveServer, HandDataKeys, IssueServerCertificate, PromoteServer, RemoveServer, RequestServer, StartEpoch,
    },
};

use super::{certificate, plain};
use crate::world::{self, World, digest};

/// Every verb about servers.
pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let remove = RemoveServer { server: 2, force: true, reason: "it burned".into() };
    let unasked = RequestServer { token: None, ..world::request_server(2, None) };
    vec![
        ("CreateServerToken", plain(world::server_token("s1"))),
        ("RequestServer", plain(world::request_server(2, Some("s1")))),
        ("RequestServer-again", plain(unasked)),
        ("ApproveServer", plain(ApproveServer { server: 2, fingerprint: digest(102) })),
        (
            "IssueServerCertificate",
            plain(IssueServerCertificate { server: 2, key: digest(102), certificate: certificate() }),
        ),
        ("PromoteServer", plain(PromoteServer { server: 2 })),
        ("RemoveServer", plain(remove)),
        ("RecordServer", plain(world::record_server(2))),
        ("HandDataKeys", plain(HandDataKeys { server: 2, keys: BTreeMap::from([(1, Bytes(vec![2, 8]))]) })),
        ("CompareState", plain(world::servers::compare(2, 512, 7))),
        ("StartEpoch", plain(StartEpoch { epoch: 2, keys: BTreeMap::from([(1, Bytes(vec![2, 9]))]) })),
    ]
}

/// Two voters and a learner, one that was removed, one that waits.
pub(super) fn join(world: &mut World) {
    world.done(world::record_server(1));
    world.voter(2);
    world.voter(3);
    world.learner(4);
    world.done(RemoveServer { server: 3, force: false, reason: String::new() });
    world.done(StartEpoch { epoch: 2, keys: BTreeMap::from([(1, Bytes(vec![2, 1])), (2, Bytes(vec![2, 2]))]) });
    world.done(world::server_token("s5"));
    world.done(world::request_server(5, Some("s5")));
    world.done(world::server_token("s6"));
    world.done(world::servers::compare(1, 256, 7));
    world.done(world::servers::compare(2, 256, 7));
    world.done(world::servers::compare(1, 512, 7));
}
