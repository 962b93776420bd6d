//! What a machine claims about itself. Claims select records; they never grant anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Hardware facts as claimed, normalised by the edge (lower case, placeholders dropped).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// SMBIOS system UUID; empty if absent.
    pub uuid: String,
    /// SMBIOS product serial number.
    pub serial: String,
    /// SMBIOS chassis asset tag.
    pub asset: String,
    /// SMBIOS manufacturer.
    pub manufacturer: String,
    /// SMBIOS product name.
    pub product: String,
    /// SMBIOS board serial number.
    pub board_serial: String,
    /// MAC addresses, sorted.
    pub macs: Vec<String>,
    /// The MAC it booted from.
    pub boot_mac: String,
    /// Its host name.
    pub hostname: String,
    /// Its addresses, the one of the default route first.
    pub addresses: Vec<String>,
    /// e.g. `x86_64`.
    pub architecture: String,
    /// Firmware values dropped as placeholders: field and value.
    pub dropped: Vec<(String, String)>,
    /// The role its command line asked for.
    pub wanted_role: String,
    /// The node name its command line asked for.
    pub wanted_node_name: String,
    /// Labels its command line gave.
    pub labels: BTreeMap<String, String>,
    /// Its keys do not survive a reboot.
    pub ephemeral_state: bool,
}

impl Facts {
    /// The same claims within the bounds of the state: lists and texts that are too long are cut, so that a machine
    /// can't fill every server's memory.
    pub fn bounded(mut self) -> Self {
        let texts = [
            &mut self.uuid,
            &mut self.serial,
            &mut self.asset,
            &mut self.manufacturer,
            &mut self.product,
            &mut self.board_serial,
            &mut self.boot_mac,
            &mut self.hostname,
            &mut self.architecture,
            &mut self.wanted_role,
            &mut self.wanted_node_name,
        ];
        texts.into_iter().for_each(cut);
        bound_list(&mut self.macs);
        bound_list(&mut self.addresses);
        self.dropped.truncate(limits::CLAIMS_MAX);
        for (field, value) in &mut self.dropped {
            cut(field);
            cut(value);
        }
        let labels = std::mem::take(&mut self.labels).into_iter().take(limits::CLAIMS_MAX);
        self.labels = labels.map(|(key, value)| (claim(&key), claim(&value))).collect();
        self
    }
}

fn claim(text: &str) -> String {
    limits::clip_to(text, limits::CLAIM_MAX)
}

fn cut(text: &mut String) {
    if text.len() > limits::CLAIM_MAX {
        *text = claim(text);
    }
}

fn bound_list(list: &mut Vec<String>) {
    list.truncate(limits::CLAIMS_MAX);
    list.iter_mut().for_each(cut);
}

/// What the machine looked like before anything was done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preflight {
    /// e.g. `v1.36.2`; empty if not found.
    pub kubeadm_version: String,
    /// e.g. `v1.36.2`; empty if not found.
    pub kubelet_version: String,
    /// e.g. `v1.36.2`; empty if not found.
    pub kubectl_version: String,
    /// e.g. `containerd 2.1.9`.
    pub container_runtime: String,
    /// Path of the CRI socket.
    pub cri_socket: String,
    /// Kernel release.
    pub kernel: String,
    /// Agent's clock minus server's clock when the report came in, milliseconds.
    pub clock_offset_ms: i64,
    /// Swap is on.
    pub swap_on: bool,
    /// TCP ports of Kubernetes in use.
    pub ports_in_use: Vec<u32>,
    /// Paths left from an earlier life.
    pub leftovers: Vec<String>,
    /// Checks that did not pass.
    pub findings: Vec<Finding>,
    /// Its journal says it has joined.
    pub joined: bool,
}

impl Preflight {
    /// The same report within the bounds of the state.
    pub fn bounded(mut self) -> Self {
        let texts = [
            &mut self.kubeadm_version,
            &mut self.kubelet_version,
            &mut self.kubectl_version,
            &mut self.container_runtime,
            &mut self.cri_socket,
            &mut self.kernel,
        ];
        texts.into_iter().for_each(cut);
        bound_list(&mut self.leftovers);
        self.ports_in_use.truncate(limits::CLAIMS_MAX);
        // What holds the machine back must not be cut off by what merely is shown.
        if self.findings.len() > limits::CLAIMS_MAX {
            self.findings.sort_by_key(|finding| !finding.fatal);
            self.findings.truncate(limits::CLAIMS_MAX);
        }
        for finding in &mut self.findings {
            cut(&mut finding.check);
            finding.message = limits::clip(&finding.message);
        }
        self
    }
}

/// One check that did not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the check.
    pub check: String,
    /// What is wrong, and the fix.
    pub message: String,
    /// It holds the join back.
    pub fatal: bool,
}

/// What an operator wrote to pick machines. All given parts must match; an empty selector matches nothing by
/// itself (a pool without one takes only machines that are approved into it or carry its token).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selector {
    /// SMBIOS UUID.
    pub uuid: String,
    /// Product serial.
    pub serial: String,
    /// Any of these MACs.
    pub macs: Vec<String>,
    /// Host name.
    pub hostname: String,
    /// Asset tag.
    pub asset: String,
    /// Product name.
    pub product: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// Board serial.
    pub board_serial: String,
    /// Labels that must be claimed with these values.
    pub labels: BTreeMap<String, String>,
}

impl Selector {
    /// Nothing was asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All that was asked for holds for these facts; true for an empty selector.
    pub fn admits(&self, facts: &Facts) -> bool {
        let same = |wanted: &str, claimed: &str| wanted.is_empty() || wanted.eq_ignore_ascii_case(claimed);
        same(&self.uuid, &facts.uuid)
            && same(&self.serial, &facts.serial)
            && same(&self.hostname, &facts.hostname)
            && same(&self.asset, &facts.asset)
            && same(&self.product, &facts.product)
            && same(&self.manufacturer, &facts.manufacturer)
            && same(&self.board_serial, &facts.board_serial)
            && (self.macs.is_empty()
                || self.macs.iter().any(|mac| facts.macs.iter().any(|has| has.eq_ignore_ascii_case(mac))))
            && self.labels.iter().all(|(key, value)| facts.labels.get(key) == Some(value))
    }
}
