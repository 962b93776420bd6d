//! Reads kubeadm's phases off its output.

/// Words in brackets that are no phase of their own: remarks within another one.
const REMARKS: &[&str] = &["patches", "kubelet", "kubelet-check", "control-plane-check", "apiclient", "init"];

/// The phase that kubeadm enters with this line, e.g. `etcd` in `[etcd] Creating static Pod manifest for "etcd"`.
pub fn phase_of(line: &str) -> Option<&str> {
    let (word, rest) = line.strip_prefix('[')?.split_once(']')?;
    let named = (2..=32).contains(&word.len()) && word.bytes().all(|c| c.is_ascii_lowercase() || c == b'-');
    (named && rest.starts_with(' ') && !REMARKS.contains(&word)).then_some(word)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn phases(name: &str) -> Vec<String> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/transcripts").join(name);
        let mut phases: Vec<String> =
            fs::read_to_string(path).unwrap().lines().filter_map(phase_of).map(str::to_owned).collect();
        phases.dedup();
        phases
    }

    #[test]
    fn the_phases_of_a_recorded_worker_join_are_read() {
        assert_eq!(phases("ok-join-config-file.out"), ["preflight", "kubelet-start"]);
    }

    #[test]
    fn the_phases_of_a_recorded_control_plane_join_are_read_in_order() {
        assert_eq!(
            phases("ok-control-plane-rejoin-after-member-removed.out"),
            [
                "preflight",
                "download-certs",
                "certs",
                "kubeconfig",
                "control-plane",
                "check-etcd",
                "kubelet-start",
                "etcd",
                "kubelet-start",
                "mark-control-plane"
            ]
        );
    }

    #[test]
    fn lines_that_name_no_phase_are_passed_over() {
        for line in ["", "[", "[]", "[ERROR Port-10250]: taken", "I1122 [preflight] x", "[kubelet-check] y", "[a b] c"]
        {
            assert_eq!(phase_of(line), None, "{line}");
        }
    }
}
