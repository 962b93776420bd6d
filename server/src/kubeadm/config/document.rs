//! From trees to YAML text.

use serde_json::{Map, Value, json};
use std::time::Duration;

use super::schema::Field;
use super::{ConfigError, Rendered, merge};
use crate::kubeadm::version::ConfigApi;
use crate::seal::SecretText;

/// What people see in place of a secret.
const MASK: &str = "[redacted]";

/// One document of a file, being put together.
pub(super) struct Document {
    pub(super) tree: Map<String, Value>,
    section: &'static str,
    fields: &'static [Field],
}

impl Document {
    /// A document of kubeadm's. `section` is its name in the cluster file.
    pub(super) fn new(section: &'static str, api_version: &str, kind: &str, fields: &'static [Field]) -> Self {
        let mut tree = Map::new();
        tree.insert("apiVersion".to_owned(), api_version.into());
        tree.insert("kind".to_owned(), kind.into());
        Self { tree, section, fields }
    }

    /// Sets a field, unless there is nothing to say.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Option<Value>>) {
        set(&mut self.tree, name, value);
    }

    /// Merges a cluster file's fields in and takes the result down to the target's shapes.
    pub(super) fn finish(mut self, extra: &Value, api: ConfigApi) -> Result<Map<String, Value>, ConfigError> {
        merge::merge(&mut self.tree, extra, self.fields);
        merge::take_down(&mut self.tree, self.fields, api, self.section)?;
        Ok(self.tree)
    }
}

/// Sets a field of a tree, unless there is nothing to say.
pub(super) fn set(tree: &mut Map<String, Value>, name: &str, value: impl Into<Option<Value>>) {
    if let Some(value) = value.into() {
        tree.insert(name.to_owned(), value);
    }
}

/// Takes the merged phases out of a document; they go back in where the API knows them.
pub(super) fn settle_phases(tree: &mut Map<String, Value>, api: ConfigApi) -> Vec<String> {
    let phases = tree.remove("skipPhases").unwrap_or(Value::Null);
    let names = phases.as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<String> = names.map(str::to_owned).collect();
    if api > ConfigApi::V1Beta2 && !names.is_empty() {
        tree.insert("skipPhases".to_owned(), json!(names));
    }
    names
}

/// Writes the documents as one file. Every occurrence of one of `secrets` is masked in the copy for people.
pub(super) fn write(
    documents: Vec<Map<String, Value>>,
    skip_phases: Vec<String>,
    secrets: &[SecretText],
) -> Result<Rendered, ConfigError> {
    let mut texts = Vec::with_capacity(documents.len());
    for tree in documents {
        texts.push(yaml(&tree)?);
    }
    let file = SecretText::from(texts.join("---\n"));
    let masked = secrets.iter().fold(file.expose().to_owned(), |text, secret| text.replace(secret.expose(), MASK));
    Ok(Rendered { file, masked, skip_phases })
}

/// Block style, and no folded text: a reader sees each value on one line. The writer quotes whatever YAML 1.1, which
/// Kubernetes' parser follows, would take for something else than text.
fn yaml(tree: &Map<String, Value>) -> Result<String, ConfigError> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(tree, options).map_err(|error| ConfigError::Yaml(error.to_string()))
}

/// Go's form of a duration, as kubeadm prints it: `1h30m0s`. Fractions of a second are cut off.
pub(super) fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_gos_form() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (240, "4m0s"), (5400, "1h30m0s"), (86_400, "24h0m0s")] {
            assert_eq!(go_duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn text_that_looks_like_something_else_is_quoted() {
        for text in [
            "123456.0123456789012345",
            "1e5",
            "yes",
            "on",
            "null",
            "0x1f",
            "012",
            "1_0",
            "2026-11-22",
            "12:30",
            "~",
            "",
        ] {
            let mut tree = Map::new();
            tree.insert("k".into(), text.into());
            let yaml = yaml(&tree).unwrap();
            assert!(yaml.starts_with("k: \"") || yaml.starts_with("k: '"), "{yaml}");
            let back: Value = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(back["k"], text);
        }
    }

    #[test]
    fn v1beta2_files_have_no_skip_phases_and_the_caller_learns_of_them() {
        let tree = json!({ "skipPhases": ["preflight"] });
        for (api, kept) in [(ConfigApi::V1Beta2, false), (ConfigApi::V1Beta3, true)] {
            let mut tree = tree.as_object().unwrap().clone();
            assert_eq!(settle_phases(&mut tree, api), ["preflight"]);
            assert_eq!(tree.contains_key("skipPhases"), kept);
        }
    }
}
