//! The kubeconfig of a cluster that is brought in: one server, its authority, one user, and everything inline.
//!
//! A server of the fleet must not run what a file says (`exec`), read what it points to, or be sent elsewhere by it. Whatever asks
//! for that is refused by its name. What is kept is written anew from what was read, so that nothing else rides along: neither other
//! contexts nor other users' credentials.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::json;
use zeroize::{Zeroize as _, Zeroizing};

use super::{certificate, pem};
use crate::seal::SecretText;

mod document;

use document::{Cluster, Document, User};

/// Longest kubeconfig that is read, bytes: one with a few dozen contexts.
pub const BYTES_MAX: usize = 256 * 1024;
/// Port of a server that names none: that of https.
const HTTPS: u16 = 443;
/// How files become inline.
const FLATTEN: &str = "give what `kubectl config view --raw --minify --flatten` prints, which has it inline";
/// What stands in for credentials that only work elsewhere.
const OWN: &str = "give Muster a client certificate or a token of its own, inline";

/// One server and one user of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    /// host:port of the API server; an IPv6 address in brackets.
    pub server: String,
    /// The authorities that its certificate may come from, PEM.
    pub authority: String,
    /// Who calls.
    pub login: Login,
}

/// What is shown to the API server.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A client certificate.
    Certificate {
        /// The certificate and what lies between it and the authority, PEM.
        chain: String,
        /// Its key, PEM.
        key: SecretText,
    },
    /// A bearer token.
    Token(SecretText),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate { .. } => "Certificate([redacted])",
            Self::Token(_) => "Token([redacted])",
        })
    }
}

/// Why a kubeconfig is not taken. Never with a value of it that may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigError {
    /// It can't be read.
    #[error("it is no kubeconfig: {0}")]
    Unreadable(String),
    /// It asks for what a server must not do.
    #[error("{field} is refused: {fix}")]
    Refused {
        /// Name of the field, as it stands in the file.
        field: &'static str,
        /// What to do.
        fix: String,
    },
    /// Something that is needed is not there.
    #[error("{0}")]
    Missing(String),
    /// What is there can't be used.
    #[error("{field} {problem}")]
    Unusable {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

fn unusable(field: &'static str, problem: impl Into<String>) -> KubeconfigError {
    KubeconfigError::Unusable { field, problem: problem.into() }
}

impl Kubeconfig {
    /// Reads the current context of a kubeconfig. Dates are not looked at: see [`Self::not_after_ms`].
    ///
    /// # Errors
    /// What is wrong, missing or refused.
    pub fn parse(text: &str) -> Result<Self, KubeconfigError> {
        if text.len() > BYTES_MAX {
            return Err(KubeconfigError::Unreadable(format!("it is longer than {BYTES_MAX} bytes")));
        }
        let document = Document::read(text)?;
        let (cluster, user) = document.current()?;
        refuse(&[
            ("certificate-authority", cluster.certificate_authority.is_some(), FLATTEN),
            (
                "insecure-skip-tls-verify",
                cluster.insecure_skip_tls_verify == Some(true),
                "give the cluster's authority as certificate-authority-data instead",
            ),
            ("proxy-url", cluster.proxy_url.is_some(), "Muster's servers speak to the API server itself"),
            (
                "tls-server-name",
                cluster.tls_server_name.is_some(),
                "write a server that the API server's certificate names",
            ),
        ])?;
        refuse_of_user(user)?;
        Ok(Self { server: server(cluster)?, authority: authority(cluster)?, login: login(user)? })
    }

    /// Common name of the client certificate; empty for a token.
    #[must_use]
    pub fn user(&self) -> String {
        let Some(leaf) = self.leaf() else { return String::new() };
        let Ok(parsed) = certificate::parse(&leaf) else { return String::new() };
        let name = parsed.subject().iter_common_name().find_map(|name| name.as_str().ok());
        name.unwrap_or_default().to_owned()
    }

    /// Last moment of the client certificate, milliseconds since 1970; `None` for a token.
    #[must_use]
    pub fn not_after_ms(&self) -> Option<u64> {
        certificate::not_after_ms(&self.leaf()?).ok()
    }

    /// Refuses a client certificate that has run out.
    ///
    /// # Errors
    /// How long ago.
    pub fn check_dates(&self, now_ms: u64) -> Result<(), KubeconfigError> {
        match self.not_after_ms() {
            Some(end_ms) if end_ms <= now_ms => {
                let days = (now_ms - end_ms) / (24 * 3600 * 1000);
                Err(unusable("client-certificate-data", format!("has expired {days} days ago; have it renewed first")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether each of its authorities stands in that bundle, PEM.
    #[must_use]
    pub fn is_of(&self, bundle: &str) -> bool {
        let known: Vec<_> = certificates(bundle);
        let own = certificates(&self.authority);
        !own.is_empty() && own.iter().all(|one| known.contains(one))
    }

    fn leaf(&self) -> Option<CertificateDer<'static>> {
        match &self.login {
            Login::Certificate { chain, .. } => CertificateDer::from_pem_slice(chain.as_bytes()).ok(),
            Login::Token(_) => None,
        }
    }

    /// A kubeconfig with this and nothing else, which reads as the same again.
    #[must_use]
    pub fn render(&self) -> SecretText {
        let user = match &self.login {
            Login::Certificate { chain, key } => json!({
                "client-certificate-data": STANDARD.encode(chain),
                "client-key-data": STANDARD.encode(key.expose()),
            }),
            Login::Token(token) => json!({ "token": token.expose() }),
        };
        let mut tree = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "cluster", "cluster": {
                "server": format!("https://{}", self.server),
                "certificate-authority-data": STANDARD.encode(&self.authority),
            } }],
            "users": [{ "name": "user", "user": user }],
            "contexts": [{ "name": "context", "context": { "cluster": "cluster", "user": "user" } }],
            "current-context": "context",
        });
        let text = SecretText::from(tree.to_string());
        if let Some(user) = tree["users"][0]["user"].as_object_mut() {
            user.values_mut().for_each(|value| {
                if let serde_json::Value::String(text) = value {
                    text.zeroize();
                }
            });
        }
        text
    }
}

fn certificates(bundle: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok).collect()
}

