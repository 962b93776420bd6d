//! Blanks secrets out of every line before anything else sees it.

use zeroize::Zeroizing;

/// What stands in a secret's place.
const BLANK: &str = "[redacted]";

/// Shorter values are not searched for: they would blank out ordinary words, and are no secrets.
const SECRET_BYTES_MIN: usize = 6;

/// Knows the secrets of one call, and the forms of kubeadm's secrets in general.
#[derive(Clone, Default)]
pub struct Scrubber {
    /// Longest first, so that a secret that contains another is blanked out whole.
    secrets: Vec<Zeroizing<String>>,
}

impl Scrubber {
    /// A scrubber for these values; one of several lines is searched for line by line.
    pub fn new(values: &[Zeroizing<String>]) -> Self {
        let mut secrets: Vec<Zeroizing<String>> = values
            .iter()
            .flat_map(|value| value.lines().map(str::trim))
            .filter(|line| line.len() >= SECRET_BYTES_MIN)
            .map(|line| Zeroizing::new(line.to_owned()))
            .collect();
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Self { secrets }
    }

    /// `line` without secrets: the given values, the secret half of anything that looks like a bootstrap token, and
    /// certificate keys where kubeadm prints them.
    pub fn line(&self, line: &str) -> String {
        let mut text = line.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), BLANK);
            }
        }
        blank_certificate_key(&blank_tokens(&text))
    }
}

/// `abcdef.0123456789abcdef` becomes `abcdef.[redacted]`: the id is no secret and helps.
fn blank_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('.') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let id = trailing(before);
        let secret = leading(after);
        out.push_str(before);
        out.push('.');
        rest = after;
        if id == 6 && secret == 16 && !after[secret..].starts_with('.') {
            out.push_str(BLANK);
            rest = &after[secret..];
        }
    }
    out.push_str(rest);
    out
}

fn in_token(c: &u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn trailing(text: &str) -> usize {
    text.bytes().rev().take_while(in_token).count()
}

fn leading(text: &str) -> usize {
    text.bytes().take_while(in_token).count()
}

/// A line that is nothing but 64 hexadecimal digits, or has them after `--certificate-key`.
fn blank_certificate_key(text: &str) -> String {
    let is_key = |word: &str| word.len() == 64 && word.bytes().all(|c| c.is_ascii_hexdigit());
    if is_key(text.trim()) {
        return BLANK.to_owned();
    }
    let Some((before, after)) = text.split_once("--certificate-key") else {
        return text.to_owned();
    };
    let key = after.trim_start_matches([' ', '=']);
    let end = key.find(char::is_whitespace).unwrap_or(key.len());
    format!("{before}--certificate-key {BLANK}{}", &key[end..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mk(values: &[&str]) -> Scrubber {
        let values: Vec<Zeroizing<String>> = values.iter().map(|value| Zeroizing::new((*value).to_owned())).collect();
        Scrubber::new(&values)
    }

    #[test]
    fn given_values_are_blanked_out_wherever_they_stand() {
        let scrubber = mk(&["hunter2-hunter2", "hunter2-hunter2-long"]);
        assert_eq!(scrubber.line("a hunter2-hunter2-long b"), "a [redacted] b");
        assert_eq!(scrubber.line("x=hunter2-hunter2,"), "x=[redacted],");
    }

    #[test]
    fn every_line_of_a_value_of_several_lines_is_a_secret() {
        let scrubber = mk(&["-----BEGIN\nMIIEvQIBADANBgkq\n-----END"]);
        assert_eq!(scrubber.line("got MIIEvQIBADANBgkq"), "got [redacted]");
    }

    #[test]
    fn the_secret_half_of_any_bootstrap_token_is_blanked_out() {
        let scrubber = Scrubber::default();
        assert_eq!(
            scrubber.line("kubeadm join 192.0.2.11:6443 --token abcdef.0123456789abcdef \\"),
            "kubeadm join 192.0.2.11:6443 --token abcdef.[redacted] \\"
        );
        assert_eq!(scrubber.line("registry.k8s.io/etcd"), "registry.k8s.io/etcd");
        assert_eq!(scrubber.line("kubernetes.default.svc.cluster.local"), "kubernetes.default.svc.cluster.local");
    }

    #[test]
    fn a_certificate_key_is_blanked_out_where_kubeadm_prints_it_and_a_pin_is_not() {
        let key = "e6a2eb8581237ab72a4f494f30285ec12a9694d750b9785706a83bfcbbbd2204";
        let scrubber = Scrubber::default();
        assert_eq!(scrubber.line(key), "[redacted]");
        assert_eq!(
            scrubber.line(&format!("\t--control-plane --certificate-key {key}")),
            "\t--control-plane --certificate-key [redacted]"
        );
        let pin = format!("--discovery-token-ca-cert-hash sha256:{key}");
        assert_eq!(scrubber.line(&pin), pin);
    }

    #[test]
    fn short_values_do_not_blank_out_ordinary_words() {
        assert_eq!(mk(&["a", ""]).line("a banana"), "a banana");
    }

    proptest! {
        #[test]
        fn no_secret_survives_in_any_line(secret in "[a-zA-Z0-9+/]{8,40}", before in ".{0,40}", after in ".{0,40}") {
            let line = mk(&[&secret]).line(&format!("{before}{secret}{after}"));
            prop_assert!(!line.contains(&secret));
        }

        #[test]
        fn any_line_is_accepted(line in "\\PC*") {
            Scrubber::default().line(&line);
        }
    }
}
