//! What a machine claims.

use muster_proto::enrolment::v1::{Dropped, Facts as Wire};
use muster_state::{facts::Facts, limits::TEXT_MAX};

/// Entries of one list: a machine with more network cards is not believed.
const LIST_MAX: usize = 64;

/// Parses claims: bounded, normalised.
pub fn parse(wire: Wire) -> Result<Facts, String> {
    let texts = [
        &wire.uuid,
        &wire.serial,
        &wire.asset,
        &wire.manufacturer,
        &wire.product,
        &wire.board_serial,
        &wire.boot_mac,
        &wire.hostname,
        &wire.architecture,
        &wire.wanted_role,
        &wire.wanted_node_name,
    ];
    let labels = wire.labels.iter().flat_map(|(key, value)| [key, value]);
    let lists = wire.macs.iter().chain(&wire.addresses).chain(labels);
    if texts.into_iter().chain(lists).any(|text| text.len() > TEXT_MAX) {
        return Err(format!("a hardware fact is longer than {TEXT_MAX} bytes"));
    }
    if [wire.macs.len(), wire.addresses.len(), wire.labels.len(), wire.dropped.len()].iter().any(|len| *len > LIST_MAX)
    {
        return Err(format!("a list of hardware facts has more than {LIST_MAX} entries"));
    }
    let lower = |text: String| text.trim().to_ascii_lowercase();
    let mut macs: Vec<String> = wire.macs.into_iter().map(lower).collect();
    macs.sort();
    macs.dedup();
    Ok(Facts {
        uuid: lower(wire.uuid),
        serial: wire.serial,
        asset: wire.asset,
        manufacturer: wire.manufacturer,
        product: wire.product,
        board_serial: wire.board_serial,
        macs,
        boot_mac: lower(wire.boot_mac),
        hostname: lower(wire.hostname),
        addresses: wire.addresses,
        architecture: wire.architecture,
        dropped: wire.dropped.into_iter().map(|Dropped { field, value }| (field, value)).collect(),
        wanted_role: wire.wanted_role,
        wanted_node_name: wire.wanted_node_name,
        labels: wire.labels,
        ephemeral_state: wire.ephemeral_state,
    })
}

/// Claims as they are shown.
pub fn render(facts: &Facts) -> Wire {
    let dropped = facts.dropped.iter().map(|(field, value)| Dropped { field: field.clone(), value: value.clone() });
    Wire {
        uuid: facts.uuid.clone(),
        serial: facts.serial.clone(),
        asset: facts.asset.clone(),
        manufacturer: facts.manufacturer.clone(),
        product: facts.product.clone(),
        board_serial: facts.board_serial.clone(),
        macs: facts.macs.clone(),
        boot_mac: facts.boot_mac.clone(),
        hostname: facts.hostname.clone(),
        addresses: facts.addresses.clone(),
        architecture: facts.architecture.clone(),
        dropped: dropped.collect(),
        wanted_role: facts.wanted_role.clone(),
        wanted_node_name: facts.wanted_node_name.clone(),
        labels: facts.labels.clone(),
        ephemeral_state: facts.ephemeral_state,
    }
}
