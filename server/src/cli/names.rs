//! Names that Kubernetes will have to accept, checked before anything is sent. The server checks again.

use crate::kubeadm::endpoint::Endpoint;
use crate::kubeadm::version::KubernetesVersion;

/// Longest DNS-1123 label.
const LABEL_MAX: usize = 63;
/// Longest DNS-1123 subdomain.
const SUBDOMAIN_MAX: usize = 253;

/// Checks a DNS-1123 label: clusters and pools are named so.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn check_label(name: &str) -> Result<(), String> {
    let wrong = |why: &str| {
        Err(format!("{name:?} is no DNS-1123 label: {why} (lower-case letters, digits and '-', at most {LABEL_MAX})"))
    };
    if name.is_empty() {
        return wrong("it is empty");
    }
    if name.len() > LABEL_MAX {
        return wrong("it is too long");
    }
    if name.contains('.') {
        return wrong("it has a dot");
    }
    match fault_of(name) {
        Some(why) => wrong(&why),
        None => Ok(()),
    }
}

/// Checks a DNS-1123 subdomain: nodes are named so.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn check_subdomain(name: &str) -> Result<(), String> {
    let wrong = |why: &str| {
        Err(format!(
            "{name:?} is no DNS-1123 subdomain: {why} (lower-case letters, digits, '-' and '.', at most {SUBDOMAIN_MAX})"
        ))
    };
    if name.is_empty() {
        return wrong("it is empty");
    }
    if name.len() > SUBDOMAIN_MAX {
        return wrong("it is too long");
    }
    match name.split('.').find_map(fault_of) {
        Some(why) => wrong(&why),
        None => Ok(()),
    }
}

fn fault_of(part: &str) -> Option<String> {
    if part.is_empty() {
        return Some("two dots follow each other, or one is at an end".to_owned());
    }
    if let Some(bad) = part.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        let upper = bad.is_ascii_uppercase();
        return Some(if upper { "it has upper-case letters".to_owned() } else { format!("{bad:?} is not allowed") });
    }
    (part.starts_with('-') || part.ends_with('-')).then(|| "a part starts or ends with '-'".to_owned())
}

/// Checks `vMAJOR.MINOR.PATCH`, as Kubernetes releases are named, and that Muster can render for it.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn check_version(version: &str) -> Result<(), String> {
    if !version.starts_with('v') {
        return Err(format!("{version:?} is no Kubernetes version: write it like v1.36.2"));
    }
    KubernetesVersion::parse_supported(version).map(|_| ()).map_err(|error| error.to_string())
}

/// Checks `host:port`; the host is a name or an address, IPv6 in brackets.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn check_endpoint(endpoint: &str) -> Result<(), String> {
    endpoint.parse::<Endpoint>().map(|_| ()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_kubernetes_accepts_pass() {
        for name in ["a", "prod", "prod-1", "1a", &"a".repeat(63)] {
            assert_eq!(check_label(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_bad_label_is_refused_with_its_fault() {
        let cases = [
            ("", "it is empty"),
            ("Prod", "upper-case"),
            ("a.b", "it has a dot"),
            ("a_b", "'_' is not allowed"),
            ("-a", "starts or ends with '-'"),
            ("a-", "starts or ends with '-'"),
            ("\u{e9}", "is not allowed"),
        ];
        for (name, fault) in cases {
            let said = check_label(name).unwrap_err();
            assert!(said.contains(fault), "{name:?}: {said}");
        }
        assert!(check_label(&"a".repeat(64)).unwrap_err().contains("too long"));
    }

    #[test]
    fn subdomains_may_have_dots_but_no_empty_part() {
        assert_eq!(check_subdomain("n1.rack-2.example"), Ok(()));
        for name in ["", "a..b", ".a", "a.", "A.b", "a.-b", &"a.".repeat(127)] {
            assert!(check_subdomain(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn versions_are_written_as_kubernetes_writes_them() {
        for version in ["v1.36.2", "v1.31.0", "v1.37.0-rc.1"] {
            assert_eq!(check_version(version), Ok(()), "{version}");
        }
        for version in ["1.36.2", "v1.36", "v1.36.2.1", "v", "", "v1.36.x", "latest", "v1..2", "v1.9.0"] {
            assert!(check_version(version).is_err(), "{version:?}");
        }
    }

    #[test]
    fn endpoints_have_a_host_and_a_port() {
        for endpoint in ["k8s.prod:6443", "192.0.2.1:6443", "[2001:db8::1]:6443"] {
            assert_eq!(check_endpoint(endpoint), Ok(()), "{endpoint}");
        }
        for endpoint in [
            "k8s.prod",
            "k8s.prod:",
            ":6443",
            "k8s.prod:0",
            "k8s.prod:65536",
            "k8s.prod:+1",
            "2001:db8::1:6443",
            "https://a:1",
        ] {
            assert!(check_endpoint(endpoint).is_err(), "{endpoint:?}");
        }
    }
}
