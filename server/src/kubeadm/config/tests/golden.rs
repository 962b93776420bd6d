//! Rendered files, frozen: a change here changes what every machine boots with. They lie in `config/golden/`.
//!
//! After an intended change, run these tests with `UPDATE_GOLDEN=1` and read the difference.

use std::path::PathBuf;

use super::super::*;
use super::fixtures::{init, join_control_plane, join_worker};

/// One version of Kubernetes for each API.
const VERSIONS: [(&str, &str); 3] = [("v1beta2", "v1.21.14"), ("v1beta3", "v1.30.4"), ("v1beta4", "v1.36.2")];

fn check(name: &str, rendered: Result<Rendered, ConfigError>) {
    let found = rendered.unwrap().file;
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/kubeadm/config/golden").join(name);
    #[expect(clippy::disallowed_methods, reason = "a switch for whoever runs the tests")]
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    if update {
        std::fs::write(&path, found.expose()).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(found.expose(), expected, "{name}");
}

#[test]
fn init_files_are_as_frozen() {
    for (api, version) in VERSIONS {
        check(&format!("init-{api}.yaml"), render_init(&init(version)));
    }
}

#[test]
fn worker_join_files_are_as_frozen() {
    for (api, version) in VERSIONS {
        check(&format!("join-worker-{api}.yaml"), render_join(&join_worker(version)));
    }
}

#[test]
fn control_plane_join_files_are_as_frozen() {
    for (api, version) in VERSIONS {
        check(&format!("join-control-plane-{api}.yaml"), render_join(&join_control_plane(version)));
    }
}
