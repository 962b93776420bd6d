//! For `kubeadm init`: the whole PKI and `init.yaml`.

use std::time::Duration;

use muster_state::record::BootstrapTokenState;
use zeroize::Zeroizing;

use super::{File, Payload, Records, extra, key_algorithm, node_inputs, open_certificate_key, open_token, pki_files};
use crate::{
    kubeadm::{
        config::{DEFAULT_CERTIFICATES_DIR, InitInputs, InitToken, Networking, Rendered, Timeouts, render_init},
        group::{BootstrapGroup, Role},
        token_secret::Usages,
    },
    operations::Unsealed,
};

const CONFIG: &str = "init.yaml";
/// The leader uploads kubeadm-certs through its link, and only while somebody needs it. The second phase depends on the first: kubeadm
/// refuses to skip one without the other.
const LINKED_SKIPS: [&str; 2] = ["upload-certs", "show-join-command"];

pub(super) fn render(server: &Unsealed, records: &Records) -> anyhow::Result<Payload> {
    let (rendered, scrub) = config(server, records)?;
    let mut files = pki_files::render(server, records)?;
    let file = File::transient(CONFIG, rendered.file.expose());
    let config_path = file.path.clone();
    files.push(file);
    Ok(Payload { files, config_path, scrub, ..Payload::default() })
}

/// `init.yaml`, and what in it must never be shown. `kubeadm init phase upload-certs` reads the same file.
pub(super) fn config(server: &Unsealed, records: &Records) -> anyhow::Result<(Rendered, Vec<Zeroizing<String>>)> {
    let spec = &records.cluster.spec;
    let certificate_key = open_certificate_key(server, &records.cluster.id, &records.cluster)?;
    let mut scrub = vec![Zeroizing::new(certificate_key.expose().expose().to_owned())];
    let mut tokens = Vec::new();
    let first = records.cluster.first_token.as_ref().and_then(|id| records.tokens.iter().find(|token| token.id == *id));
    if let Some(record) = first.filter(|record| record.state == BootstrapTokenState::Minted) {
        let token = open_token(server, record)?;
        scrub.push(Zeroizing::new(token.expose_secret().to_owned()));
        tokens.push(InitToken {
            token,
            ttl: Duration::from_millis(record.ttl_ms),
            usages: Usages::BOTH,
            groups: vec![BootstrapGroup::of_muster(&spec.name, Role::Worker)?],
            description: Some("made by Muster with the cluster".into()),
        });
    }
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let inputs = InitInputs {
        version: records.version()?,
        cluster_name: spec.name.clone(),
        endpoint: records.endpoint()?,
        networking: Networking {
            pod_subnet: some(&spec.pod_subnet),
            service_subnet: some(&spec.service_subnet),
            dns_domain: some(&spec.dns_domain),
        },
        key_algorithm: key_algorithm(&spec.key_algorithm)?,
        certificates_dir: DEFAULT_CERTIFICATES_DIR.into(),
        node: node_inputs::of(records),
        local_api: node_inputs::local_api(records)?,
        tokens,
        certificate_key: Some(certificate_key),
        skip_phases: if spec.secrets_by_custodian() { Vec::new() } else { LINKED_SKIPS.map(str::to_owned).to_vec() },
        timeouts: Timeouts::default(),
        extra: extra(&records.cluster)?,
    };
    Ok((render_init(&inputs)?, scrub))
}
