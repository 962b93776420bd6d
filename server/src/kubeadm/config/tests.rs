//! Whole files, compared with golden ones and, where a real kubeadm is at hand, judged by it.

mod fixtures;
mod golden;
mod lab;

use super::*;
use fixtures::{init, join_control_plane, join_worker, version};
use serde_json::{Value, json};

/// The documents of a file.
fn documents(rendered: &Rendered) -> Vec<Value> {
    let parts = rendered.file.expose().split("---\n");
    parts.map(|part| serde_saphyr::from_str(part).unwrap()).collect()
}

#[test]
fn the_masked_copy_differs_only_in_tokens_and_keys() {
    let inputs = init("v1.36.2");
    let rendered = render_init(&inputs).unwrap();
    let secrets = [inputs.tokens[0].token.expose(), inputs.certificate_key.unwrap().expose()];
    let mut unmasked = rendered.masked.clone();
    for secret in &secrets {
        assert!(!rendered.masked.contains(secret.expose()));
        unmasked = unmasked.replacen("[redacted]", secret.expose(), 1);
    }
    // In the file the key comes after the token, as in `secrets`.
    assert_eq!(unmasked, rendered.file.expose());
    assert!(!format!("{rendered:?}").contains(secrets[0].expose()));

    let rendered = render_join(&join_control_plane("v1.36.2")).unwrap();
    assert_eq!(rendered.masked.matches("[redacted]").count(), 3);
}

#[test]
fn skipped_phases_are_ours_and_theirs() {
    let mut inputs = init("v1.21.14");
    inputs.skip_phases = vec!["addon".into()];
    inputs.extra.init = json!({ "skipPhases": ["mark-control-plane", "addon"] });
    assert_eq!(render_init(&inputs).unwrap().skip_phases, ["addon", "mark-control-plane"]);
}

#[test]
fn taints_left_to_kubeadm_and_no_taints_are_different_files() {
    let mut inputs = join_worker("v1.36.2");
    inputs.extra.join = Value::Null;
    inputs.node.taints = Taints::Default;
    assert_eq!(documents(&render_join(&inputs).unwrap())[0]["nodeRegistration"].get("taints"), None);
    inputs.node.taints = Taints::Exactly(vec![]);
    assert_eq!(documents(&render_join(&inputs).unwrap())[0]["nodeRegistration"]["taints"], json!([]));
}

#[test]
fn discovery_by_token_needs_a_pin_or_the_word_of_an_operator() {
    let mut inputs = join_control_plane("v1.36.2");
    let Discovery::Token { pins, .. } = &mut inputs.discovery else { panic!() };
    pins.clear();
    assert_eq!(render_join(&inputs).unwrap_err(), ConfigError::Unpinned);
    let Discovery::Token { unsafe_skip, .. } = &mut inputs.discovery else { panic!() };
    *unsafe_skip = true;
    let tree = &documents(&render_join(&inputs).unwrap())[0]["discovery"]["bootstrapToken"];
    assert_eq!(tree["unsafeSkipCAVerification"], true);
    assert_eq!(tree.get("caCertHashes"), None);
}

#[test]
fn a_token_of_digits_stays_text() {
    let mut inputs = join_worker("v1.36.2");
    inputs.tls_bootstrap_token = Some(crate::kubeadm::token::BootstrapToken::parse("123456.0123456789012345").unwrap());
    let tree = &documents(&render_join(&inputs).unwrap())[0];
    assert_eq!(tree["discovery"]["tlsBootstrapToken"], "123456.0123456789012345");
}

type Change = fn(&mut InitInputs);

#[test]
fn inputs_that_kubeadm_would_refuse_or_widen_are_refused_here() {
    let cases: [(Change, ConfigError); 7] = [
        (|i| i.node.name = "Node_1".into(), ConfigError::NodeName("Node_1".into())),
        (
            |i| i.networking.pod_subnet = Some("10.244.0.0".into()),
            ConfigError::Subnet { field: "podSubnet", value: "10.244.0.0".into() },
        ),
        (|i| i.networking.dns_domain = Some("a b".into()), ConfigError::DnsDomain("a b".into())),
        (
            |i| i.certificates_dir = "pki".into(),
            ConfigError::RelativePath { field: "certificatesDir", value: "pki".into() },
        ),
        (|i| i.tokens = vec![i.tokens[0].clone(); 9], ConfigError::TooManyTokens { found: 9 }),
        (|i| i.tokens[0].usages.authentication = false, ConfigError::TokenRights { id: "abcdef".into() }),
        (|i| i.tokens[0].groups.clear(), ConfigError::TokenRights { id: "abcdef".into() }),
    ];
    for (change, error) in cases {
        let mut inputs = init("v1.36.2");
        change(&mut inputs);
        assert_eq!(render_init(&inputs).unwrap_err(), error);
    }
    let mut inputs = join_worker("v1.36.2");
    inputs.discovery = Discovery::File { path: "discovery.conf".into() };
    assert!(matches!(render_join(&inputs), Err(ConfigError::RelativePath { .. })));
    inputs.discovery = Discovery::File { path: "https://muster.prod/discovery.conf".into() };
    assert!(render_join(&inputs).is_ok());
}

#[test]
fn p384_is_refused_where_kubeadm_does_not_know_it_and_unsaid_where_no_field_exists() {
    let render = |text: &str| {
        let mut inputs = init(text);
        inputs.key_algorithm = KeyAlgorithm::EcdsaP384;
        render_init(&inputs)
    };
    assert_eq!(documents(&render("v1.34.0").unwrap())[1]["encryptionAlgorithm"], "ECDSA-P384");
    let error = ConfigError::KeyAlgorithm { version: version("v1.33.1"), algorithm: "ECDSA-P384" };
    assert_eq!(render("v1.33.1").unwrap_err(), error);
    assert_eq!(documents(&render("v1.30.1").unwrap())[1].get("encryptionAlgorithm"), None);
}

#[test]
fn a_cluster_files_fields_that_do_not_fit_stop_the_rendering() {
    let mut inputs = join_worker("v1.36.2");
    inputs.extra.cluster = json!({ "clusterName": "x" });
    assert!(matches!(render_join(&inputs), Err(ConfigError::Extra(_))));
}
