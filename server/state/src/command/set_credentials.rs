use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Refusal, State, limits,
    record::{Credentials, CsrApproval, Link, Origin},
    state::Context,
};

/// Puts credentials for the API of a cluster that was brought in, in place of those that were there. One that had none is linked
/// from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetCredentials {
    /// The cluster.
    pub cluster: ClusterId,
    /// The new ones, whose secret is of the next revision.
    pub credentials: Credentials,
}

impl SetCredentials {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let cluster = state.cluster(&self.cluster)?;
        if cluster.origin != Origin::Imported {
            let problem = "Muster made this cluster, and certifies itself with its authority";
            return Err(Refusal::invalid("kubeconfig", problem));
        }
        let now = cluster.credentials.as_ref().map_or(0, |credentials| credentials.secret.revision);
        if self.credentials.secret.revision != now + 1 {
            let name = cluster.spec.name.clone();
            return Err(Refusal::Changed { kind: "credentials of cluster".into(), name, now });
        }
        state.check_sealed([&self.credentials.secret])?;
        check_bounds(&self.credentials)?;
        if let Some(cluster) = state.clusters.get_mut(&self.cluster) {
            cluster.credentials = Some(self.credentials);
            if cluster.spec.link.is_none() {
                cluster.spec.link = Some(Link { csr_approval: CsrApproval::Muster });
                cluster.revision += 1;
            }
        }
        let text = "the credentials for its API were replaced".into();
        state.event(false, "CredentialsReplaced", text, Some(self.cluster.clone()), None);
        state.touch_cluster(&self.cluster);
        Ok(())
    }
}

/// What comes from outside has bounds.
pub(super) fn check_bounds(credentials: &Credentials) -> Result<(), Refusal> {
    let texts = [&credentials.server, &credentials.user];
    if texts.iter().any(|text| text.len() > limits::CLAIM_MAX) || credentials.secret.sealed.bytes.0.len() > limits::CREDENTIALS_MAX {
        return Err(Refusal::invalid("kubeconfig", "it is longer than any that has one server and one user"));
    }
    Ok(())
}
