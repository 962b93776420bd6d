//! For `kubeadm join`: `join.yaml`, the discovery file, and for control planes that get them directly, the PKI.

use anyhow::anyhow;
use muster_state::record::{CaCertificate, Pool, Role, Verb};
use zeroize::Zeroizing;

use super::{File, Payload, Records, extra, node_inputs, open_certificate_key, open_token, pki_files};
use crate::{
    kubeadm::{
        config::{DEFAULT_CERTIFICATES_DIR, Discovery, JoinControlPlane, JoinInputs, Timeouts, render_join},
        discovery,
        endpoint::Endpoint,
        pin::pins_of_pem,
        token::BootstrapToken,
    },
    operations::Unsealed,
};

const CONFIG: &str = "join.yaml";
const DISCOVERY: &str = "discovery.conf";
/// A control plane's own way to the API, from the first step of its join on.
const ADMIN: &str = "/etc/kubernetes/admin.conf";

pub(super) fn render(server: &Unsealed, records: &Records, verb: Verb) -> anyhow::Result<Payload> {
    let cluster = &records.cluster;
    let pool =
        cluster.spec.pool(&records.place.pool).ok_or_else(|| anyhow!("pool {} is no more", records.place.pool))?;
    let token = open_token(server, records.token(records.node.bootstrap_token.as_ref())?)?;
    let ca =
        cluster.certificates.iter().find(|ca| ca.name == "ca.crt").ok_or_else(|| anyhow!("the cluster has no CA"))?;
    let endpoint = records.endpoint()?;
    let mut scrub = vec![Zeroizing::new(token.expose_secret().to_owned())];
    let mut files = Vec::new();
    let found = match verb {
        // Its own credentials are better than a token that may be gone by now: with `csrApproval: strict` it is.
        Verb::JoinEtcd | Verb::JoinFinish => Found { way: Discovery::File { path: ADMIN.into() }, tls_token: None },
        _ => by_token(pool, ca, endpoint, token, &mut files)?,
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
        discovery: found.way,
        tls_bootstrap_token: found.tls_token,
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

/// How kubeadm finds the cluster, and what its kubelet shows there at first.
struct Found {
    way: Discovery,
    tls_token: Option<BootstrapToken>,
}

/// As the pool says, with the token.
fn by_token(
    pool: &Pool,
    ca: &CaCertificate,
    endpoint: Endpoint,
    token: BootstrapToken,
    files: &mut Vec<File>,
) -> anyhow::Result<Found> {
    if pool.discovery == "file" {
        let text = discovery::Discovery { ca_pem: &ca.pem, endpoint: &endpoint }.file_with_token(&token);
        let file = File::transient(DISCOVERY, text.expose());
        let way = Discovery::File { path: file.path.clone() };
        files.push(file);
        return Ok(Found { way, tls_token: Some(token) });
    }
    let unsafe_skip = pool.discovery == "token-unsafe";
    let pins = if unsafe_skip { Vec::new() } else { pins_of_pem(ca.pem.as_bytes())? };
    Ok(Found { way: Discovery::Token { token, endpoint, pins, unsafe_skip }, tls_token: None })
}
