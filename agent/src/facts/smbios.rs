//! SMBIOS as Linux shows it: one small file per field. Makers leave placeholders; those are dropped, and reported.

use std::fs;
use std::path::Path;

use crate::facts::Dropped;

/// Longest value kept, bytes; real ones are tens.
const VALUE_BYTES_MAX: usize = 256;

/// Values that say nothing, compared without case, outer blanks and final dot.
const PLACEHOLDERS: &[&str] = &[
    "to be filled by o.e.m",
    "to be filled by oem",
    "tobefilledbyo.e.m",
    "default string",
    "default",
    "none",
    "null",
    "n/a",
    "na",
    "not specified",
    "not applicable",
    "not available",
    "not present",
    "not settable",
    "no asset tag",
    "no asset information",
    "asset tag",
    "asset-1234567890",
    "chassis asset tag",
    "chassis serial number",
    "system serial number",
    "system product name",
    "system manufacturer",
    "system name",
    "base board serial number",
    "serial number",
    "serialnumber",
    "o.e.m",
    "oem",
    "invalid",
    "unknown",
    "empty",
    "undefined",
    "type2 - board serial number",
    "0123456789",
    "123456789",
    "1234567890",
    "0123456789abcdef",
    "123456789abcdef",
    "1234567",
    "12345678",
    "03000200-0400-0500-0006-000700080009",
    "01234567-8900-0123-4567-890123456789",
    "12345678-1234-5678-90ab-cddeefaabbcc",
];

/// What the firmware says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Firmware {
    pub(super) uuid: String,
    pub(super) serial: String,
    pub(super) asset: String,
    pub(super) manufacturer: String,
    pub(super) product: String,
    pub(super) board_serial: String,
    pub(super) dropped: Vec<Dropped>,
}

/// Reads the fields under `dir`.
pub(super) fn read(dir: &Path) -> Firmware {
    let mut dropped = Vec::new();
    let mut field = |file: &str, name: &str| -> String {
        let text = fs::read(dir.join(file)).unwrap_or_default();
        let value = tidy(&String::from_utf8_lossy(&text));
        if !placeholder(&value) {
            return value;
        }
        if !value.is_empty() {
            dropped.push(Dropped { field: name.to_owned(), value });
        }
        String::new()
    };
    let mut firmware = Firmware {
        uuid: field("product_uuid", "uuid").to_lowercase(),
        serial: field("product_serial", "serial"),
        asset: field("chassis_asset_tag", "asset"),
        manufacturer: field("sys_vendor", "manufacturer"),
        product: field("product_name", "product"),
        board_serial: field("board_serial", "board-serial"),
        dropped: Vec::new(),
    };
    firmware.dropped = dropped;
    firmware
}

fn tidy(text: &str) -> String {
    let printable: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    crate::report::clip(printable.trim(), VALUE_BYTES_MAX)
}

/// Whether `value` tells nothing about the machine.
fn placeholder(value: &str) -> bool {
    let plain = value.trim().trim_end_matches('.').to_lowercase();
    let digits: Vec<char> = plain.chars().filter(|c| c.is_alphanumeric()).collect();
    // "0000", "ffffffff-ffff-…", "xxxx", "....": one and the same sign throughout.
    let uniform =
        digits.windows(2).all(|pair| pair[0] == pair[1]) && (digits.len() != 1 || matches!(digits[0], '0' | 'x'));
    uniform || PLACEHOLDERS.contains(&plain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_values_are_kept_and_placeholders_are_dropped_and_reported() {
        let dir = tempfile::tempdir().unwrap();
        for (file, value) in [
            ("product_uuid", "4C4C4544-0042-3510-8054-B7C04F4A5331\n"),
            ("product_serial", "To Be Filled By O.E.M.\n"),
            ("chassis_asset_tag", "   \n"),
            ("sys_vendor", "Dell Inc.\n"),
            ("product_name", "PowerEdge R640\n"),
            ("board_serial", "Default string\n"),
        ] {
            fs::write(dir.path().join(file), value).unwrap();
        }
        let firmware = read(dir.path());
        assert_eq!(firmware.uuid, "4c4c4544-0042-3510-8054-b7c04f4a5331");
        assert_eq!((firmware.serial.as_str(), firmware.asset.as_str()), ("", ""));
        assert_eq!((firmware.manufacturer.as_str(), firmware.product.as_str()), ("Dell Inc.", "PowerEdge R640"));
        let dropped: Vec<(&str, &str)> =
            firmware.dropped.iter().map(|d| (d.field.as_str(), d.value.as_str())).collect();
        assert_eq!(dropped, [("serial", "To Be Filled By O.E.M."), ("board-serial", "Default string")]);
    }

    #[test]
    fn known_placeholders_say_nothing() {
        for value in [
            "",
            "None",
            "0",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
            "0123456789",
            "Not Specified",
            "System Serial Number",
            "xxxxxxxx",
            "..........",
            "To be filled by O.E.M.",
        ] {
            assert!(placeholder(value), "{value:?}");
        }
        for value in ["7", "R640", "CZ1234567X", "4c4c4544-0042-3510-8054-b7c04f4a5331", "VMware-56 4d 0f"] {
            assert!(!placeholder(value), "{value:?}");
        }
    }
}
