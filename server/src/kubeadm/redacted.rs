//! Carrier for manifests that hold a secret: no readable `Debug`, no `Display`, wiped when dropped.

use serde_json::Value;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// A Kubernetes object with a secret in it, ready for `kubectl apply -f -` or an API client.
#[derive(Clone, PartialEq)]
pub struct SecretManifest(Value);

impl SecretManifest {
    /// Takes the object over.
    pub(crate) fn new(object: Value) -> Self {
        Self(object)
    }

    /// The object itself. Never log or put on a command line what this returns.
    pub fn expose(&self) -> &Value {
        &self.0
    }

    /// The object as JSON, for the body of a call.
    pub fn to_body(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.to_string().into_bytes())
    }

    /// `metadata.name`, which is no secret and fit for messages.
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }
}

impl fmt::Debug for SecretManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretManifest({}, [redacted])", self.name())
    }
}

impl Drop for SecretManifest {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Wipes every text in a tree. The nesting is that of manifests made here, so the recursion is shallow.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::SecretText;
    use serde_json::json;

    #[test]
    fn debug_shows_no_secret() {
        let text = SecretText::from("s3cret".to_owned());
        let manifest = SecretManifest::new(json!({"metadata": {"name": "n"}, "data": {"k": "s3cret"}}));
        assert!(!format!("{text:?}{manifest:?}").contains("s3cret"));
        assert_eq!(manifest.name(), "n");
    }

    #[test]
    fn every_text_of_a_tree_is_wiped() {
        let mut tree = json!({"a": ["x", {"b": "y"}], "c": 1});
        wipe(&mut tree);
        assert_eq!(tree, json!({"a": ["", {"b": ""}], "c": 1}));
    }
}
