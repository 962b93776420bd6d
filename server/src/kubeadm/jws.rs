//! The signature of `cluster-info` with a bootstrap token: a JWS in compact form with its payload detached.
//!
//! A joining kubeadm recomputes the signature and compares the two texts, so every byte of the header must be what
//! go-jose writes. The key is the token's *secret* alone.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use super::token::BootstrapToken;

/// Signs `content` with HMAC-SHA-256: `header..signature`.
pub fn sign_detached(content: &str, token: &BootstrapToken) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{}"}}"#, token.id()));
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.expose_secret().as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Whether `signature` is what `sign_detached` gives; takes the same time for every wrong one of the right length.
pub fn verify_detached(signature: &str, content: &str, token: &BootstrapToken) -> bool {
    let expected = sign_detached(content, token);
    expected.as_bytes().ct_eq(signature.as_bytes()).into()
}

/// The key of a token's signature in the data of `cluster-info`.
pub fn data_key(token_id: &str) -> String {
    format!("jws-kubeconfig-{token_id}")
}

#[cfg(test)]
mod tests {
    use super::super::vectors;
    use super::*;

    #[test]
    fn signatures_equal_those_of_the_bootstrap_signer() {
        let data = &vectors::json("cluster-rsa/cm-cluster-info.json")["data"];
        let content = data["kubeconfig"].as_str().unwrap();
        for (id, secret) in
            [("abcdef", "0123456789abcdef"), ("nofzpx", "ntlkkfmwuuyqbmlr"), ("sgmi0z", "v4kj8yn31cs522wu")]
        {
            let token = BootstrapToken::parse(&format!("{id}.{secret}")).unwrap();
            let expected = data[data_key(id)].as_str().unwrap();
            assert_eq!(sign_detached(content, &token), expected);
            assert!(verify_detached(expected, content, &token));
        }
    }

    #[test]
    fn another_content_secret_or_id_does_not_verify() {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        let signature = sign_detached("content", &token);
        assert!(!verify_detached(&signature, "content ", &token));
        assert!(!verify_detached("", "content", &token));
        for other in ["abcdef.0123456789abcdee", "abcdeg.0123456789abcdef"] {
            let other = BootstrapToken::parse(other).unwrap();
            assert!(!verify_detached(&signature, "content", &other));
        }
    }
}
