use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::*;

fn transcripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/transcripts")
}

/// Both streams of every recorded run, by its name.
fn recorded() -> BTreeMap<String, String> {
    let mut runs = BTreeMap::<String, String>::new();
    for entry in fs::read_dir(transcripts()).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.extension().unwrap().to_str().unwrap();
        if ["out", "err", "txt"].contains(&kind) {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let run = runs.entry(name).or_default();
            // Standard error ends with the error, so it goes last.
            *run = if kind == "err" { format!("{run}{text}") } else { format!("{text}{run}") };
        }
    }
    runs
}

const EXPECTED: &[(&str, Cause)] = &[
    ("fail-already-joined", Cause::AlreadyJoined),
    ("fail-api-connection-refused-default-timeout", Cause::ApiServerUnreachable),
    ("fail-api-no-route-default-timeout", Cause::ApiServerUnreachable),
    ("fail-ca-hash-mismatch", Cause::PinMismatch),
    ("fail-certificate-key-expired-secret-gone", Cause::CertificateKeyGone),
    ("fail-certificate-key-nothex", Cause::MalformedCertificateKey),
    ("fail-certificate-key-short", Cause::MalformedCertificateKey),
    ("fail-cgroup-v1-preflight", Cause::SystemVerification),
    ("fail-config-v1beta2", Cause::InvalidConfiguration),
    ("fail-control-plane-no-stable-endpoint", Cause::NoStableEndpoint),
    ("fail-control-plane-rejoin-reimaged-with-stale-etcd-member", Cause::LearnerNotInSync),
    ("fail-control-plane-without-certificate-key", Cause::CertificatesMissing),
    ("fail-csr-not-approved-tlsbootstrap-30s", Cause::CsrNotApproved),
    ("fail-discovery-file-and-token", Cause::InvalidConfiguration),
    ("fail-discovery-file-no-credentials", Cause::InvalidConfiguration),
    ("fail-hash-malformed", Cause::MalformedPin),
    ("fail-hash-no-prefix", Cause::MalformedPin),
    ("fail-image-pull-v5", Cause::ImagePull),
    ("fail-kubelet-does-not-start-30s", Cause::KubeletUnhealthy),
    ("fail-mixed-config-and-flags", Cause::InvalidConfiguration),
    ("fail-no-hash-no-unsafe-flag", Cause::InvalidConfiguration),
    ("fail-no-token", Cause::MalformedToken),
    ("fail-node-name-exists-ready", Cause::NameTaken),
    ("fail-token-auth-only-no-signing", Cause::TokenExpired),
    ("fail-token-malformed", Cause::MalformedToken),
    ("fail-token-signing-only-no-auth", Cause::TokenRejected),
    ("fail-token-unknown-or-expired-default-timeout", Cause::TokenExpired),
    ("fail-token-wrong-secret", Cause::TokenRejected),
    ("fail-upload-certs-external-ca", Cause::ExternalCa),
];

#[test]
fn every_recorded_failure_has_its_cause() {
    let runs = recorded();
    let failed: Vec<&str> = runs.keys().map(String::as_str).filter(|name| name.starts_with("fail-")).collect();
    let expected: Vec<&str> = EXPECTED.iter().map(|(name, _)| *name).collect();
    assert_eq!(failed, expected, "every recorded failure has a row");
    for (name, cause) in EXPECTED {
        let diagnosis = diagnose(runs[*name].lines()).unwrap_or_else(|| panic!("{name}: no error found"));
        assert_eq!(diagnosis.cause, *cause, "{name}: {}", diagnosis.message);
        assert!(!diagnosis.message.is_empty() && diagnosis.message.len() < 4096, "{name}");
    }
}

#[test]
fn no_recorded_success_has_a_cause() {
    let mut seen = 0;
    for (name, output) in recorded().iter().filter(|(name, _)| name.starts_with("ok-")) {
        assert_eq!(diagnose(output.lines()), None, "{name}");
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} recorded successes were found");
}

#[test]
fn only_a_failure_in_the_checks_leaves_the_machine_untouched() {
    let runs = recorded();
    let untouched = |name: &str| diagnose(runs[name].lines()).unwrap().left_untouched();
    for name in ["fail-already-joined", "fail-ca-hash-mismatch", "fail-mixed-config-and-flags", "fail-no-token"] {
        assert!(untouched(name), "{name}");
    }
    for name in [
        "fail-certificate-key-expired-secret-gone",
        "fail-csr-not-approved-tlsbootstrap-30s",
        "fail-node-name-exists-ready",
        "fail-control-plane-rejoin-reimaged-with-stale-etcd-member",
    ] {
        assert!(!untouched(name), "{name}");
    }
}

#[test]
fn the_message_is_the_error_without_stack_or_advice() {
    let runs = recorded();
    let diagnosis = diagnose(runs["fail-control-plane-rejoin-reimaged-with-stale-etcd-member"].lines()).unwrap();
    assert_eq!(diagnosis.phase.as_deref(), Some("etcd-join"));
    assert_eq!(
        diagnosis.message,
        "error execution phase etcd-join: error creating local etcd static pod manifest file: etcdserver: can only \
         promote a learner member which is in sync with leader"
    );
}

#[test]
fn an_error_of_no_known_kind_is_unknown_and_keeps_its_words() {
    let diagnosis = diagnose(["error: the moon is full"]).unwrap();
    assert_eq!((diagnosis.cause, diagnosis.message.as_str()), (Cause::Unknown, "the moon is full"));
}

#[test]
fn every_cause_has_a_word_of_its_own() {
    let words: std::collections::BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    assert_eq!(words.len(), Cause::ALL.len());
}
