//! kubeadm's arguments. No secret is ever among them: secrets are in the files that they name.

use crate::instruction::Verb;

/// What is left for later when a control plane prepares: all that needs etcd or the own API server.
const PREPARE_SKIPS: &[&str] = &["etcd-join", "kubelet-wait-bootstrap", "control-plane-join", "wait-control-plane"];

/// What is done already when a control plane finishes.
const FINISH_SKIPS: &[&str] = &["preflight", "control-plane-prepare", "check-etcd", "kubelet-start", "etcd-join"];

/// Arguments of the call for one of the verbs that make a member; `None` for the others. `theirs` are the phases that the
/// configuration skips by itself: kubeadm forgets them when the flag is given, so the flag has both.
pub fn join_arguments(verb: Verb, config: &str, theirs: &[String]) -> Option<Vec<String>> {
    let (words, ours): (&[&str], &[&str]) = match verb {
        Verb::Init => (&["init"], &[]),
        Verb::JoinPrepare => (&["join"], PREPARE_SKIPS),
        Verb::JoinEtcd => (&["join", "phase", "etcd-join"], &[]),
        Verb::JoinFinish => (&["join"], FINISH_SKIPS),
        Verb::JoinWhole | Verb::JoinWorker => (&["join"], &[]),
        Verb::WaitReady
        | Verb::Reset
        | Verb::Apply
        | Verb::Delete
        | Verb::UploadCerts
        | Verb::ListEtcdMembers
        | Verb::ObserveRequests
        | Verb::ConcludeRequests => {
            return None;
        }
    };
    let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    arguments.extend(["--config".to_owned(), config.to_owned()]);
    if verb == Verb::Init {
        arguments.extend(["--upload-certs", "--skip-token-print", "--skip-certificate-key-print"].map(str::to_owned));
    }
    if !ours.is_empty() {
        let mut skips: Vec<&str> = ours.to_vec();
        skips.extend(theirs.iter().map(String::as_str).filter(|phase| !ours.contains(phase)));
        arguments.push(format!("--skip-phases={}", skips.join(",")));
    }
    Some(arguments)
}

/// Arguments that upload the certificates of control planes under the key in the configuration.
pub fn upload_certs(config: &str) -> Vec<String> {
    ["init", "phase", "upload-certs", "--upload-certs", "--config", config, "--skip-certificate-key-print"]
        .map(str::to_owned)
        .to_vec()
}

/// The phases of `kubeadm init` after the control plane answers, one call each; every one may be repeated. `theirs` are the
/// phases that the configuration skips.
pub fn init_remainder(config: &str, theirs: &[String]) -> Vec<Vec<String>> {
    let phase = |words: &[&str]| -> Vec<String> {
        ["init", "phase"].iter().chain(words).chain(&["--config", config]).map(|word| (*word).to_owned()).collect()
    };
    let skipped = |name: &str| theirs.iter().any(|phase| phase == name);
    let mut calls = Vec::new();
    let rows: [(&str, &[&str]); 7] = [
        ("upload-config", &["upload-config", "all"]),
        ("upload-certs", &["upload-certs", "--upload-certs", "--skip-certificate-key-print"]),
        ("mark-control-plane", &["mark-control-plane"]),
        ("bootstrap-token", &["bootstrap-token", "--skip-token-print"]),
        ("kubelet-finalize", &["kubelet-finalize", "all"]),
        ("addon/coredns", &["addon", "coredns"]),
        ("addon/kube-proxy", &["addon", "kube-proxy"]),
    ];
    for (name, words) in rows {
        let parent = name.split('/').next().unwrap_or(name);
        if !skipped(name) && !skipped(parent) {
            calls.push(phase(words));
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    const F: &str = "/etc/muster/kubeadm.yaml";

    fn line(verb: Verb, theirs: &[&str]) -> String {
        let theirs: Vec<String> = theirs.iter().map(|phase| (*phase).to_owned()).collect();
        join_arguments(verb, F, &theirs).unwrap().join(" ")
    }

    #[test]
    fn each_verb_has_the_call_that_was_seen_to_work() {
        let table = [
            (Verb::Init, "init --config F --upload-certs --skip-token-print --skip-certificate-key-print"),
            (
                Verb::JoinPrepare,
                "join --config F --skip-phases=etcd-join,kubelet-wait-bootstrap,control-plane-join,wait-control-plane",
            ),
            (Verb::JoinEtcd, "join phase etcd-join --config F"),
            (
                Verb::JoinFinish,
                "join --config F --skip-phases=preflight,control-plane-prepare,check-etcd,kubelet-start,etcd-join",
            ),
            (Verb::JoinWhole, "join --config F"),
            (Verb::JoinWorker, "join --config F"),
        ];
        for (verb, expected) in table {
            assert_eq!(line(verb, &[]), expected.replace('F', F), "{verb:?}");
        }
        for verb in Verb::ALL {
            assert_eq!(join_arguments(verb, F, &[]).is_some(), verb.makes_member(), "{verb:?}");
        }
    }

    #[test]
    fn phases_that_the_configuration_skips_are_repeated_when_the_flag_is_given() {
        let line = line(Verb::JoinFinish, &["preflight", "control-plane-join/mark-control-plane"]);
        assert!(line.ends_with("etcd-join,control-plane-join/mark-control-plane"), "{line}");
        assert_eq!(line.matches("preflight").count(), 1);
    }

    #[test]
    fn without_phases_of_ours_the_flag_is_absent_so_that_the_configuration_counts() {
        assert!(!line(Verb::JoinWorker, &["preflight"]).contains("--skip-phases"));
    }

    #[test]
    fn the_remainder_of_an_init_leaves_out_what_the_configuration_skips() {
        let all = init_remainder(F, &[]);
        assert_eq!(all.len(), 7);
        assert!(all.iter().all(|call| call.ends_with(&["--config".to_owned(), F.to_owned()])));
        let names = |theirs: &[&str]| -> Vec<String> {
            let theirs: Vec<String> = theirs.iter().map(|phase| (*phase).to_owned()).collect();
            init_remainder(F, &theirs).into_iter().map(|call| call[2..].join(" ")).collect()
        };
        assert!(!names(&["addon"]).iter().any(|call| call.starts_with("addon")));
        assert!(!names(&["addon/kube-proxy"]).iter().any(|call| call.contains("kube-proxy")));
    }
}
