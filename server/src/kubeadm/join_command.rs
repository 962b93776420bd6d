//! The plain `kubeadm join` line, for machines without an agent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_trust::Pin;

use super::certificate_key::CertificateKey;
use super::endpoint::Endpoint;
use super::token::BootstrapToken;
use crate::seal::SecretText;

/// What a join line says.
#[derive(Debug, Clone, Copy)]
pub struct JoinCommand<'a> {
    /// How the machine finds the cluster.
    pub discovery: By<'a>,
    /// The token; for discovery by token, one with both usages.
    pub token: &'a BootstrapToken,
    /// `Some` for a control plane, with the key of a current `kubeadm-certs`.
    pub control_plane: Option<&'a CertificateKey>,
    /// The Node that the machine is to be; otherwise it takes its host name.
    pub node_name: Option<&'a str>,
}

/// How the joining machine finds the cluster and knows its CA.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// By `cluster-info` at the endpoint, which everybody may read.
    Token {
        /// The API server.
        endpoint: &'a Endpoint,
        /// The CA's pins, one for each certificate of its bundle; any match is enough.
        trust: Trust<'a>,
    },
    /// By a discovery file that is fetched.
    Https(Https<'a>),
}

/// How the joining machine knows the cluster's CA when it discovers by token.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// By pin.
    Pins(&'a [Pin]),
    /// Not at all: whoever answers at the endpoint is believed. Only where an operator has written it out.
    Unverified,
}

/// A discovery file at a URL.
#[derive(Debug, Clone, Copy)]
pub struct Https<'a> {
    /// `https://HOST:PORT/…`, of characters that no shell cares for.
    pub url: &'a str,
    /// The root certificate in PEM that the machine's own trust store does not have.
    pub root: Option<&'a str>,
    /// The token stands in the URL's user part, and the file that comes has it too. kubeadm is a Go program: it sends the user part as
    /// an `Authorization` header and leaves the password out of its errors, while a path would stand in the logs of every proxy.
    pub embedded: bool,
}

/// A join line needs at least one pin, or the operator's word that none is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a join line without a CA pin would trust anyone at the endpoint")]
pub struct NoPins;

