//! Reads the golden vectors that genuine kubeadm produced (`tests/vectors/README.md`).

use serde_json::Value;
use std::path::PathBuf;

/// The path of a vector, relative to `tests/vectors`.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name)
}

/// A vector's bytes.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A vector as text.
pub(crate) fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).expect("vectors are UTF-8")
}

/// A one-document YAML vector as a tree.
pub(crate) fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A JSON vector as a tree.
pub(crate) fn json(name: &str) -> Value {
    serde_json::from_slice(&bytes(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
