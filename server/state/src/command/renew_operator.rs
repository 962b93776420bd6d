use serde::{Deserialize, Serialize};

use crate::{
    Digest, Refusal, State, id,
    state::{Change, Context},
};

/// An operator goes on with another certificate: the audit record, after which a voter signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewOperator {
    /// The operator's name: a DNS-1123 label.
    pub name: String,
    /// SHA-256 of the SPKI of the key that is certified.
    pub key: Digest,
}

impl RenewOperator {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let Self { name, key } = self;
        if let Err(problem) = id::dns1123_label(&name) {
            return Err(Refusal::invalid("name", problem));
        }
        state.event(false, "OperatorRenewed", format!("operator {name} goes on with key {key}"), None, None);
        state.changes.push(Change::Other);
        Ok(())
    }
}
