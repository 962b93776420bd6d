//! The machine interface: a protobuf message in canonical JSON, named by `apiVersion` and `kind`.

use serde::Serialize;

use crate::cli::exit::{Exit, Failure};

/// Version of what `-o json` and `-o yaml` print.
const API_VERSION: &str = "muster/v1";

/// A message under its kind. A message that has a field `kind` of its own (tokens, permits) goes in its list, where the
/// two cannot be taken for one another.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Document<'a, T> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    message: &'a T,
}

impl<'a, T> Document<'a, T> {
    /// `message` as a `kind`.
    pub(in crate::cli) fn new(kind: &'static str, message: &'a T) -> Self {
        Self { api_version: API_VERSION, kind, message }
    }
}

/// For people and `jq`.
pub(in crate::cli) fn json_pretty(document: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(document).map_err(|error| unwritable(&error))
}

/// One line, for streams.
pub(in crate::cli) fn json_line(document: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(document).map_err(|error| unwritable(&error))
}

/// YAML with the same content.
pub(in crate::cli) fn yaml(document: &impl Serialize) -> Result<String, Failure> {
    // By way of JSON, because that is what the protobuf mapping is defined for.
    let value = serde_json::to_value(document).map_err(|error| unwritable(&error))?;
    serde_saphyr::to_string(&value).map_err(|error| unwritable(&error))
}

fn unwritable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("the answer cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use muster_proto::admin::v1::{Cluster, Permit, PermitList};

    use super::*;

    fn mk_permits() -> PermitList {
        let permit = Permit {
            cluster: "prod".into(),
            kind: "etcd-join".into(),
            waiting: vec!["cp2".into(), "on".into()],
            since: Some(muster_proto::Timestamp { seconds: 1_795_348_800, nanos: 0 }),
            grants: 2,
            ..Permit::default()
        };
        PermitList { items: vec![permit] }
    }

    #[test]
    fn json_starts_with_version_and_kind_and_is_canonical() {
        assert_eq!(
            json_line(&Document::new("PermitList", &mk_permits())).unwrap(),
            concat!(
                r#"{"apiVersion":"muster/v1","kind":"PermitList","items":[{"cluster":"prod","kind":"etcd-join","#,
                r#""since":"2026-11-22T12:00:00+00:00","waiting":["cp2","on"],"grants":"2"}]}"#
            )
        );
    }

    #[test]
    fn defaults_are_left_out() {
        let cluster = Cluster { id: "c1".into(), workers_wanted: 8, ..Cluster::default() };
        assert_eq!(
            json_line(&Document::new("Cluster", &cluster)).unwrap(),
            r#"{"apiVersion":"muster/v1","kind":"Cluster","id":"c1","workersWanted":8}"#
        );
    }

    #[test]
    fn yaml_says_the_same_and_quotes_what_would_be_read_otherwise() {
        let text = yaml(&Document::new("PermitList", &mk_permits())).unwrap();
        let back: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, serde_json::to_value(Document::new("PermitList", &mk_permits())).unwrap());
        assert!(text.starts_with("apiVersion: muster/v1\n"), "{text}");
    }
}
