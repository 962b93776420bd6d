//! Nodes.

use jiff::Timestamp;
use muster_proto::admin::v1::{Node, StepStatus};
use muster_proto::enrolment::v1::Facts;
use muster_proto::join::v1::{Finding, Preflight};

use super::{Columns, Fields};
use crate::cli::console::{Paint, Table, age, age_since, span, stamp};

const COLUMNS: Columns = Columns {
    all: &[
        "NAME",
        "ROLE",
        "PHASE",
        "AGE",
        "ATTEMPT",
        "ID",
        "CLUSTER",
        "POOL",
        "FINGERPRINT",
        "UUID",
        "MAC",
        "ADDRESS",
        "AGENT",
    ],
    narrow: 5,
};

/// Widths for rows that are printed as they come.
pub(in crate::cli) fn node_widths() -> &'static [u16] {
    &[16, 13, 21, 5, 7]
}

/// The table of `get nodes`.
pub(in crate::cli) fn node_table(nodes: &[Node], wide: bool, now: Timestamp) -> Table {
    let mut table = COLUMNS.table(wide);
    for node in nodes {
        table.row(COLUMNS.cut(wide, cells(node, now))).paint("PHASE", Some(paint(node)));
    }
    table
}

fn cells(node: &Node, now: Timestamp) -> [String; 13] {
    let none = Facts::default();
    let facts = node.facts.as_ref().unwrap_or(&none);
    let mac = if facts.boot_mac.is_empty() { facts.macs.first() } else { Some(&facts.boot_mac) };
    [
        label(node).to_owned(),
        node.role.clone(),
        shown_phase(node),
        age(node.created.as_ref(), now),
        node.attempt.to_string(),
        node.id.clone(),
        node.cluster.clone(),
        node.pool.clone(),
        node.key_fingerprint.clone(),
        facts.uuid.clone(),
        mac.cloned().unwrap_or_default(),
        facts.addresses.first().cloned().unwrap_or_default(),
        node.agent_version.clone(),
    ]
}

/// What a node is called: its name, or its id as long as it has none.
pub(in crate::cli) fn label(node: &Node) -> &str {
    if node.name.is_empty() { &node.id } else { &node.name }
}

/// `node/ID`.
pub(in crate::cli) fn node_name(node: &Node) -> String {
    format!("node/{}", node.id)
}

/// The phase, with the mark of a rehearsal where it could be taken for a real result.
pub(in crate::cli) fn shown_phase(node: &Node) -> String {
    let result = matches!(node.phase.as_str(), "Ready" | "Joined" | "WaitingForNodeReady");
    let mark = if node.rehearsed && result { " (rehearsed)" } else { "" };
    format!("{}{mark}", node.phase)
}

/// Whether `node` is in `phase`; `Failed` also means `Failed(reason)`.
pub(in crate::cli) fn is_phase(node: &Node, phase: &str) -> bool {
    let bare = node.phase.split_once('(').map_or(node.phase.as_str(), |(bare, _)| bare);
    node.phase.eq_ignore_ascii_case(phase) || bare.eq_ignore_ascii_case(phase)
}

fn paint(node: &Node) -> Paint {
    if is_phase(node, "Ready") {
        Paint::Good
    } else if ["Failed", "Lost", "Locked"].iter().any(|phase| is_phase(node, phase)) {
        Paint::Bad
    } else {
        Paint::Pending
    }
}

/// All that is known of a node, without its events.
pub(in crate::cli) fn node_fields(node: &Node, now: Timestamp) -> Fields {
    let mut fields = Fields::default();
    let yes = |is: bool| if is { "yes" } else { "no" };
    let in_phase = node.phase_since.as_ref().map(|_| format!(", for {}", age(node.phase_since.as_ref(), now)));
    fields
        .add("Name", node.name.clone())
        .add("Id", node.id.clone())
        .add("Cluster", node.cluster.clone())
        .add("Pool", node.pool.clone())
        .add("Role", node.role.clone())
        .add("Phase", shown_phase(node) + &in_phase.unwrap_or_default())
        .add("Message", node.message.clone())
        .add("Ready source", node.ready_source.clone())
        .add("Rehearsed", if node.rehearsed { "yes: kubeadm was not run" } else { "" })
        .add("Locked", yes(node.locked))
        .add("Attempt", node.attempt.to_string())
        .add("Assurance", node.assurance.clone())
        .add("Key fingerprint", node.key_fingerprint.clone())
        .add("Certificate", certificate(node))
        .add("Bootstrap token", node.bootstrap_token_id.clone())
        .add("Node uid", node.node_uid.clone())
        .add("Connected", yes(node.connected))
        .add("Agent", node.agent_version.clone())
        .add("Boot id", node.boot_id.clone())
        .add("Created", stamp(node.created.as_ref()))
        .add("Last seen", stamp(node.last_seen.as_ref()));
    if let Some(facts) = &node.facts {
        fields.section(format!("Claimed by the machine (revision {})", node.facts_revision));
        claims(&mut fields, facts);
    }
    if let Some(preflight) = &node.preflight {
        preflight_fields(&mut fields, preflight);
    }
    requests(&mut fields, node);
    steps(&mut fields, &node.steps);
    failure(&mut fields, node, now);
    timeline(&mut fields, node, now);
    fields
}

