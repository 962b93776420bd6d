//! A cluster file's own kubeadm fields, and whether they fit.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

use super::schema::{self, Field, Shape};
use crate::kubeadm::certs_secret::EtcdTopology;
use crate::kubeadm::version::{ConfigApi, KubernetesVersion};

/// The `kubeadm: {init, cluster, join, kubelet}` fields of a cluster file, merged into what Muster renders. Each is an
/// object, or absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Extra {
    /// Fields of `InitConfiguration`.
    pub init: Value,
    /// Fields of `ClusterConfiguration`.
    pub cluster: Value,
    /// Fields of `JoinConfiguration`.
    pub join: Value,
    /// Fields of `KubeletConfiguration`, for the whole cluster.
    pub kubelet: Value,
}

impl Extra {
    /// Where the cluster's etcd runs according to these fields.
    pub fn etcd_topology(&self) -> EtcdTopology {
        match self.cluster["etcd"]["external"].is_null() {
            true => EtcdTopology::Stacked,
            false => EtcdTopology::External,
        }
    }
}

/// A field that cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraProblem {
    /// Its path from `kubeadm:` on, such as `init.nodeRegistration.name`.
    pub path: String,
    /// What is wrong with it, without a full stop.
    pub reason: String,
}

/// All that is wrong with a cluster file's own fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraProblems(pub Vec<ExtraProblem>);

impl fmt::Display for ExtraProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}kubeadm.{}: {}", problem.path, problem.reason)?;
        }
        Ok(())
    }
}

impl std::error::Error for ExtraProblems {}

/// Checks a cluster file's own fields for a Kubernetes version: unknown fields, fields of another API, wrong shapes,
/// and fields that Muster owns. All problems are reported at once.
pub fn validate_extra(version: &KubernetesVersion, extra: &Extra) -> Result<(), ExtraProblems> {
    check(version.config_api(), version, extra)
}

/// As `validate_extra`, for a given API.
pub(super) fn check(api: ConfigApi, version: &KubernetesVersion, extra: &Extra) -> Result<(), ExtraProblems> {
    let mut check = Check { api, version, problems: Vec::new() };
    for (section, tree, fields) in [
        ("init", &extra.init, schema::INIT),
        ("cluster", &extra.cluster, schema::CLUSTER),
        ("join", &extra.join, schema::JOIN),
        ("kubelet", &extra.kubelet, schema::KUBELET),
    ] {
        check.tree(section, tree, fields);
    }
    match check.problems.is_empty() {
        true => Ok(()),
        false => Err(ExtraProblems(check.problems)),
    }
}

struct Check<'a> {
    api: ConfigApi,
    version: &'a KubernetesVersion,
    problems: Vec<ExtraProblem>,
}

