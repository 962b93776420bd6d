//! The settings as a file with a word on each.

use super::{Backend, Config, LogFormat, SealKind};

pub(super) fn print(config: &Config) -> String {
    let Config { server, storage, seal, log } = config;
    let ports = &server.ports;
    let advertise = optional("advertise", server.advertise.as_deref(), &server.advertised_host());
    let seal_default = match seal.kind {
        SealKind::File => config.seal_path().display().to_string(),
        SealKind::Credential => "the credential seal-key".to_owned(),
        SealKind::Passphrase => "the credential seal-passphrase, or asked for".to_owned(),
    };
    let seal_path = optional("path", seal.path.as_ref().and_then(|path| path.to_str()), &seal_default);
    format!(
        r#"# Settings of a Muster server. Every key may be left out; what is printed here is in force.

[server]
# Among the servers of the fleet. Never reused, not even after a wipe.
id = {id}
# Log and snapshots. The seal key must not be in here.
data_dir = {data_dir}
# What every listener binds.
listen = {listen}
# DNS name or address by which machines, operators and other servers reach it.
{advertise}
# HOST:PORT of every server, as told to machines, agents and operators. Empty: this one alone.
enrolment_urls = {enrolment_urls}
node_urls = {node_urls}
operator_urls = {operator_urls}

[server.ports]
enrolment = {enrolment}
nodes = {nodes}
operators = {operators}
# Not used yet.
peers = {peers}
# /livez /readyz /metrics, in the clear and without a secret.
http = {http}

[storage]
# sled; redb is not there yet.
backend = {backend}

[seal]
# credential (systemd) | file | passphrase
kind = {kind}
{seal_path}

[log]
# text | json, to standard error
format = {format}
# Per target; MUSTER_LOG overrides it.
level = {level}
"#,
        id = server.id,
        data_dir = quoted(&server.data_dir.display().to_string()),
        listen = quoted(&server.listen.to_string()),
        enrolment_urls = list(&server.enrolment_urls),
        node_urls = list(&server.node_urls),
        operator_urls = list(&server.operator_urls),
        enrolment = ports.enrolment,
        nodes = ports.nodes,
        operators = ports.operators,
        peers = ports.peers,
        http = ports.http,
        backend = quoted(match storage.backend {
            Backend::Sled => "sled",
            Backend::Redb => "redb",
        }),
        kind = quoted(match seal.kind {
            SealKind::Credential => "credential",
            SealKind::File => "file",
            SealKind::Passphrase => "passphrase",
        }),
        format = quoted(match log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }),
        level = quoted(&log.level),
    )
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(items: &[String]) -> String {
    toml::Value::from(items.to_vec()).to_string()
}

/// A key without a value is shown as a comment that says what holds instead.
fn optional(key: &str, value: Option<&str>, instead: &str) -> String {
    match value {
        Some(value) => format!("{key} = {}", quoted(value)),
        None => format!("# {key} = …   (not set; in force: {instead})"),
    }
}
