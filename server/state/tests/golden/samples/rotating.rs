//! Commands that put one key or certificate in the place of another.

use std::collections::BTreeMap;

use muster_state::{
    Bytes, Command, Sealed, SecretName,
    command::{EndEpoch, RenewOperator, ReplaceDataKeyCopies, ResealSecrets, Resealed},
    record::SealedSecret,
};

use super::plain;
use crate::world::digest;

pub(super) fn resealed(name: SecretName) -> Resealed {
    let sealed = Sealed { epoch: 2, format: 1, bytes: Bytes(vec![9; 4]) };
    Resealed { name, seen: digest(5), secret: SealedSecret { revision: 1, sealed } }
}

/// Every verb that rotates.
pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let names = [
        SecretName::FleetKey("root".into()),
        SecretName::ClusterKey("c1".into(), "etcd/ca.key".into()),
        SecretName::CertificateKey("c1".into()),
        SecretName::BootstrapToken("c1".into(), "b1".into()),
    ];
    vec![
        ("ResealSecrets", plain(ResealSecrets { secrets: names.into_iter().map(resealed).collect() })),
        ("EndEpoch", plain(EndEpoch { epoch: 1 })),
        (
            "ReplaceDataKeyCopies",
            plain(ReplaceDataKeyCopies { server: 1, keys: BTreeMap::from([(1, Bytes(vec![2, 8]))]) }),
        ),
        ("RenewOperator", plain(RenewOperator { name: "ann".into(), key: digest(4) })),
    ]
}
