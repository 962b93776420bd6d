//! Reads and masks rendered kubeadm configuration. It is never changed here.

use serde::Deserialize;

/// kubeadm's own field, in any of the documents of a file.
#[derive(Deserialize)]
struct Document {
    #[serde(default, rename = "skipPhases")]
    skip_phases: Option<Vec<String>>,
}

/// The phases that the configuration itself asks to skip. kubeadm forgets them as soon as `--skip-phases` is given ("flag
/// wins"), so they must be repeated there.
///
/// # Errors
/// If it is not YAML.
pub fn skip_phases(yaml: &str) -> Result<Vec<String>, serde_saphyr::Error> {
    let documents: Vec<Option<Document>> = serde_saphyr::from_multiple(yaml)?;
    Ok(documents.into_iter().flatten().filter_map(|document| document.skip_phases).flatten().collect())
}

/// Fields whose values are secret, in every version of the format and in kubeconfigs.
const SECRET_FIELDS: &[&str] =
    &["token", "tlsBootstrapToken", "certificateKey", "client-key-data", "password", "secret"];

/// `yaml` with the values of secret fields masked, for people to read.
pub fn mask(yaml: &str) -> String {
    let mut masked: String = yaml.lines().map(|line| format!("{}\n", mask_line(line))).collect();
    if !yaml.ends_with('\n') {
        masked.pop();
    }
    masked
}

fn mask_line(line: &str) -> String {
    let mut out = line.to_owned();
    for field in SECRET_FIELDS {
        for quote in ["", "\""] {
            let name = format!("{quote}{field}{quote}:");
            let mut from = 0;
            while let Some(at) = out[from..].find(&name).map(|at| at + from) {
                let end = at + name.len();
                from = end;
                let whole_word = out[..at].ends_with([' ', '-', '{', ',', '\t']) || at == 0;
                if whole_word {
                    let value = value_length(&out[end..]);
                    out.replace_range(end..end + value, " \"********\"");
                }
            }
        }
    }
    out
}

/// Bytes of a value up to the end of its flow mapping or line; a quoted one whole.
fn value_length(text: &str) -> usize {
    let spaces = text.len() - text.trim_start().len();
    let value = &text[spaces..];
    let length = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].find(quote).map_or(value.len(), |end| end + 2),
        _ => value.find([',', '}', ']']).unwrap_or(value.len()),
    };
    spaces + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_phases_are_gathered_from_every_document() {
        let yaml = "kind: InitConfiguration\nskipPhases: [addon/kube-proxy, addon/coredns]\n---\nkind: ClusterConfiguration\n\
                    ---\n---\nkind: JoinConfiguration\nskipPhases:\n- preflight\n";
        assert_eq!(skip_phases(yaml).unwrap(), ["addon/kube-proxy", "addon/coredns", "preflight"]);
        assert_eq!(skip_phases("kind: JoinConfiguration\nskipPhases: null\n").unwrap(), Vec::<String>::new());
        assert!(skip_phases("{").is_err());
    }

    #[test]
    fn masking_hides_every_secret_in_block_and_flow_form() {
        let yaml = "discovery:\n  bootstrapToken: {apiServerEndpoint: \"a:6443\", token: abcdef.0123456789abcdef, caCertHashes: []}\n  \
                    tlsBootstrapToken: abcdef.0123456789abcdef\ncontrolPlane:\n  certificateKey: \"e6a2eb85\"\nbootstrapTokens:\n\
                    - token: \"abcdef.0123456789abcdef\"\n  ttl: 24h\n";
        let masked = mask(yaml);
        assert!(!masked.contains("0123456789abcdef") && !masked.contains("e6a2eb85"), "{masked}");
        assert!(masked.contains("apiServerEndpoint: \"a:6443\"") && masked.contains("caCertHashes: []"), "{masked}");
        assert!(masked.contains("ttl: 24h"));
    }

    #[test]
    fn masking_hides_secrets_of_json() {
        let masked = mask(r#"{"discovery":{"tlsBootstrapToken":"abcdef.0123456789abcdef"},"x":1}"#);
        assert!(!masked.contains("0123456789abcdef") && masked.contains("\"x\":1"), "{masked}");
    }
}
