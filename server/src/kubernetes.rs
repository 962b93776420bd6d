//! The leader's link to the API of each linked cluster, and the only code that names `kube`; and its look at their etcd.
//!
//! One link per cluster, held by the leader alone, in its term alone (`task`). It certifies itself for an hour with the
//! cluster's own authority, or shows what the kubeconfig of a cluster that was brought in holds (`survey` looks at one before, and
//! `rights` installs what joining nodes need there), connects to the endpoint or else to a joined control plane (`transport`), and
//! then does three things until something goes wrong (`link`): it makes and deletes bootstrap tokens (`tokens`, `signatures`) and
//! sees whether they are there (`compare`), decides upon certificate requests (`requests`, `claim`) and passes on what Nodes say
//! (`nodes`). What goes wrong becomes a word of a closed list (`trouble`), which the cluster's record shows, and a pause that grows.
//! Beside it, and without it, the leader looks at the cluster's etcd and takes out of it what is decided (`etcd`).
//!
//! Everything is decided in the log and done after, so that it is safe when done twice or late: Kubernetes knows nothing of
//! terms. What is not finished is found again by the next link, because each begins with a list.
//!
//! Absent on purpose: reading Secrets; a cache that outlives a connection; anything for detached clusters.

mod call;
mod certificates;
mod claim;
mod cluster_info;
mod compare;
mod etcd;
mod follow;
mod link;
mod nodes;
mod pace;
mod requests;
mod rights;
mod secrets;
mod signatures;
mod survey;
mod task;
#[cfg(test)]
mod tests;
mod tokens;
mod transport;
mod trouble;

pub use survey::survey;
pub use task::run;
