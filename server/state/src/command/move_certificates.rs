use serde::{Deserialize, Serialize};

use super::record_link::check_linked;
use crate::{ClusterId, Refusal, State, state::Context};

/// `kubeadm-certs` of a linked cluster on its way in and out: committed after the leader has done it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveCertificates {
    /// The cluster.
    pub cluster: ClusterId,
    /// What was done.
    pub to: CertificatesStep,
}

/// A part of its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificatesStep {
    /// It is there, under the present certificate key.
    Uploaded,
    /// It is not there.
    Removed,
}

impl MoveCertificates {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        check_linked(state, &self.cluster)?;
        let Some(cluster) = state.clusters.get_mut(&self.cluster) else {
            return Err(Refusal::not_found("cluster", &self.cluster));
        };
        let was_there = cluster.certificates_uploaded_ms != 0;
        cluster.certificates_ending = false;
        let text = match self.to {
            CertificatesStep::Uploaded => {
                cluster.certificates_uploaded_ms = context.now_ms;
                if was_there { "kubeadm-certs lives on" } else { "kubeadm-certs is there" }
            }
            CertificatesStep::Removed => {
                cluster.certificates_uploaded_ms = 0;
                "kubeadm-certs is gone"
            }
        };
        state.event(false, "CertificatesMoved", text.into(), Some(self.cluster.clone()), None);
        state.refresh_cluster(&self.cluster);
        Ok(())
    }
}
