//! A server's address, as people write it.

use http::Uri;

use crate::cli::exit::{Exit, Failure};

/// Port of the operator listener, taken when none is written.
const OPERATOR_PORT: u16 = 9445;

/// `https://host:port` from a URL or from `host[:port]`.
///
/// # Errors
/// If it is neither, or another scheme than https.
pub(super) fn parse(text: &str) -> Result<Uri, Failure> {
    let wrong = |why: &str| {
        Failure::new(
            Exit::Invalid,
            format!("{text:?} is no server: {why}; write it like https://192.0.2.1:{OPERATOR_PORT}"),
        )
    };
    let text = text.trim();
    let rest = match text.split_once("://") {
        Some(("https", rest)) => rest.trim_end_matches('/'),
        Some((scheme, _)) => return Err(wrong(&format!("{scheme} is not https"))),
        None => text,
    };
    if rest.is_empty() || rest.contains(['/', '?', '#', '@']) {
        return Err(wrong("it has more or less than host and port"));
    }
    // Brackets are how an IPv6 address keeps its colons apart from that of the port.
    let has_port = rest.rfind(':').is_some_and(|colon| !rest[colon..].contains(']'));
    let authority = if has_port { rest.to_owned() } else { format!("{rest}:{OPERATOR_PORT}") };
    let uri: Uri = format!("https://{authority}/").parse().map_err(|_| wrong("it cannot be read"))?;
    if uri.host().is_none_or(str::is_empty) || uri.port_u16().is_none() {
        return Err(wrong("host or port cannot be read"));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_may_be_left_out() {
        let cases = [
            ("https://192.0.2.1:1234", "192.0.2.1:1234"),
            ("https://boot.prod/", "boot.prod:9445"),
            ("boot.prod", "boot.prod:9445"),
            ("boot.prod:1", "boot.prod:1"),
            ("[2001:db8::1]", "[2001:db8::1]:9445"),
            ("https://[2001:db8::1]:7", "[2001:db8::1]:7"),
        ];
        for (text, authority) in cases {
            assert_eq!(parse(text).unwrap().authority().unwrap().as_str(), authority, "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in ["", "http://a", "https://", "https://a/b", "https://u@a", "a:b", "a:70000", "2001:db8::1", "a b"] {
            assert_eq!(parse(text).map_err(|failure| failure.exit), Err(Exit::Invalid), "{text:?}");
        }
    }
}
