//! Keys and certificates that take the place of others: no secret is lost on the way, and no change overwritten.

use std::collections::BTreeMap;

use muster_state::{
    Bytes, Digest, Sealed, SecretName, State,
    command::{
        EndEpoch, MintBootstrapToken, RenewOperator, ReplaceCertificateKey, ReplaceDataKeyCopies, ResealSecrets,
        Resealed, StartEpoch,
    },
    limits,
    record::{Purpose, Role, SealedSecret},
};
use sha2::{Digest as _, Sha256};

use crate::world::{self, DAY_MS, World, digest};

/// A fleet with a cluster and some machines, whose second data key has just begun.
fn mk_world() -> World {
    let mut world = World::busy();
    world.done(world::brought("c7"));
    world.done(world::record_server(1));
    world.done(StartEpoch { epoch: 2, keys: BTreeMap::from([(1, Bytes(vec![2, 1]))]) });
    world
}

fn resealed(name: &SecretName, secret: &SealedSecret, epoch: u32) -> Resealed {
    let sealed = Sealed { epoch, format: 1, bytes: Bytes([secret.sealed.bytes.0.as_slice(), b"+"].concat()) };
    let seen = Digest(Sha256::digest(&secret.sealed.bytes.0).into());
    Resealed { name: name.clone(), seen, secret: SealedSecret { revision: secret.revision, sealed } }
}

fn all_resealed(state: &State, epoch: u32) -> Vec<Resealed> {
    let old = state.secrets().filter(|(_, secret)| secret.sealed.epoch != epoch);
    old.map(|(name, secret)| resealed(&name, secret, epoch)).collect()
}

#[test]
fn an_epoch_ends_when_nothing_is_sealed_with_it_any_more() {
    let mut world = mk_world();
    let refused = world.apply(EndEpoch { epoch: 1 }).unwrap_err();
    assert!(refused.to_string().contains("secrets are still sealed with data key 1"), "{refused}");
    let secrets = all_resealed(&world.state, 2);
    let count = secrets.len();
    assert!(count > 3);
    assert_eq!(world.done(ResealSecrets { secrets }) as usize, count);
    world.done(EndEpoch { epoch: 1 });
    assert_eq!(world.state.fleet.as_ref().unwrap().epochs.keys().copied().collect::<Vec<_>>(), [2]);
    world.done(EndEpoch { epoch: 1 });
    assert_eq!(world.apply(EndEpoch { epoch: 2 }).unwrap_err().word(), "Epoch", "the one in use");
}

#[test]
fn what_changed_since_it_was_opened_stays_as_it_is() {
    let mut world = mk_world();
    let secrets = all_resealed(&world.state, 2);
    let newer = SealedSecret { revision: 2, ..world::secret(77) };
    world.done(ReplaceCertificateKey { cluster: "c1".into(), certificate_key: newer.clone() });
    let count = secrets.len();
    assert_eq!(world.done(ResealSecrets { secrets: secrets.clone() }) as usize, count - 1);
    assert_eq!(world.state.clusters[&"c1".into()].certificate_key, newer);
    // The same command once more, as after a lost answer, finds nothing of what it saw.
    assert_eq!(world.done(ResealSecrets { secrets }), 0);
    // The same revision, another ciphertext.
    let same_revision = SealedSecret { revision: 2, ..world::secret(78) };
    let late = all_resealed(&world.state, 2);
    world.done(ReplaceCertificateKey { cluster: "c1".into(), certificate_key: same_revision.clone() });
    assert_eq!(world.done(ResealSecrets { secrets: late }), 0);
    assert_eq!(world.state.clusters[&"c1".into()].certificate_key, same_revision);
}

#[test]
fn a_secret_that_is_gone_does_not_come_back() {
    let mut world = mk_world();
    let gone = SecretName::BootstrapToken("c1".into(), "nobody".into());
    let secrets = vec![resealed(&gone, &world::secret(1), 2)];
    assert_eq!(world.done(ResealSecrets { secrets }), 0);
}

#[test]
fn only_the_present_data_key_seals_anew_and_in_small_commands() {
    let mut world = mk_world();
    let secrets = all_resealed(&world.state, 3);
    assert_eq!(world.apply(ResealSecrets { secrets }).unwrap_err().word(), "Epoch");
    let one = all_resealed(&world.state, 2).remove(0);
    let many = vec![one; limits::RESEALED_MAX + 1];
    assert_eq!(world.apply(ResealSecrets { secrets: many }).unwrap_err().word(), "QueueFull");
    let refused = State::default().apply_verb(1, ResealSecrets { secrets: Vec::new() });
    assert_eq!(refused.unwrap_err().word(), "Fleet");
}

#[test]
fn nothing_is_taken_that_was_sealed_with_a_key_that_has_ended() {
    let mut world = mk_world();
    let secrets = all_resealed(&world.state, 2);
    world.done(ResealSecrets { secrets });
    world.done(EndEpoch { epoch: 1 });
    let mint = |secret| MintBootstrapToken {
        id: "late01".into(),
        cluster: "c1".into(),
        purpose: Purpose::JoinCommand(Role::Worker),
        secret,
        ttl_ms: DAY_MS,
    };
    assert_eq!(world.apply(mint(world::secret(1))).unwrap_err().word(), "Epoch");
    assert_eq!(world.apply(world::create("c2")).unwrap_err().word(), "Epoch");
    let late = ReplaceCertificateKey { cluster: "c1".into(), certificate_key: world::secret(1) };
    assert_eq!(world.apply(late).unwrap_err().word(), "Epoch");
    let sealed = Sealed { epoch: 2, ..world::secret(1).sealed };
    world.done(mint(SealedSecret { revision: 1, sealed }));
}

#[test]
fn a_server_replaces_all_its_own_copies_of_the_data_keys_or_none() {
    let mut world = mk_world();
    let copies = |epochs: &[u32]| epochs.iter().map(|epoch| (*epoch, Bytes(vec![2, 5]))).collect::<BTreeMap<_, _>>();
    let replace = |server, epochs: &[u32]| ReplaceDataKeyCopies { server, keys: copies(epochs) };
    assert_eq!(world.apply(replace(1, &[1])).unwrap_err().word(), "Epoch", "one is missing");
    assert_eq!(world.apply(replace(1, &[1, 2, 3])).unwrap_err().word(), "Epoch", "one too many");
    assert_eq!(world.apply(replace(2, &[1, 2])).unwrap_err().word(), "Epoch", "a server that has none");
    world.done(replace(1, &[1, 2]));
    let fleet = world.state.fleet.as_ref().unwrap();
    assert!(fleet.epochs.values().all(|epoch| epoch[&1] == Bytes(vec![2, 5])));
}

#[test]
fn an_operator_goes_on_with_another_certificate_and_it_is_told() {
    let mut world = World::new();
    let renew = |name: &str| RenewOperator { name: name.into(), key: digest(4) };
    world.done(renew("ann"));
    let told = world.state.events.back().unwrap();
    assert!(told.reason == "OperatorRenewed" && told.message.contains("operator ann"));
    for bad in ["", "Ann", "a b", "a/b", "ann.", &"a".repeat(64)] {
        assert_eq!(world.apply(renew(bad)).unwrap_err().word(), "Invalid", "{bad:?}");
    }
}