/// The chain from bootstrap token to certificate request, as it was judged.
fn requests(fields: &mut Fields, node: &Node) {
    if node.requests.is_empty() {
        return;
    }
    let mut table = Table::new(&["REQUEST", "TOKEN", "JUDGED", "AT", "UID", "DIGEST"]);
    for request in &node.requests {
        let judged = match (&request.held_until, request.held, request.approved) {
            (Some(until), true, _) => format!("held until {}", stamp(Some(until))),
            (None, true, _) => "held".to_owned(),
            (_, false, true) => "approved".to_owned(),
            (_, false, false) => "denied".to_owned(),
        };
        table.row([
            request.name.clone(),
            request.bootstrap_token_id.clone(),
            judged,
            stamp(request.at.as_ref()),
            request.uid.clone(),
            request.digest.clone(),
        ]);
    }
    fields.section("Certificate requests").block(&table.render(false));
}

fn certificate(node: &Node) -> String {
    match &node.certificate_not_after {
        None => String::new(),
        until => format!("until {}, generation {}", stamp(until.as_ref()), node.generation),
    }
}

/// What a machine says about itself.
pub(in crate::cli) fn claims(fields: &mut Fields, facts: &Facts) {
    let labels: Vec<String> = facts.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let dropped: Vec<String> =
        facts.dropped.iter().map(|dropped| format!("{} {:?}", dropped.field, dropped.value)).collect();
    fields
        .below("Hostname", facts.hostname.clone())
        .below("UUID", facts.uuid.clone())
        .below("Serial", facts.serial.clone())
        .below("Asset", facts.asset.clone())
        .below("Board serial", facts.board_serial.clone())
        .below("Manufacturer", facts.manufacturer.clone())
        .below("Product", facts.product.clone())
        .below("MACs", facts.macs.join(", "))
        .below("Boot MAC", facts.boot_mac.clone())
        .below("Addresses", facts.addresses.join(", "))
        .below("Architecture", facts.architecture.clone())
        .below("Wants role", facts.wanted_role.clone())
        .below("Wants name", facts.wanted_node_name.clone())
        .below("Labels", labels.join(", "))
        .below("Dropped", dropped.join(", "))
        .below("State", if facts.ephemeral_state { "ephemeral: keys are lost at a reboot" } else { "" });
}

fn preflight_fields(fields: &mut Fields, preflight: &Preflight) {
    let ports: Vec<String> = preflight.ports_in_use.iter().map(ToString::to_string).collect();
    fields
        .section("Preflight")
        .below("kubeadm", preflight.kubeadm_version.clone())
        .below("kubelet", preflight.kubelet_version.clone())
        .below("kubectl", preflight.kubectl_version.clone())
        .below("Runtime", preflight.container_runtime.clone())
        .below("CRI socket", preflight.cri_socket.clone())
        .below("Kernel", preflight.kernel.clone())
        .below("Swap", if preflight.swap_on { "on" } else { "off" })
        .below("Ports in use", ports.join(", "))
        .below("Leftovers", preflight.leftovers.join(", "));
    for finding in &preflight.findings {
        fields.below("Finding", finding_text(finding));
    }
}

fn finding_text(finding: &Finding) -> String {
    let weight = if finding.fatal { "holds the join back" } else { "warning" };
    format!("{}: {} ({weight})", finding.check, finding.message)
}

fn steps(fields: &mut Fields, steps: &[StepStatus]) {
    if steps.is_empty() {
        return;
    }
    let mut table = Table::new(&["STEP", "STATE", "PHASE", "ELAPSED"]);
    for step in steps {
        let elapsed = if step.started.is_some() { span(step.elapsed_ms / 1000) } else { String::new() };
        table.row([step.id.clone(), step.state.clone(), step.phase.clone(), elapsed]);
    }
    fields.section("Steps").block(&table.render(false));
}

fn failure(fields: &mut Fields, node: &Node, now: Timestamp) {
    let Some(failure) = &node.failure else { return };
    let retry = failure.retry_at.as_ref().map(|at| stamp(Some(at))).unwrap_or_default();
    fields
        .section("Last failure")
        .below("Step", failure.step.clone())
        .below("Cause", failure.cause.clone())
        .below("Said", failure.message.clone())
        .below("Rule", failure.rule.clone())
        .below("Failures", failure.failures.to_string())
        .below("Ago", age(failure.at.as_ref(), now))
        .below("Retried at", retry);
}

fn timeline(fields: &mut Fields, node: &Node, now: Timestamp) {
    if node.timeline.is_empty() {
        return;
    }
    let mut table = Table::new(&["PHASE", "ENTERED", "TOOK"]);
    for phase in &node.timeline {
        let entered_s = i64::try_from(phase.entered_unix_ms / 1000).unwrap_or(i64::MAX);
        let took = match phase.left_unix_ms {
            0 => format!("{} so far", age_since(entered_s, now)),
            left => span(left.saturating_sub(phase.entered_unix_ms) / 1000),
        };
        let entered = muster_proto::Timestamp { seconds: entered_s, nanos: 0 };
        table.row([phase.phase.clone(), stamp(Some(&entered)), took]);
    }
    fields.section("Timeline").block(&table.render(false));
}

#[cfg(test)]
mod tests;
