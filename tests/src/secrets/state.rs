//! Everything that a server's state holds sealed, opened.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use muster_server::consensus::{Consensus, Options};
use muster_server::operations::keyring;
use muster_server::operations::vault::Secret;
use muster_server::pki::kubeconfig::{Kubeconfig, Login};
use muster_server::seal::{KeySource, OwnKeys, Sealer, Surroundings};
use muster_state::State;
use muster_state::record::{BootstrapToken, Cluster};
use muster_trust::sealing::SealingPrivateKey;

use super::Inventory;

/// A log of a scenario is replayed within milliseconds.
const READY_WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn add(inventory: &mut Inventory, data_dir: &Path, seal_key: &Path, id: u64) -> Result<()> {
    let state = state_of(data_dir, id).await?;
    let Some(fleet) = &state.fleet else { return Ok(()) };
    let text = fs::read_to_string(seal_key).with_context(|| seal_key.display().to_string())?;
    inventory.add("seal key", &hex::decode(text.trim()).context("the seal key is not hexadecimal")?);
    let mut surroundings = Surroundings { environment: &|_| None, input: &mut std::io::empty() };
    let key = KeySource::File(seal_key.to_owned()).load(&mut surroundings)?;
    let own = OwnKeys { seal: key, before: None, sealing: SealingPrivateKey::generate()? };
    let keys = keyring::open(fleet, &own, id)?.context("the server has no data keys")?;
    let sealer = &keys.sealer;
    for (role, secret) in &fleet.keys {
        let key = Secret::FleetKey(role).open(sealer, secret)?;
        inventory.add_private_key(&format!("fleet key {role}"), &key)?;
    }
    for cluster in state.clusters.values() {
        add_cluster(inventory, sealer, cluster)?;
    }
    for token in state.bootstrap_tokens.values() {
        add_bootstrap_token(inventory, sealer, token)?;
    }
    Ok(())
}

fn add_cluster(inventory: &mut Inventory, sealer: &Sealer, cluster: &Cluster) -> Result<()> {
    let name = &cluster.spec.name;
    for (file, secret) in &cluster.keys {
        let key = Secret::ClusterKey(&cluster.id, file).open(sealer, secret)?;
        inventory.add_private_key(&format!("{name} {file}"), &key)?;
    }
    if let Some(given) = &cluster.credentials {
        let text = Secret::Credentials(&cluster.id).open_text(sealer, &given.secret)?;
        match Kubeconfig::parse(&text).context("no kubeconfig")?.login {
            Login::Certificate { key, .. } => {
                inventory.add_private_key(&format!("{name} kubeconfig's key"), key.expose().as_bytes())?;
            }
            Login::Token(token) => inventory.add_text(&format!("{name} kubeconfig's token"), token.expose()),
        }
    }
    // As text it is the hexadecimal form of these bytes.
    let key = Secret::CertificateKey(&cluster.id).open_text(sealer, &cluster.certificate_key)?;
    inventory.add(&format!("{name} certificate key"), &hex::decode(key.as_str()).context("no certificate key")?);
    Ok(())
}

fn add_bootstrap_token(inventory: &mut Inventory, sealer: &Sealer, token: &BootstrapToken) -> Result<()> {
    let secret = Secret::BootstrapToken(&token.cluster, &token.id).open_text(sealer, &token.secret)?;
    inventory.add_text(&format!("bootstrap token {}", token.id), &secret);
    Ok(())
}

/// The state of a stopped server with this id. Opening takes a lock and may write, so it is done with a copy.
///
/// # Errors
/// If the data can't be read.
pub async fn state_of(data_dir: &Path, id: u64) -> Result<State> {
    let copy = tempfile::tempdir()?;
    let copied = copy.path().join("data");
    copy_tree(data_dir, &copied)?;
    let consensus = Consensus::<State>::open(Options::new(&copied, id)).await?;
    consensus.wait_ready(READY_WITHIN).await.context("the log did not become ready")?;
    let state = consensus.read(State::clone);
    consensus.shutdown().await;
    Ok(state)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let (source, target) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(source, target)?;
        }
    }
    Ok(())
}
