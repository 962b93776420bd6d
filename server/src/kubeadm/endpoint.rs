//! The address that a cluster's API server is reached at: a host and a port.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The port that kubeadm takes when none is given.
pub const DEFAULT_PORT: u16 = 6443;
/// The longest DNS name.
const NAME_MAX: usize = 253;
/// The longest part of a DNS name.
const LABEL_MAX: usize = 63;

/// `HOST:PORT`, where the host is a DNS name, an IPv4 address or an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(String),
    Address(IpAddr),
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No port. kubeadm would fall back to another node's bind port, so it must be written out.
    #[error("endpoint {0:?} has no port (expected HOST:PORT, such as k8s.example.org:{DEFAULT_PORT})")]
    NoPort(String),
    /// The port is no number from 1 to 65535.
    #[error("the port of endpoint {0:?} is not a number from 1 to 65535")]
    Port(String),
    /// The host is neither a DNS name nor an address.
    #[error("the host of endpoint {0:?} is neither a lower-case DNS name nor an IP address (IPv6 in brackets)")]
    Host(String),
}

impl Endpoint {
    /// The host, without the brackets of an IPv6 address: what a certificate must name.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        }
    }

    /// The host as an address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Name(_) => None,
            Host::Address(address) => Some(address),
        }
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `https://HOST:PORT`, as a kubeconfig wants it.
    pub fn url(&self) -> String {
        format!("https://{self}")
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => return Err(EndpointError::NoPort(text.to_owned())),
        };
        let host = parse_host(host).ok_or_else(|| EndpointError::Host(text.to_owned()))?;
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        match port.parse() {
            Ok(port) if port > 0 && digits => Ok(Self { host, port }),
            _ => Err(EndpointError::Port(text.to_owned())),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

fn parse_host(text: &str) -> Option<Host> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|a| Host::Address(a.into()));
    }
    if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
        return Some(Host::Address(address.into()));
    }
    is_dns_subdomain(text).then(|| Host::Name(text.to_owned()))
}

/// Whether `text` is a DNS-1123 subdomain: what Kubernetes asks of node names and host names.
pub fn is_dns_subdomain(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.len() <= LABEL_MAX
            && bytes.first().copied().is_some_and(alphanumeric)
            && bytes.last().copied().is_some_and(alphanumeric)
            && bytes.iter().all(|b| alphanumeric(*b) || *b == b'-')
    };
    text.len() <= NAME_MAX && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_addresses_are_endpoints() {
        for text in ["k8s.prod:6443", "192.0.2.11:6443", "[2001:db8::1]:443", "a:1"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        let endpoint: Endpoint = "[2001:DB8::1]:443".parse().unwrap();
        assert_eq!(endpoint.host(), "2001:db8::1");
        assert_eq!(endpoint.url(), "https://[2001:db8::1]:443");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| text.parse::<Endpoint>().unwrap_err();
        for text in ["", "k8s.prod", "[2001:db8::1]"] {
            assert_eq!(error(text), EndpointError::NoPort(text.into()), "{text}");
        }
        for text in ["k8s:", "k8s:0", "k8s:65536", "k8s:+1", "k8s:x"] {
            assert_eq!(error(text), EndpointError::Port(text.into()), "{text}");
        }
        for text in [":6443", "K8s:6443", "2001:db8::1:6443", "-a:1", "a..b:1", "https://a:1", "a b:1", "a\n:1"] {
            assert_eq!(error(text), EndpointError::Host(text.into()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_parses_prints_to_something_that_parses_to_the_same(text in "\\PC{0,24}|\\[[0-9a-f:]{2,20}\\]:[0-9]{1,5}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
            }
        }
    }
}
