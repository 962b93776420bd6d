//! What operators write to pick machines.

use muster_proto::admin::v1::Selector as Wire;
use muster_state::{facts::Selector, limits::TEXT_MAX};

use crate::operations::OperationError;

/// MAC addresses or labels of one selector: no operator tells a machine by more.
const LIST_MAX: usize = 64;
/// Octets of a link-layer address: Ethernet, EUI-64, InfiniBand.
const MAC_OCTETS: [usize; 3] = [6, 8, 20];

/// Parses a selector that stands at `field`; absent is the empty one.
pub fn parse(field: &str, wire: Option<Wire>) -> Result<Selector, OperationError> {
    let Wire { uuid, serial, macs, hostname, asset, product, manufacturer, board_serial, labels } =
        wire.unwrap_or_default();
    if macs.len().max(labels.len()) > LIST_MAX {
        return Err(OperationError::invalid(field, format!("has a list of more than {LIST_MAX} entries")));
    }
    let texts = [&uuid, &serial, &hostname, &asset, &product, &manufacturer, &board_serial];
    let texts = texts.into_iter().chain(labels.iter().flat_map(|(key, value)| [key, value]));
    if texts.into_iter().any(|text| text.len() > TEXT_MAX) {
        return Err(OperationError::invalid(field, format!("has a text of more than {TEXT_MAX} bytes")));
    }
    let lower = |text: String| text.trim().to_ascii_lowercase();
    Ok(Selector {
        uuid: lower(uuid),
        serial,
        macs: macs.iter().map(|text| mac(field, text)).collect::<Result<_, _>>()?,
        hostname: lower(hostname),
        asset,
        product,
        manufacturer,
        board_serial,
        labels,
    })
}

/// A link-layer address in the form in which machines claim theirs: lower case, colons.
fn mac(field: &str, text: &str) -> Result<String, OperationError> {
    let lower = text.trim().to_ascii_lowercase().replace('-', ":");
    let octets: Vec<&str> = lower.split(':').collect();
    let is_octet = |octet: &&str| octet.len() == 2 && octet.bytes().all(|byte| byte.is_ascii_hexdigit());
    if MAC_OCTETS.contains(&octets.len()) && octets.iter().all(is_octet) {
        return Ok(lower);
    }
    let problem = format!("{text:?} is no MAC address; write it like 52:54:00:12:34:56");
    Err(OperationError::invalid(format!("{field}.macs"), problem))
}

/// A selector as it is shown; nothing for the empty one.
pub fn render(selector: &Selector) -> Option<Wire> {
    let Selector { uuid, serial, macs, hostname, asset, product, manufacturer, board_serial, labels } =
        selector.clone();
    let wire = Wire { uuid, serial, macs, hostname, asset, product, manufacturer, board_serial, labels };
    (!selector.is_empty()).then_some(wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_macs(macs: &[&str]) -> Option<Wire> {
        Some(Wire { macs: macs.iter().map(|mac| (*mac).to_owned()).collect(), ..Wire::default() })
    }

    #[test]
    fn macs_are_brought_into_the_form_in_which_machines_claim_them() {
        let parsed = parse("match", mk_macs(&["52-54-00-AB-CD-EF", " 52:54:00:ab:cd:01 "])).unwrap();
        assert_eq!(parsed.macs, ["52:54:00:ab:cd:ef", "52:54:00:ab:cd:01"]);
    }

    #[test]
    fn what_could_never_match_is_refused_with_its_field() {
        for bad in ["", "52:54:00:ab:cd", "52:54:00:ab:cd:eg", "525400abcdef", "52:54:0:ab:cd:ef"] {
            let said = parse("spec.pools[cp].match", mk_macs(&[bad])).unwrap_err().to_string();
            assert!(said.starts_with("spec.pools[cp].match.macs: ") && said.contains("52:54:00:12:34:56"), "{said}");
        }
    }

    #[test]
    fn a_selector_is_bounded() {
        let many = vec!["52:54:00:ab:cd:ef"; LIST_MAX + 1];
        assert!(parse("match", mk_macs(&many)).is_err());
        let long = Wire { serial: "x".repeat(TEXT_MAX + 1), ..Wire::default() };
        assert!(parse("match", Some(long)).is_err());
    }

    #[test]
    fn it_comes_back_as_it_was_stored() {
        assert_eq!(render(&parse("match", None).unwrap()), None);
        let wire = Wire { serial: "S 1".into(), labels: [("rack".into(), "7".into())].into(), ..Wire::default() };
        assert_eq!(render(&parse("match", Some(wire.clone())).unwrap()), Some(wire));
    }
}
