//! The settings as a file with a word on each.

use std::num::NonZeroU64;
use std::path::PathBuf;

use super::{Config, Discovery, LogFormat, Ports, SealKind, Server};

pub(super) fn print(config: &Config) -> String {
    let Config { server: _, discovery: _, storage, seal: _, log } = config;
    let format = match log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    format!(
        r#"# Settings of a Muster server. Every key may be left out; what is printed here is in force.

{server}
{discovery}
[storage]
# sled | redb. To change it on a server that has a log: stop it, change this, run `muster storage convert`.
backend = {backend}

{seal}
[log]
# text | json, to standard error
format = {format}
# Per target; MUSTER_LOG overrides it.
level = {level}
"#,
        server = server(&config.server),
        discovery = discovery(config),
        backend = quoted(storage.backend.name()),
        seal = seal(config),
        format = quoted(format),
        level = quoted(&log.level),
    )
}

fn server(server: &Server) -> String {
    let Ports { enrolment, nodes, operators, peers, http } = server.ports;
    format!(
        r#"[server]
# Among the servers of the fleet: given by the fleet and remembered in data_dir. Written out, it must be that one.
{id}
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
# How long a server must have kept up before it gets the data keys and its vote.
promote_after = {promote_after}

[server.ports]
enrolment = {enrolment}
nodes = {nodes}
operators = {operators}
# Other servers; mutual TLS.
peers = {peers}
# /livez /readyz /metrics, in the clear and without a secret.
http = {http}
"#,
        id = optional_id(server.id),
        data_dir = quoted(&server.data_dir.display().to_string()),
        listen = quoted(&server.listen.to_string()),
        advertise = optional("advertise", server.advertise.as_deref(), &server.advertised_host()),
        enrolment_urls = list(&server.enrolment_urls),
        node_urls = list(&server.node_urls),
        operator_urls = list(&server.operator_urls),
        promote_after = quoted(&server.promote_after.to_string()),
    )
}

fn discovery(config: &Config) -> String {
    let Discovery { port, url, certificate, key } = &config.discovery;
    let place = config.discovery.authority(&config.server).unwrap_or_else(|| "none".to_owned());
    format!(
        r#"[discovery]
# HTTPS for `kubeadm join --discovery-file`, for machines without an agent. Off without a port; 9447 is free among Muster's.
{port}
# HOST:PORT by which machines reach it, if that is a load balancer.
{url}
# PEM files of a web certificate that machines trust; looked at again every minute.
{certificate}
{key}
"#,
        port = port.map_or_else(|| "# port = …   (not set: off)".to_owned(), |port| format!("port = {port}")),
        url = optional("url", url.as_deref(), &place),
        certificate = optional("certificate", path(certificate), "the fleet's own"),
        key = optional("key", path(key), "the fleet's own"),
    )
}

fn path(path: &Option<PathBuf>) -> Option<&str> {
    path.as_ref().and_then(|path| path.to_str())
}

fn seal(config: &Config) -> String {
    let (kind, instead) = match config.seal.kind {
        SealKind::File => ("file", config.seal_path().display().to_string()),
        SealKind::Credential => ("credential", "the credential seal-key".to_owned()),
        SealKind::Passphrase => ("passphrase", "the credential seal-passphrase, or asked for".to_owned()),
    };
    format!(
        "[seal]\n# credential (systemd) | file | passphrase\nkind = {kind}\n{path}\n{previous}\n",
        kind = quoted(kind),
        path = optional("path", path(&config.seal.path), &instead),
        previous = optional("previous", path(&config.seal.previous), "none"),
    )
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(items: &[String]) -> String {
    toml::Value::from(items.to_vec()).to_string()
}

fn optional_id(id: Option<NonZeroU64>) -> String {
    id.map_or_else(
        || "# id = …   (not set; in force: the one in data_dir, 1 for a new fleet)".to_owned(),
        |id| format!("id = {id}"),
    )
}

/// A key without a value is shown as a comment that says what holds instead.
fn optional(key: &str, value: Option<&str>, instead: &str) -> String {
    match value {
        Some(value) => format!("{key} = {}", quoted(value)),
        None => format!("# {key} = …   (not set; in force: {instead})"),
    }
}
