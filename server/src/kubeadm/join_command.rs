//! The plain `kubeadm join` line, for machines without an agent.

use muster_trust::Pin;

use super::certificate_key::CertificateKey;
use super::endpoint::Endpoint;
use super::token::BootstrapToken;
use crate::seal::SecretText;

/// What a join line says.
#[derive(Debug, Clone, Copy)]
pub struct JoinCommand<'a> {
    /// The API server.
    pub endpoint: &'a Endpoint,
    /// A token with both usages.
    pub token: &'a BootstrapToken,
    /// The CA's pins, one for each certificate of its bundle; any match is enough.
    pub trust: Trust<'a>,
    /// `Some` for a control plane, with the key of a current `kubeadm-certs`.
    pub control_plane: Option<&'a CertificateKey>,
    /// The Node that the machine is to be; otherwise it takes its host name.
    pub node_name: Option<&'a str>,
}

/// How the joining machine knows the cluster's CA.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// By pin.
    Pins(&'a [Pin]),
    /// Not at all: whoever answers at the endpoint is believed. Only where an operator has written it out.
    Unverified,
}

/// A join line needs at least one pin, or the operator's word that none is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a join line without a CA pin would trust anyone at the endpoint")]
pub struct NoPins;

impl JoinCommand<'_> {
    /// The line, ready to paste into a shell, without a line end.
    pub fn render(&self) -> Result<SecretText, NoPins> {
        let mut line = format!("kubeadm join {} --token {}", self.endpoint, self.token.expose().expose());
        match self.trust {
            Trust::Pins([]) => return Err(NoPins),
            Trust::Pins(pins) => {
                for pin in pins {
                    line.push_str(&format!(" --discovery-token-ca-cert-hash {pin}"));
                }
            }
            Trust::Unverified => line.push_str(" --discovery-token-unsafe-skip-ca-verification"),
        }
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
            endpoint: &"127.0.0.1:26443".parse().unwrap(),
            token: &token("nofzpx.ntlkkfmwuuyqbmlr"),
            trust: Trust::Pins(&pins_of_pem(&bundle).unwrap()),
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
            endpoint: &words[2].parse().unwrap(),
            token: &token(words[4]),
            trust: Trust::Pins(&pins_of_pem(&vectors::bytes("cluster-rsa/pki/ca.crt")).unwrap()),
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
            JoinCommand { endpoint: &endpoint, token: &token, trust, control_plane: None, node_name: Some("w1") }
                .render()
        };
        assert_eq!(line(Trust::Pins(&[])).unwrap_err(), NoPins);
        assert_eq!(
            line(Trust::Unverified).unwrap().expose(),
            "kubeadm join k8s.prod:6443 --token abcdef.0123456789abcdef --discovery-token-unsafe-skip-ca-verification \
             --node-name w1"
        );
    }
}
