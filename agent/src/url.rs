//! Where servers are.

use std::fmt;
use std::str::FromStr;

/// Port of the enrolment listener, taken where none is given.
pub const ENROLMENT_PORT: u16 = 9443;

/// A server's address. Written `https://host:port`, `host:port` or `host`; `host` may be a name, an IPv4 address or an IPv6
/// address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    host: String,
    port: u16,
}

impl ServerUrl {
    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The same host at another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }

    /// `host:port`, as TCP and HTTP take it.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

/// Why a text is no server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a server's address: {why}; write it as https://boot.example:9443")]
pub struct UrlError {
    text: String,
    why: &'static str,
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let error = |why| UrlError { text: text.to_owned(), why };
        if text.starts_with("http://") {
            return Err(error("Muster speaks TLS only"));
        }
        let rest = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            // The colons of a bare IPv6 address are not before a port.
            Some((host, _)) if host.contains(':') && !rest.starts_with('[') => {
                return Err(error("put an IPv6 address in brackets"));
            }
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| error("its port is not a number up to 65535"))?)
            }
            _ => (rest, ENROLMENT_PORT),
        };
        let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
        let plain =
            !host.is_empty() && host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'));
        if !bracketed && !plain {
            return Err(error("its host is not a name or address"));
        }
        if port == 0 {
            return Err(error("its port is 0"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_people_write_are_understood() {
        for (text, url) in [
            ("https://boot.prod:9443", "https://boot.prod:9443"),
            ("10.0.0.5:9500", "https://10.0.0.5:9500"),
            ("boot", "https://boot:9443"),
            ("https://[2001:db8::1]:9443/", "https://[2001:db8::1]:9443"),
            ("[::1]", "https://[::1]:9443"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap().to_string(), url, "{text}");
        }
        assert_eq!("[::1]".parse::<ServerUrl>().unwrap().host(), "::1");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "http://a", "a:b", "a:99999", "a:0", "2001:db8::1", "a b", "https://", "a/b"] {
            assert!(text.parse::<ServerUrl>().is_err(), "{text}");
        }
    }
}
