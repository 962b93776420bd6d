//! What this machine claims about itself. Claims select a record on the server; they never grant anything.

mod cmdline;
mod network;
mod smbios;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use sha2::{Digest, Sha256};

pub use cmdline::KernelArguments;

/// A value of the firmware that was taken as absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Which field.
    pub field: String,
    /// What it said.
    pub value: String,
}

/// What the machine claims. The words are matchbox's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// SMBIOS system UUID, lower case.
    pub uuid: String,
    /// SMBIOS product serial number.
    pub serial: String,
    /// SMBIOS chassis asset tag.
    pub asset: String,
    /// SMBIOS system manufacturer.
    pub manufacturer: String,
    /// SMBIOS product name.
    pub product: String,
    /// SMBIOS board serial number.
    #[serde(rename = "boardSerial")]
    pub board_serial: String,
    /// Lower case with colons, sorted.
    pub macs: Vec<String>,
    /// From `BOOTIF=`.
    #[serde(rename = "bootMac")]
    pub boot_mac: String,
    /// The kernel's host name.
    pub hostname: String,
    /// Global addresses, the one of the default route first.
    pub addresses: Vec<String>,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// Placeholders of the firmware's maker.
    pub dropped: Vec<Dropped>,
    /// What the command line asked for.
    #[serde(rename = "wantedRole")]
    pub wanted_role: String,
    /// What the command line asked for.
    #[serde(rename = "wantedNodeName")]
    pub wanted_node_name: String,
    /// What the command line asked for.
    pub labels: BTreeMap<String, String>,
    /// The keys do not survive a reboot.
    #[serde(rename = "ephemeralState")]
    pub ephemeral_state: bool,
}

/// Where the facts are read.
#[derive(Debug, Clone)]
pub struct Sources {
    /// `/sys/class/dmi/id`, or where a laboratory put its own.
    pub dmi: PathBuf,
    /// `/sys/class/net`.
    pub net: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
}

impl Default for Sources {
    fn default() -> Self {
        Self { dmi: "/sys/class/dmi/id".into(), net: "/sys/class/net".into(), proc: "/proc".into() }
    }
}

impl Facts {
    /// Reads the machine. Nothing is an error: a fact that cannot be read is absent.
    pub fn read(sources: &Sources) -> Self {
        let firmware = smbios::read(&sources.dmi);
        let kernel = KernelArguments::read(&sources.proc);
        Self {
            uuid: firmware.uuid,
            serial: firmware.serial,
            asset: firmware.asset,
            manufacturer: firmware.manufacturer,
            product: firmware.product,
            board_serial: firmware.board_serial,
            dropped: firmware.dropped,
            macs: network::macs(&sources.net),
            boot_mac: kernel.boot_mac().unwrap_or_default(),
            hostname: hostname(sources),
            addresses: network::addresses(&sources.proc),
            architecture: std::env::consts::ARCH.to_owned(),
            ..Self::default()
        }
    }

    /// Facts of a machine that does not exist, the same for the same name: for rehearsals of many nodes on one machine.
    pub fn invented(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        let hex = hex::encode(digest);
        // Locally administered and unicast, so that it can be no real machine's.
        let mac = format!("02:{}:{}:{}:{}:{}", &hex[0..2], &hex[2..4], &hex[4..6], &hex[6..8], &hex[8..10]);
        // RFC 2544's range for tests; 17 bits are enough to keep a rehearsed fleet apart by eye, not a promise.
        let address = format!("198.{}.{}.{}", 18 + (digest[10] & 1), digest[11], 1 + digest[12] % 254);
        Self {
            uuid: format!("{}-{}-4{}-8{}-{}", &hex[0..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32]),
            serial: format!("REHEARSED-{}", hex[0..12].to_uppercase()),
            manufacturer: "Muster".to_owned(),
            product: "Rehearsed machine".to_owned(),
            macs: vec![mac.clone()],
            boot_mac: mac,
            hostname: name.to_owned(),
            addresses: vec![address],
            architecture: std::env::consts::ARCH.to_owned(),
            ..Self::default()
        }
    }
}

fn hostname(sources: &Sources) -> String {
    let text = std::fs::read_to_string(sources.proc.join("sys/kernel/hostname")).unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_firmware_tables_still_has_facts() {
        let dir = tempfile::tempdir().unwrap();
        let sources = Sources { dmi: dir.path().join("absent"), ..Sources::default() };
        let facts = Facts::read(&sources);
        assert_eq!((facts.uuid.as_str(), facts.dropped.len()), ("", 0));
        assert!(!facts.hostname.is_empty() && !facts.architecture.is_empty());
    }

    #[test]
    fn invented_machines_are_the_same_for_a_name_and_differ_between_names() {
        assert_eq!(Facts::invented("a"), Facts::invented("a"));
        let (a, b) = (Facts::invented("a"), Facts::invented("b"));
        assert_ne!(a.uuid, b.uuid);
        assert_ne!(a.macs, b.macs);
        assert_eq!(a.uuid.len(), 36);
        assert_eq!(a.boot_mac.len(), 17);
    }
}
