//! Taints as people write them: `key=value:Effect`, or `key:Effect`, as `kubectl taint` has it.

use std::str::FromStr;

use super::inputs::Taint;
use crate::kubeadm::labels;

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// What is no taint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no taint; write it like dedicated=gpu:NoSchedule (or PreferNoSchedule, NoExecute)")]
pub struct TaintError(String);

impl Taint {
    /// kubeadm's own on control planes.
    #[must_use]
    pub fn of_control_planes() -> Self {
        Self { key: "node-role.kubernetes.io/control-plane".into(), value: None, effect: "NoSchedule".into() }
    }
}

impl FromStr for Taint {
    type Err = TaintError;

    fn from_str(text: &str) -> Result<Self, TaintError> {
        let bad = || TaintError(text.to_owned());
        let (what, effect) = text.rsplit_once(':').ok_or_else(bad)?;
        let (key, value) = what.split_once('=').map_or((what, None), |(key, value)| (key, Some(value)));
        if EFFECTS.contains(&effect) && labels::is_key(key) && value.is_none_or(labels::is_value) {
            let value = value.filter(|value| !value.is_empty()).map(str::to_owned);
            return Ok(Self { key: key.to_owned(), value, effect: effect.to_owned() });
        }
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_read_as_kubectl_reads_them() {
        let taint = |key: &str, value: Option<&str>, effect: &str| Taint {
            key: key.into(),
            value: value.map(str::to_owned),
            effect: effect.into(),
        };
        assert_eq!("dedicated=gpu:NoSchedule".parse(), Ok(taint("dedicated", Some("gpu"), "NoSchedule")));
        assert_eq!("example.com/x:NoExecute".parse(), Ok(taint("example.com/x", None, "NoExecute")));
        assert_eq!("x=:PreferNoSchedule".parse(), Ok(taint("x", None, "PreferNoSchedule")));
        for bad in [
            "",
            "x",
            "x:Never",
            ":NoSchedule",
            "a b:NoSchedule",
            "x=a,b:NoSchedule",
            "X Y/z:NoSchedule",
            "-x:NoSchedule",
        ] {
            assert!(bad.parse::<Taint>().is_err(), "{bad}");
        }
    }
}
