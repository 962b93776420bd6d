//! `muster cluster create`.

use muster_proto::admin::v1::{ClusterSpec, CreateClusterRequest};

use super::{NEXT_MACHINES, default_pools, made};
use crate::cli::args::CreateArgs;
use crate::cli::client::{Session, request_id};
use crate::cli::console::Console;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{cluster_file, names};

/// Key algorithms that kubeadm knows, in its own words.
const KEY_ALGORITHMS: [&str; 4] = ["RSA-2048", "RSA-3072", "RSA-4096", "ECDSA-P256"];

/// What can be wrong with the arguments alone.
pub(super) fn check(args: &CreateArgs) -> Result<(), Failure> {
    let subnets = [&args.pod_subnet, &args.service_subnet];
    check_settings(&args.name, &args.endpoint, &args.kubernetes, subnets)?;
    match &args.key_algorithm {
        Some(algorithm) if !KEY_ALGORITHMS.contains(&algorithm.as_str()) => Err(Failure::new(
            Exit::Invalid,
            format!("{algorithm:?} is no key algorithm of kubeadm; it is one of {}", KEY_ALGORITHMS.join(", ")),
        )),
        _ => Ok(()),
    }
}

/// Checks what both create and import are given.
pub(super) fn check_settings(
    name: &str,
    endpoint: &str,
    version: &str,
    subnets: [&Option<String>; 2],
) -> Result<(), Failure> {
    names::check_label(name)
        .and_then(|()| names::check_endpoint(endpoint))
        .and_then(|()| names::check_version(version))
        .and_then(|()| subnets.into_iter().flatten().try_for_each(|subnet| cluster_file::check_subnets(subnet)))
        .map_err(|message| Failure::new(Exit::Invalid, message))
}

pub(super) async fn run(args: CreateArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let CreateArgs { name, endpoint, kubernetes, key_algorithm, pod_subnet, service_subnet, dns_domain } = args;
    let spec = ClusterSpec {
        name,
        kubernetes_version: kubernetes,
        endpoint,
        pod_subnet: pod_subnet.unwrap_or_default(),
        service_subnet: service_subnet.unwrap_or_default(),
        dns_domain: dns_domain.unwrap_or_default(),
        key_algorithm: key_algorithm.unwrap_or_default(),
        pools: default_pools(),
        ..ClusterSpec::default()
    };
    let request = CreateClusterRequest { request_id: request_id(), spec: Some(spec) };
    let bar = console.spinner("making the cluster's keys and certificates");
    let created = session.call(async |mut client| client.create_cluster(request.clone()).await).await;
    bar.finish_and_clear();
    made(&created?, "created", console)?;
    console.next(NEXT_MACHINES);
    Ok(())
}