fn refuse(fields: &[(&'static str, bool, &str)]) -> Result<(), KubeconfigError> {
    match fields.iter().find(|(_, is_there, _)| *is_there) {
        Some((field, _, fix)) => Err(KubeconfigError::Refused { field, fix: (*fix).to_owned() }),
        None => Ok(()),
    }
}

fn refuse_of_user(user: &User) -> Result<(), KubeconfigError> {
    let as_is = "Muster calls as who it is";
    refuse(&[
        ("exec", user.exec.is_some(), OWN),
        ("auth-provider", user.auth_provider.is_some(), OWN),
        ("tokenFile", user.token_file.is_some(), "write the token itself, as token"),
        ("client-certificate", user.client_certificate.is_some(), FLATTEN),
        ("client-key", user.client_key.is_some(), FLATTEN),
        ("username", user.username.is_some(), OWN),
        ("password", user.password.is_some(), OWN),
        ("as", user.as_user.is_some(), as_is),
        ("as-uid", user.as_uid.is_some(), as_is),
        ("as-groups", user.as_groups.is_some(), as_is),
        ("as-user-extra", user.as_user_extra.is_some(), as_is),
    ])
}

/// host:port of an https address with nothing behind it.
fn server(cluster: &Cluster) -> Result<String, KubeconfigError> {
    let wrong = |problem: &str| unusable("server", problem);
    let text = cluster.server.as_deref().unwrap_or_default();
    let uri: http::Uri = text.parse().map_err(|_| wrong("is no address like https://k8s.example.org:6443"))?;
    if uri.scheme_str() != Some("https") {
        return Err(wrong("must begin with https://"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.as_str().contains('@') {
        return Err(wrong("must be https://HOST:PORT and nothing more: what stands between cannot be spoken to"));
    }
    let port = authority.port_u16();
    if port.is_none() && authority.as_str() != authority.host() {
        return Err(wrong("has a port that is none"));
    }
    Ok(format!("{}:{}", authority.host(), port.unwrap_or(HTTPS)))
}

fn authority(cluster: &Cluster) -> Result<String, KubeconfigError> {
    const FIELD: &str = "certificate-authority-data";
    let Some(data) = cluster.certificate_authority_data.as_deref().filter(|data| !data.is_empty()) else {
        return Err(KubeconfigError::Missing(format!("{FIELD} is needed: nothing else says who the API server is")));
    };
    let bytes = decoded(FIELD, data)?;
    let mut text = String::new();
    for item in CertificateDer::pem_slice_iter(&bytes) {
        let der = item.map_err(|_| unusable(FIELD, "is no certificate in PEM"))?;
        certificate::parse(&der).map_err(|_| unusable(FIELD, "is no certificate"))?;
        text.push_str(&pem::encode("CERTIFICATE", &der));
    }
    if text.is_empty() { Err(unusable(FIELD, "holds no certificate")) } else { Ok(text) }
}

fn login(user: &User) -> Result<Login, KubeconfigError> {
    let given = |field: &Option<Zeroizing<String>>| field.clone().filter(|text| !text.is_empty());
    let (chain, key) = (given(&user.client_certificate_data), given(&user.client_key_data));
    match (chain, key, given(&user.token)) {
        (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            let text = "it has a client certificate and a token: give one of them, so that it is clear who calls";
            Err(KubeconfigError::Missing(text.into()))
        }
        (None, None, Some(token)) => bearer(token),
        (Some(chain), Some(key), None) => pair(&chain, &key),
        (Some(_), None, None) => {
            Err(KubeconfigError::Missing("client-key-data is needed beside the certificate".into()))
        }
        (None, Some(_), None) => {
            Err(KubeconfigError::Missing("client-certificate-data is needed beside the key".into()))
        }
        (None, None, None) => {
            let text = "its user has no credentials: client-certificate-data with client-key-data, or token";
            Err(KubeconfigError::Missing(text.into()))
        }
    }
}

/// A token goes into a header of HTTP.
fn bearer(token: Zeroizing<String>) -> Result<Login, KubeconfigError> {
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Login::Token(SecretText::from(token)))
    } else {
        Err(unusable("token", "has characters that no token has"))
    }
}

fn pair(chain: &str, key: &str) -> Result<Login, KubeconfigError> {
    const CERTIFICATE: &str = "client-certificate-data";
    const KEY: &str = "client-key-data";
    let bytes = decoded(CERTIFICATE, chain)?;
    let mut text = String::new();
    let mut signed = Vec::new();
    for item in CertificateDer::pem_slice_iter(&bytes) {
        let der = item.map_err(|_| unusable(CERTIFICATE, "is no certificate in PEM"))?;
        let parsed = certificate::parse(&der).map_err(|_| unusable(CERTIFICATE, "is no certificate"))?;
        if text.is_empty() {
            signed = parsed.public_key().subject_public_key.data.to_vec();
        }
        text.push_str(&pem::encode("CERTIFICATE", &der));
    }
    if text.is_empty() {
        return Err(unusable(CERTIFICATE, "holds no certificate"));
    }
    let bytes = decoded(KEY, key)?;
    let der = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| unusable(KEY, "holds no private key in PEM"))?;
    let label = match &der {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let own = KeyPair::try_from(&der).map_err(|_| unusable(KEY, "holds a key that cannot be used"))?;
    if own.public_key_raw() != signed {
        return Err(unusable(KEY, format!("is not the key of the certificate in {CERTIFICATE}")));
    }
    Ok(Login::Certificate { chain: text, key: SecretText::from(pem::encode(label, der.secret_der())) })
}

fn decoded(field: &'static str, text: &str) -> Result<Zeroizing<Vec<u8>>, KubeconfigError> {
    let packed: Zeroizing<String> = Zeroizing::new(text.split_ascii_whitespace().collect());
    STANDARD.decode(packed.as_bytes()).map(Zeroizing::new).map_err(|_| unusable(field, "is not base64"))
}

#[cfg(test)]
mod tests;
