//! For `kubeadm join`: `join.yaml`, the discovery file, and for control planes that get them directly, the PKI.

use anyhow::anyhow;
use muster_state::record::Role;
use zeroize::Zeroizing;

use super::{File, Payload, Records, extra, node_inputs, open_certificate_key, open_token, pki_files};
use crate::{
    kubeadm::{
        config::{DEFAULT_CERTIFICATES_DIR, Discovery, JoinControlPlane, JoinInputs, Timeouts, render_join},
        discovery,
        pin::pins_of_pem,
    },
    operations::Unsealed,
};

const CONFIG: &str = "join.yaml";
const DISCOVERY: &str = "discovery.conf";

pub(super) fn render(server: &Unsealed, records: &Records) -> anyhow::Result<Payload> {
    let cluster = &records.cluster;
    let pool =
        cluster.spec.pool(&records.place.pool).ok_or_else(|| anyhow!("pool {} is no more", records.place.pool))?;
    let token = open_token(server, records.token(records.node.bootstrap_token.as_ref())?)?;
    let ca =
        cluster.certificates.iter().find(|ca| ca.name == "ca.crt").ok_or_else(|| anyhow!("the cluster has no CA"))?;
    let endpoint = records.endpoint()?;
    let mut scrub = vec![Zeroizing::new(token.expose_secret().to_owned())];
    let mut files = Vec::new();
    let by_file = pool.discovery == "file";
    let found = if by_file {
        let text = discovery::Discovery { ca_pem: &ca.pem, endpoint: &endpoint }.file_with_token(&token);
        let file = File::transient(DISCOVERY, text.expose());
        let path = file.path.clone();
        files.push(file);
        Discovery::File { path }
    } else {
        let unsafe_skip = pool.discovery == "token-unsafe";
        let pins = if unsafe_skip { Vec::new() } else { pins_of_pem(ca.pem.as_bytes())? };
        Discovery::Token { token: token.clone(), endpoint, pins, unsafe_skip }
    };
    let control_plane = match records.place.role {
        Role::Worker => None,
        Role::ControlPlane => {
            let certificate_key = if pool.certificates_direct {
                files.extend(pki_files::render(server, records)?);
                None
            } else {
                let key = open_certificate_key(server, &cluster.id, cluster)?;
                scrub.push(Zeroizing::new(key.expose().expose().to_owned()));
                Some(key)
            };
            Some(JoinControlPlane { local_api: node_inputs::local_api(records)?, certificate_key })
        }
    };
    let inputs = JoinInputs {
        version: records.version()?,
        node: node_inputs::of(records),
        discovery: found,
        tls_bootstrap_token: by_file.then_some(token),
        control_plane,
        certificates_dir: DEFAULT_CERTIFICATES_DIR.into(),
        skip_phases: Vec::new(),
        timeouts: Timeouts::default(),
        extra: extra(cluster)?,
    };
    let file = File::transient(CONFIG, render_join(&inputs)?.file.expose());
    let config_path = file.path.clone();
    files.push(file);
    Ok(Payload { files, config_path, scrub, ..Payload::default() })
}
