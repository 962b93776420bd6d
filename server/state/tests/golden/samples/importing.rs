//! What brings a cluster in that exists already.

use muster_state::{
    Command, Reply, SecretName,
    command::{CreateCluster, ResealSecrets, SetCredentials},
    record::Credentials,
};

use super::{plain, rotating};
use crate::world;

/// Every verb with credentials in it.
pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let brought = CreateCluster { workers_only: "no keys".into(), ..world::brought("c3") };
    let bearer = Credentials { user: String::new(), not_after_ms: None, ..world::credentials(2) };
    let resealed = rotating::resealed(SecretName::Credentials("c3".into()));
    vec![
        ("CreateCluster-brought", plain(brought)),
        ("SetCredentials", plain(SetCredentials { cluster: "c3".into(), credentials: world::credentials(2) })),
        ("SetCredentials-token", plain(SetCredentials { cluster: "c3".into(), credentials: bearer })),
        ("ResealSecrets-credentials", plain(ResealSecrets { secrets: vec![resealed] })),
    ]
}

/// Their replies.
pub(super) fn replies() -> Vec<(&'static str, Reply)> {
    vec![("SetCredentials", Reply::SetCredentials(()))]
}
