//! Clusters.

use jiff::Timestamp;
use muster_proto::admin::v1::{Cluster, ClusterSpec};

use super::{Columns, Fields, etcd_problem, etcd_table, pool};
use crate::cli::console::{Table, age, stamp};

const COLUMNS: Columns = Columns {
    all: &[
        "NAME",
        "VERSION",
        "ENDPOINT",
        "CONTROL-PLANES",
        "WORKERS",
        "AGE",
        "ID",
        "ORIGIN",
        "MODE",
        "CUSTODIAN",
        "REVISION",
        "PIN",
    ],
    narrow: 6,
};

/// Widths for rows that are printed as they come.
pub(in crate::cli) fn cluster_widths() -> &'static [u16] {
    &[16, 8, 24, 14, 7, 5]
}

/// The table of `get clusters`.
pub(in crate::cli) fn cluster_table(clusters: &[Cluster], wide: bool, now: Timestamp) -> Table {
    let none = ClusterSpec::default();
    let mut table = COLUMNS.table(wide);
    for cluster in clusters {
        let spec = cluster.spec.as_ref().unwrap_or(&none);
        let cells = [
            spec.name.clone(),
            spec.kubernetes_version.clone(),
            spec.endpoint.clone(),
            ready(cluster.control_planes_ready, cluster.control_planes_wanted),
            ready(cluster.workers_ready, cluster.workers_wanted),
            age(cluster.created.as_ref(), now),
            cluster.id.clone(),
            cluster.origin.clone(),
            cluster.mode.clone(),
            cluster.custodian.clone(),
            cluster.revision.to_string(),
            cluster.ca_pins.join(","),
        ];
        table.row(COLUMNS.cut(wide, cells));
    }
    table
}

/// `2/3`, or `2` where nobody said how many there are to be.
fn ready(ready: u32, wanted: u32) -> String {
    if wanted == 0 { ready.to_string() } else { format!("{ready}/{wanted}") }
}

/// The cluster's own name.
pub(in crate::cli) fn cluster_name(cluster: &Cluster) -> &str {
    cluster.spec.as_ref().map_or(cluster.id.as_str(), |spec| &spec.name)
}

/// `Unreachable since …: why`; nothing for a detached cluster.
fn link(cluster: &Cluster) -> String {
    match cluster.link.as_str() {
        "" if cluster.mode == "Linked" => "not tried yet".into(),
        "" => String::new(),
        word => {
            let why =
                if cluster.link_message.is_empty() { String::new() } else { format!(": {}", cluster.link_message) };
            format!("{word} since {}{why}", stamp(cluster.link_since.as_ref()))
        }
    }
}

/// Who may read it, and where it differs, who should.
fn cluster_info(cluster: &Cluster, spec: &ClusterSpec) -> String {
    match (cluster.cluster_info.as_str(), spec.cluster_info.as_str()) {
        ("", "closed") => "to be closed".into(),
        ("public", "closed") => "public, although it is to be closed: see the RoleBindings of kube-public".into(),
        ("public", _) => "public: everybody may read it (clusterInfo: closed takes that away)".into(),
        (word, _) => word.to_owned(),
    }
}

/// `kubernetes-admin at 192.0.2.11:6443, until …`; nothing where no kubeconfig was brought.
fn credentials(cluster: &Cluster) -> String {
    let Some(given) = &cluster.credentials else { return String::new() };
    let user = if given.user.is_empty() { "a token" } else { &given.user };
    let until = given.not_after.as_ref().map(|end| format!(", until {}", stamp(Some(end)))).unwrap_or_default();
    format!("{user} at {}{until}", given.server)
}

/// All that is known of a cluster, without its events.
pub(in crate::cli) fn cluster_fields(cluster: &Cluster) -> Fields {
    let none = ClusterSpec::default();
    let spec = cluster.spec.as_ref().unwrap_or(&none);
    let mut fields = Fields::default();
    fields
        .add("Name", spec.name.clone())
        .add("Id", cluster.id.clone())
        .add("Origin", cluster.origin.clone())
        .add("Mode", cluster.mode.clone())
        .add("Link", link(cluster))
        .add("Credentials", credentials(cluster))
        .add("CSR approval", spec.csr_approval.clone())
        .add("cluster-info", cluster_info(cluster, spec))
        .add("Custodian", cluster.custodian.clone())
        .add("Kubernetes", spec.kubernetes_version.clone())
        .add("Endpoint", spec.endpoint.clone())
        .add("Pod subnet", spec.pod_subnet.clone())
        .add("Service subnet", spec.service_subnet.clone())
        .add("DNS domain", spec.dns_domain.clone())
        .add("Key algorithm", spec.key_algorithm.clone())
        .add("Admission", spec.admission.clone())
        .add("Revision", cluster.revision.to_string())
        .add("Created", stamp(cluster.created.as_ref()))
        .add("Initialised", if cluster.initialised { "yes" } else { "no" })
        .add("Control planes", format!("{} ready", ready(cluster.control_planes_ready, cluster.control_planes_wanted)))
        .add("Workers", format!("{} ready", ready(cluster.workers_ready, cluster.workers_wanted)));
    for pin in &cluster.ca_pins {
        fields.add("CA pin", pin.clone());
    }
    for warning in &cluster.warnings {
        fields.add("Warning", warning.clone());
    }
    if !cluster.certificates.is_empty() {
        let mut table = Table::new(&["NAME", "EXPIRES"]);
        for certificate in &cluster.certificates {
            table.row([certificate.name.clone(), stamp(certificate.not_after.as_ref())]);
        }
        fields.section("Certificates").block(&table.render(false));
    }
    if let Some(etcd) = &cluster.etcd {
        fields.section("Etcd");
        fields.below("As since", stamp(etcd.since.as_ref())).below("Problem", etcd_problem(etcd).unwrap_or_default());
        if !etcd.members.is_empty() {
            fields.block(&etcd_table(&etcd.members).render(false));
        }
    }
    if !spec.pools.is_empty() {
        let items = pool::PoolItem::of_clusters(std::slice::from_ref(cluster));
        fields.section("Pools").block(&pool::pool_table(&items, true).render(false));
    }
    fields
}
