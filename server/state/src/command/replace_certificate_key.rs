use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Refusal, State,
    record::{Role, SealedSecret},
    state::{Change, Context},
};

/// Starts a new join window with a new certificate key. Refused while a control plane joins with the old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceCertificateKey {
    /// Where.
    pub cluster: ClusterId,
    /// The new key, sealed.
    pub certificate_key: SealedSecret,
}

impl ReplaceCertificateKey {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let joining = state.nodes_of(&self.cluster).find(|node| {
            node.placement().is_some_and(|place| place.role == Role::ControlPlane) && !node.steps.is_empty() && !node.has_joined()
        });
        if let Some(node) = joining {
            let problem = "a control plane joins with the present certificate key".into();
            return Err(Refusal::WrongPhase { phase: node.phase, problem });
        }
        state.cluster(&self.cluster)?;
        if let Some(cluster) = state.clusters.get_mut(&self.cluster) {
            cluster.certificate_key = self.certificate_key;
            cluster.certificates_uploaded_ms = 0;
        }
        state.changes.push(Change::Cluster(self.cluster));
        Ok(())
    }
}
