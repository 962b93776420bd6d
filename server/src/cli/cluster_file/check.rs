//! What a well-formed cluster file may still get wrong.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_saphyr::Spanned;

use super::fault::Fault;
use super::{Admission, ClusterFile, Discovery, Pool, Role, Spec};
use crate::cli::names;

/// All faults, in the order of the file.
pub(super) fn faults_of(file: &ClusterFile) -> Vec<Fault> {
    let mut faults = Faults::default();
    faults.check(&file.api_version, |value| wanted(value, "apiVersion", "muster/v1"));
    faults.check(&file.kind, |value| wanted(value, "kind", "Cluster"));
    faults.check(&file.metadata.name, names::check_label);
    faults.kubernetes(&file.spec);
    let (mut pools, mut nodes) = (BTreeSet::new(), BTreeSet::new());
    for pool in &file.spec.pools {
        faults.check(&pool.name, names::check_label);
        faults.once(&pool.name, &mut pools, "pool");
        faults.trust(pool, file.spec.admission);
        for node in &pool.nodes {
            faults.check(&node.name, names::check_subdomain);
            faults.once(&node.name, &mut nodes, "node");
            if let Some(address) = &node.address {
                faults.check(address, check_address);
            }
        }
    }
    faults.0
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn check(&mut self, value: &Spanned<String>, check: impl Fn(&str) -> Result<(), String>) {
        if let Err(message) = check(&value.value) {
            self.add(value, message);
        }
    }

    fn add<T>(&mut self, value: &Spanned<T>, message: String) {
        self.0.push(Fault { at: Some(value.referenced), message });
    }

    fn once<'a>(&mut self, name: &'a Spanned<String>, seen: &mut BTreeSet<&'a str>, what: &str) {
        if !seen.insert(&name.value) {
            self.add(name, format!("there is already a {what} {:?}", name.value));
        }
    }

    fn kubernetes(&mut self, spec: &Spec) {
        let kubernetes = &spec.kubernetes;
        self.check(&kubernetes.version, names::check_version);
        self.check(&kubernetes.endpoint, names::check_endpoint);
        for subnet in [&kubernetes.pod_subnet, &kubernetes.service_subnet].into_iter().flatten() {
            self.check(subnet, check_subnets);
        }
        if let Some(domain) = &kubernetes.dns_domain {
            self.check(domain, names::check_subdomain);
        }
    }

    /// Rules that keep secrets from machines nobody looked at.
    fn trust(&mut self, pool: &Pool, default: Option<Admission>) {
        let admission = pool.admission.or(default);
        if pool.role == Role::ControlPlane && admission == Some(Admission::Token) {
            self.add(
                &pool.name,
                format!(
                    "pool {:?} has control planes, which receive CA keys: a token of the pool is not enough; write \
                     admission: approve or bound in it",
                    pool.name.value
                ),
            );
        }
        let unsafe_discovery = pool.discovery == Some(Discovery::TokenUnsafe);
        if unsafe_discovery && !pool.unsafe_skip_ca_verification {
            self.add(
                &pool.name,
                "discovery: token-unsafe lets anyone on the network pose as the cluster; \
                 it needs unsafeSkipCAVerification: true"
                    .to_owned(),
            );
        }
        if pool.unsafe_skip_ca_verification && !unsafe_discovery {
            self.add(&pool.name, "unsafeSkipCAVerification has a meaning only with discovery: token-unsafe".to_owned());
        }
    }
}

fn wanted(value: &str, key: &str, wanted: &str) -> Result<(), String> {
    if value == wanted { Ok(()) } else { Err(format!("{key} is {value:?}, only {wanted} is known")) }
}

fn check_address(text: &str) -> Result<(), String> {
    text.parse::<IpAddr>().map(|_| ()).map_err(|_| format!("{text:?} is no IP address"))
}

/// One subnet, or two for dual-stack.
pub(in crate::cli) fn check_subnets(text: &str) -> Result<(), String> {
    let fits = |subnet: &str| {
        let (address, bits) = subnet.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(())
    };
    match text.split(',').try_for_each(fits) {
        Some(()) => Ok(()),
        None => Err(format!("{text:?} is no subnet: write it like 10.244.0.0/16")),
    }
}
