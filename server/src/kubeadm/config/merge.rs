//! Puts a cluster file's own fields into what Muster renders, and takes the result down to an API's shapes.
//!
//! The fields have been checked before (`extra`), so that what does not fit cannot occur here and is passed over.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::ConfigError;
use super::extra::{Arg, read_args};
use super::schema::{self, Field, Shape};
use crate::kubeadm::version::ConfigApi;

/// Arguments whose value is a comma-separated list of `key=value`, where both sides have something to say.
const LIST_ARGS: [&str; 1] = ["node-labels"];

/// Merges `theirs` into `ours`: theirs wins, objects are merged, phases and similar lists united, arguments merged by
/// name. Null means absent.
pub(super) fn merge(ours: &mut Map<String, Value>, theirs: &Value, fields: &'static [Field]) {
    for (name, value) in theirs.as_object().into_iter().flatten() {
        let Some(field) = schema::find(fields, name) else {
            continue;
        };
        if value.is_null() {
            continue;
        }
        match field.shape {
            Shape::Owned(_) => {}
            Shape::Tree(fields) => {
                let tree = ours.entry(name).or_insert_with(|| json!({}));
                if let Some(tree) = tree.as_object_mut() {
                    merge(tree, value, fields);
                }
            }
            Shape::Union => {
                let united = unite(ours.get(name), value);
                ours.insert(name.clone(), united);
            }
            Shape::Args(_) => {
                let args = |value: Option<&Value>| value.and_then(read_args).unwrap_or_default();
                let merged = merge_args(args(ours.get(name)), args(Some(value)));
                ours.insert(name.clone(), write_args(merged));
            }
            Shape::Text
            | Shape::Flag
            | Shape::Duration
            | Shape::Texts
            | Shape::Gates
            | Shape::Trees(_)
            | Shape::Open => {
                ours.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Both lists without repetition, ours first. `all`, which kubeadm refuses beside other names, stands alone.
fn unite(ours: Option<&Value>, theirs: &Value) -> Value {
    let lists = [ours, Some(theirs)];
    let mut united: Vec<Value> = Vec::new();
    for item in lists.into_iter().flatten().filter_map(Value::as_array).flatten() {
        if !united.contains(item) {
            united.push(item.clone());
        }
    }
    let is_all = |item: &&Value| item.as_str().is_some_and(|text| text.eq_ignore_ascii_case("all"));
    match united.iter().find(is_all) {
        Some(all) => json!([all]),
        None => united.into(),
    }
}

/// Ours that theirs does not name, then theirs; a list argument on both sides gets both contents, theirs last.
fn merge_args(ours: Vec<Arg>, theirs: Vec<Arg>) -> Vec<Arg> {
    let mut merged = Vec::new();
    let mut theirs = theirs;
    for arg in ours {
        match theirs.iter_mut().find(|other| other.name == arg.name) {
            None => merged.push(arg),
            Some(other) if LIST_ARGS.contains(&arg.name.as_str()) => {
                other.value = merge_pairs(&arg.value, &other.value);
            }
            Some(_) => {}
        }
    }
    merged.extend(theirs);
    merged
}

/// `a=1,b=2` and `b=3` to `a=1,b=3`.
fn merge_pairs(ours: &str, theirs: &str) -> String {
    let pairs = ours.split(',').chain(theirs.split(',')).filter(|pair| !pair.is_empty());
    let by_key: BTreeMap<&str, &str> = pairs.map(|pair| (pair.split('=').next().unwrap_or(pair), pair)).collect();
    by_key.into_values().collect::<Vec<_>>().join(",")
}

/// The newest API's shape.
pub(super) fn write_args(args: impl IntoIterator<Item = Arg>) -> Value {
    let list = args.into_iter().map(|arg| json!({ "name": arg.name, "value": arg.value }));
    Value::Array(list.collect())
}

/// Turns lists of arguments into maps where the target's API wants maps. `path` is where the tree stands.
pub(super) fn take_down(
    tree: &mut Map<String, Value>,
    fields: &'static [Field],
    api: ConfigApi,
    path: &str,
) -> Result<(), ConfigError> {
    if api >= ConfigApi::V1Beta4 {
        return Ok(());
    }
    for (name, value) in tree.iter_mut() {
        let path = format!("{path}.{name}");
        match schema::find(fields, name).map(|field| field.shape) {
            Some(Shape::Tree(fields)) => {
                if let Some(tree) = value.as_object_mut() {
                    take_down(tree, fields, api, &path)?;
                }
            }
            Some(Shape::Args(_)) => *value = args_as_map(value, api, &path)?,
            _ => {}
        }
    }
    Ok(())
}

fn args_as_map(value: &Value, api: ConfigApi, path: &str) -> Result<Value, ConfigError> {
    let mut map = Map::new();
    for arg in read_args(value).unwrap_or_default() {
        if map.insert(arg.name.clone(), arg.value.into()).is_some() {
            return Err(ConfigError::RepeatedArgument {
                path: path.to_owned(),
                name: arg.name,
                api: api.api_version(),
            });
        }
    }
    Ok(map.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(ours: Value, theirs: Value, fields: &'static [Field]) -> Value {
        let mut tree = ours.as_object().unwrap().clone();
        merge(&mut tree, &theirs, fields);
        tree.into()
    }

    #[test]
    fn objects_are_merged_and_their_scalars_win() {
        assert_eq!(
            merged(
                json!({ "networking": { "podSubnet": "a", "dnsDomain": "b" } }),
                json!({ "networking": { "podSubnet": "c", "serviceSubnet": null }, "imageRepository": "d" }),
                schema::CLUSTER
            ),
            json!({ "networking": { "podSubnet": "c", "dnsDomain": "b" }, "imageRepository": "d" })
        );
    }

    #[test]
    fn skipped_phases_are_united_and_all_stands_alone() {
        let ours =
            json!({ "skipPhases": ["preflight", "addon"], "nodeRegistration": { "ignorePreflightErrors": ["Swap"] } });
        let theirs =
            json!({ "skipPhases": ["addon", "mark"], "nodeRegistration": { "ignorePreflightErrors": ["All"] } });
        assert_eq!(
            merged(ours, theirs, schema::INIT),
            json!({
                "skipPhases": ["preflight", "addon", "mark"],
                "nodeRegistration": { "ignorePreflightErrors": ["All"] },
            })
        );
    }

    #[test]
    fn arguments_are_merged_by_name_in_either_shape() {
        let ours = json!({ "nodeRegistration": { "kubeletExtraArgs": [
            { "name": "provider-id", "value": "m://1" }, { "name": "node-labels", "value": "a=1,b=2" }, { "name": "v", "value": "1" },
        ] } });
        for theirs in [
            json!({ "node-labels": "b=3,c=4", "v": 2 }),
            json!([{ "name": "node-labels", "value": "b=3,c=4" }, { "name": "v", "value": 2 }]),
        ] {
            let theirs = json!({ "nodeRegistration": { "kubeletExtraArgs": theirs } });
            assert_eq!(
                merged(ours.clone(), theirs, schema::JOIN)["nodeRegistration"]["kubeletExtraArgs"],
                json!([
                    { "name": "provider-id", "value": "m://1" },
                    { "name": "node-labels", "value": "a=1,b=3,c=4" },
                    { "name": "v", "value": "2" },
                ])
            );
        }
    }

    #[test]
    fn what_is_owned_is_not_merged_even_if_it_got_here() {
        let ours = json!({ "clusterName": "ours" });
        assert_eq!(merged(ours.clone(), json!({ "clusterName": "theirs" }), schema::CLUSTER), ours);
    }

    #[test]
    fn lists_become_maps_before_v1beta4_and_repetitions_are_refused() {
        let tree = json!({ "etcd": { "local": { "extraArgs": [{ "name": "a", "value": "1" }, { "name": "b", "value": "2" }] } } });
        let mut map = tree.as_object().unwrap().clone();
        take_down(&mut map, schema::CLUSTER, ConfigApi::V1Beta4, "cluster").unwrap();
        assert_eq!(Value::from(map.clone()), tree);
        take_down(&mut map, schema::CLUSTER, ConfigApi::V1Beta3, "cluster").unwrap();
        assert_eq!(map["etcd"]["local"]["extraArgs"], json!({ "a": "1", "b": "2" }));

        let tree =
            json!({ "scheduler": { "extraArgs": [{ "name": "a", "value": "1" }, { "name": "a", "value": "2" }] } });
        let mut map = tree.as_object().unwrap().clone();
        assert_eq!(
            take_down(&mut map, schema::CLUSTER, ConfigApi::V1Beta2, "cluster").unwrap_err().to_string(),
            "cluster.scheduler.extraArgs: \"a\" is given more than once, which kubeadm.k8s.io/v1beta2 cannot express"
        );
    }
}