impl Check<'_> {
    fn problem(&mut self, path: &str, reason: impl Into<String>) {
        self.problems.push(ExtraProblem { path: path.to_owned(), reason: reason.into() });
    }

    fn tree(&mut self, path: &str, value: &Value, fields: &'static [Field]) {
        match value {
            Value::Null => {}
            Value::Object(tree) => self.fields(path, tree, fields),
            _ => self.problem(path, "must be an object"),
        }
    }

    fn fields(&mut self, path: &str, tree: &Map<String, Value>, fields: &'static [Field]) {
        for (name, value) in tree {
            let path = format!("{path}.{name}");
            match schema::find(fields, name) {
                None => self.problem(&path, unknown(fields, name)),
                Some(field) => match self.availability(field) {
                    Some(reason) => self.problem(&path, reason),
                    // As in kubeadm's own files, null is the same as absent.
                    None if value.is_null() => {}
                    None => self.shape(&path, value, field.shape),
                },
            }
        }
    }

    /// Why the target does not have a field that another version has.
    fn availability(&self, field: &Field) -> Option<String> {
        let target = format!("{} (Kubernetes {})", self.api.api_version(), self.version);
        if matches!(field.shape, Shape::Owned(_)) {
            return None;
        }
        if self.api < field.from {
            let first = field.from.first_minor();
            return Some(format!("{target} has no such field, it exists from Kubernetes 1.{first}"));
        }
        if self.version.minor() < field.since_minor {
            return Some(format!("{target} has no such field, it exists from Kubernetes 1.{}", field.since_minor));
        }
        (self.api > field.until)
            .then(|| format!("{target} has no such field, it ended with {}", field.until.api_version()))
    }

    fn shape(&mut self, path: &str, value: &Value, shape: Shape) {
        match shape {
            Shape::Owned(reason) => self.problem(path, format!("cannot be set here: {reason}")),
            Shape::Open => {}
            Shape::Text => self.expect(path, value.is_string(), "text (put it in quotes)"),
            Shape::Flag => self.expect(path, value.is_boolean(), "true or false"),
            Shape::Duration => {
                let fits = value.as_str().is_some_and(is_go_duration);
                self.expect(path, fits, "a duration such as 1h30m0s");
            }
            Shape::Texts | Shape::Union => {
                let texts = value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
                self.expect(path, texts, "a list of text");
            }
            Shape::Gates => {
                let gates = value.as_object().is_some_and(|map| map.values().all(Value::is_boolean));
                self.expect(path, gates, "names with true or false");
            }
            Shape::Args(owned) => self.args(path, value, owned),
            Shape::Tree(fields) => self.tree(path, value, fields),
            Shape::Trees(fields) => match value.as_array() {
                None => self.problem(path, "must be a list"),
                Some(items) => items.iter().enumerate().for_each(|(index, item)| {
                    let path = format!("{path}[{index}]");
                    match item.is_object() {
                        true => self.tree(&path, item, fields),
                        false => self.problem(&path, "must be an object"),
                    }
                }),
            },
        }
    }

    fn expect(&mut self, path: &str, fits: bool, what: &str) {
        if !fits {
            self.problem(path, format!("must be {what}"));
        }
    }

    fn args(&mut self, path: &str, value: &Value, owned: &[(&str, &str)]) {
        let Some(args) = read_args(value) else {
            return self.problem(path, "must be a list of {name, value}, or names with values, which are text");
        };
        for arg in args {
            let name = arg.name.trim_start_matches('-');
            if name.is_empty() || name.len() != arg.name.len() {
                self.problem(path, format!("{:?} must be a flag's name without dashes before it", arg.name));
            } else if let Some((_, reason)) = owned.iter().find(|(owned, _)| *owned == name) {
                self.problem(&format!("{path}.{name}"), format!("cannot be set here: {reason}"));
            }
        }
    }
}

/// An argument of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arg {
    pub(super) name: String,
    pub(super) value: String,
}

/// Arguments in either shape: the newest API's list, or the earlier map. `None` if neither. Numbers and flags are taken
/// as their text, except fractions, whose text is not certain.
pub(super) fn read_args(value: &Value) -> Option<Vec<Arg>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    };
    match value {
        Value::Object(map) => {
            map.iter().map(|(name, value)| Some(Arg { name: name.clone(), value: text(value)? })).collect()
        }
        Value::Array(list) => list
            .iter()
            .map(|item| match item.as_object() {
                Some(item) if item.len() == 2 => {
                    Some(Arg { name: item.get("name")?.as_str()?.to_owned(), value: text(item.get("value")?)? })
                }
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn unknown(fields: &[Field], name: &str) -> String {
    match fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)) {
        Some(field) => format!("unknown field, did you mean {}?", field.name),
        None => "unknown field".to_owned(),
    }
}

/// Whether Go's `time.ParseDuration` takes it; negative ones make no sense here and are refused.
fn is_go_duration(text: &str) -> bool {
    const UNITS: [&str; 7] = ["ns", "us", "µs", "ms", "h", "m", "s"];
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (digits, after) = rest.split_at(number);
        let dots = digits.bytes().filter(|b| *b == b'.').count();
        let unit = UNITS.iter().find(|unit| after.starts_with(**unit));
        match unit {
            Some(unit) if dots <= 1 && digits.len() > dots => rest = &after[unit.len()..],
            _ => return false,
        }
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests;
