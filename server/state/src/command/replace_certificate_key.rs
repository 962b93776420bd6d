use serde::{Deserialize, Serialize};

use super::open_errand::drop_errands;
use crate::{
    ClusterId, Refusal, State,
    record::{Cluster, ErrandKind, Node, Role, SealedSecret},
    state::{Change, Context},
};

/// Ends the join window: a new certificate key, for the next one. Refused while a control plane joins with the present key, or
/// one without an agent may. In a linked cluster the leader then deletes `kubeadm-certs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceCertificateKey {
    /// Where.
    pub cluster: ClusterId,
    /// The new key, sealed.
    pub certificate_key: SealedSecret,
}

impl ReplaceCertificateKey {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        state.cluster(&self.cluster)?;
        state.check_sealed([&self.certificate_key])?;
        let joins = |node: &&Node| {
            let control_plane = node.placement().is_some_and(|place| place.role == Role::ControlPlane);
            control_plane && !node.steps.is_empty() && !node.has_joined()
        };
        if let Some(node) = state.nodes_of(&self.cluster).find(joins) {
            let problem = "a control plane joins with the present certificate key".into();
            return Err(Refusal::WrongPhase { phase: node.phase, problem });
        }
        let is_promised = |cluster: &&Cluster| context.now_ms < cluster.certificates_wanted_until_ms;
        if state.clusters.get(&self.cluster).filter(is_promised).is_some() {
            let problem = "a join line with the present certificate key was printed, and is good until its token runs out";
            return Err(Refusal::invalid("certificate_key", problem));
        }
        if let Some(cluster) = state.clusters.get_mut(&self.cluster) {
            cluster.certificates_ending |= !cluster.spec.secrets_by_custodian() && cluster.certificates_uploaded_ms != 0;
            cluster.certificate_key = self.certificate_key;
            cluster.certificates_uploaded_ms = 0;
        }
        // An upload that is under way is under the old key: its report must not count for the new one.
        drop_errands(state, |errand| errand.cluster == self.cluster && errand.kind == ErrandKind::UploadCertificates);
        let text = "the join window has ended; the next one has a new certificate key".into();
        state.event(false, "CertificateKeyReplaced", text, Some(self.cluster.clone()), None);
        state.changes.push(Change::Cluster(self.cluster));
        Ok(())
    }
}