impl JoinCommand<'_> {
    /// The line, ready to paste into a shell, without a line end.
    pub fn render(&self) -> Result<SecretText, NoPins> {
        let mut line = match self.discovery {
            By::Token { endpoint, trust } => self.by_token(endpoint, trust)?,
            By::Https(https) => self.by_https(https),
        };
        if let Some(key) = self.control_plane {
            line.push_str(" --control-plane --certificate-key ");
            line.push_str(key.expose().expose());
        }
        if let Some(name) = self.node_name {
            line.push_str(" --node-name ");
            line.push_str(name);
        }
        Ok(SecretText::from(line))
    }

    fn by_token(&self, endpoint: &Endpoint, trust: Trust<'_>) -> Result<String, NoPins> {
        let mut line = format!("kubeadm join {endpoint} --token {}", self.token.expose().expose());
        match trust {
            Trust::Pins([]) => return Err(NoPins),
            Trust::Pins(pins) => {
                for pin in pins {
                    line.push_str(&format!(" --discovery-token-ca-cert-hash {pin}"));
                }
            }
            Trust::Unverified => line.push_str(" --discovery-token-unsafe-skip-ca-verification"),
        }
        Ok(line)
    }

    /// kubeadm verifies who serves the file with the machine's own trust store and nothing else. Go adds the file that
    /// `SSL_CERT_FILE` names; it is made for this one call, in any POSIX shell.
    fn by_https(&self, https: Https<'_>) -> String {
        let trusted = https.root.map(|root| {
            let root = STANDARD.encode(root);
            format!("ca=$(mktemp) && echo {root} | base64 -d > \"$ca\" && SSL_CERT_FILE=\"$ca\" ")
        });
        let (trusted, token) = (trusted.unwrap_or_default(), self.token.expose());
        match (https.embedded, https.url.strip_prefix("https://")) {
            (true, Some(place)) => {
                let (id, secret) = (self.token.id(), self.token.expose_secret());
                format!("{trusted}kubeadm join --discovery-file https://{id}:{secret}@{place}")
            }
            _ => {
                format!("{trusted}kubeadm join --discovery-file {} --tls-bootstrap-token {}", https.url, token.expose())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pin::pins_of_pem;
    use super::super::vectors;
    use super::*;

    fn token(text: &str) -> BootstrapToken {
        BootstrapToken::parse(text).unwrap()
    }

    #[test]
    fn a_bundle_gives_the_line_that_kubeadm_prints() {
        let mut bundle = vectors::bytes("cluster-rsa/pki/ca.crt");
        bundle.extend(vectors::bytes("ca/openssl/root.crt"));
        let line = JoinCommand {
            discovery: By::Token {
                endpoint: &"127.0.0.1:26443".parse().unwrap(),
                trust: Trust::Pins(&pins_of_pem(&bundle).unwrap()),
            },
            token: &token("nofzpx.ntlkkfmwuuyqbmlr"),
            control_plane: None,
            node_name: None,
        };
        let expected = vectors::text("ca/print-join-command-with-bundle.txt");
        assert_eq!(line.render().unwrap().expose(), expected.trim_end());
    }

    #[test]
    fn a_control_planes_line_has_kubeadms_form() {
        let expected = vectors::text("transcripts/ok-token-create-print-join-command-cp.out");
        let words: Vec<&str> = expected.split_whitespace().collect();
        let line = JoinCommand {
            discovery: By::Token {
                endpoint: &words[2].parse().unwrap(),
                trust: Trust::Pins(&pins_of_pem(&vectors::bytes("cluster-rsa/pki/ca.crt")).unwrap()),
            },
            token: &token(words[4]),
            control_plane: Some(&CertificateKey::parse(words[9]).unwrap()),
            node_name: None,
        };
        let line = line.render().unwrap();
        let found: Vec<&str> = line.expose().split_whitespace().collect();
        assert_eq!(found.len(), words.len());
        // Everything but the pin, whose certificate is not among the vectors.
        for index in (0..words.len()).filter(|index| *index != 6) {
            assert_eq!(found[index], words[index]);
        }
    }

    #[test]
    fn no_pin_is_an_error_unless_written_out() {
        let endpoint = "k8s.prod:6443".parse().unwrap();
        let token = token("abcdef.0123456789abcdef");
        let line = |trust| {
            let discovery = By::Token { endpoint: &endpoint, trust };
            JoinCommand { discovery, token: &token, control_plane: None, node_name: Some("w1") }.render()
        };
        assert_eq!(line(Trust::Pins(&[])).unwrap_err(), NoPins);
        assert_eq!(
            line(Trust::Unverified).unwrap().expose(),
            "kubeadm join k8s.prod:6443 --token abcdef.0123456789abcdef --discovery-token-unsafe-skip-ca-verification \
             --node-name w1"
        );
    }

    const URL: &str = "https://boot.prod:9447/discovery/v1/clusters/prod";

    fn by_https(root: Option<&str>, embedded: bool, key: Option<&CertificateKey>) -> String {
        let token = token("abcdef.0123456789abcdef");
        let discovery = By::Https(Https { url: URL, root, embedded });
        let line = JoinCommand { discovery, token: &token, control_plane: key, node_name: Some("w1") };
        line.render().unwrap().expose().to_owned()
    }

    #[test]
    fn a_line_by_https_names_the_file_and_the_token_apart_or_the_token_in_the_urls_user_part() {
        let key = CertificateKey::parse(&"0".repeat(64)).unwrap();
        assert_eq!(
            by_https(None, false, Some(&key)),
            format!(
                "kubeadm join --discovery-file {URL} --tls-bootstrap-token abcdef.0123456789abcdef --control-plane \
                 --certificate-key {} --node-name w1",
                "0".repeat(64)
            )
        );
        assert_eq!(
            by_https(None, true, None),
            "kubeadm join --discovery-file \
             https://abcdef:0123456789abcdef@boot.prod:9447/discovery/v1/clusters/prod --node-name w1"
        );
    }

    #[test]
    fn the_root_that_a_line_brings_is_what_a_posix_shell_gives_to_kubeadm() {
        let root = vectors::text("cluster-rsa/pki/ca.crt");
        let line = by_https(Some(&root), false, None);
        // The shell's own work is real; kubeadm is a function that shows what it was given.
        let script = format!("kubeadm() {{ cat \"$SSL_CERT_FILE\"; rm \"$SSL_CERT_FILE\"; echo \"$@\"; }}\n{line}");
        let shell = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        let expected =
            format!("{root}join --discovery-file {URL} --tls-bootstrap-token abcdef.0123456789abcdef --node-name w1\n");
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), expected);
    }
}
