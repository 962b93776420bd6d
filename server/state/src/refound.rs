//! A fleet that goes on under a new id, from a state that was backed up. Pure: keys, certificates and sealing come from the
//! caller.
//!
//! A backup is a look at the past. What happened after it (a token was used, a node was locked, an operator left) is not in
//! it, so nothing that admits somebody may be taken on its word: only what says no is.

use std::collections::BTreeMap;

use crate::{
    Bytes, Digest, FleetId, Phase, State,
    record::{ErrandState, Fleet, Identity, Node, SealedSecret, Standing, TokenStanding},
    secrets::SecretName,
};

/// What the new fleet has of its own.
#[derive(Clone, Debug)]
pub struct Refounding {
    /// Its id.
    pub fleet: FleetId,
    /// DER of its intermediates by role, signed by the root of the old fleet, which stays.
    pub intermediates: BTreeMap<String, Bytes>,
    /// Their private keys and the root's, sealed.
    pub keys: BTreeMap<String, SealedSecret>,
    /// The epoch of its data key, which no key of the old fleet has.
    pub epoch: u32,
    /// That key, wrapped for each voter.
    pub wrapped: BTreeMap<u64, Bytes>,
    /// Now, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// Why a state can't go on as another fleet.
#[derive(Debug, thiserror::Error)]
pub enum RefoundError<E> {
    /// There is no fleet in it.
    #[error("it holds no fleet")]
    NotFounded,
    /// The epoch was used before: a key of the old fleet could pass for the new one.
    #[error("epoch {0} belongs to the fleet that was backed up")]
    EpochTaken(u32),
    /// A secret could not be sealed anew.
    #[error("{0}: {1}")]
    Reseal(SecretName, E),
}

impl State {
    /// This state as the state of another fleet. `reseal` opens a secret as one of the old fleet and seals it as one of the
    /// new.
    ///
    /// Spent, expired and revoked tokens, denials and locks stay. Live tokens are void. Servers, and machines that waited, are
    /// forgotten. Every other machine keeps its record and loses its keys: it has to prove anew who it is, and an operator
    /// has to approve it.
    ///
    /// # Errors
    /// [`RefoundError`].
    pub fn refound<E>(
        mut self,
        new: Refounding,
        mut reseal: impl FnMut(&SecretName, &SealedSecret) -> Result<SealedSecret, E>,
    ) -> Result<Self, RefoundError<E>> {
        let Some(old) = self.fleet.take() else { return Err(RefoundError::NotFounded) };
        let Refounding { fleet: id, intermediates, keys, epoch, wrapped, now_ms } = new;
        if old.epochs.last_key_value().is_some_and(|(last, _)| *last >= epoch) {
            return Err(RefoundError::EpochTaken(epoch));
        }
        // Without the fleet's own: those come with the new fleet.
        let resealed: Result<Vec<_>, _> = self
            .secrets()
            .map(|(name, secret)| match reseal(&name, secret) {
                Ok(secret) => Ok((name, secret)),
                Err(error) => Err(RefoundError::Reseal(name, error)),
            })
            .collect();
        for (name, secret) in resealed? {
            if let Some(place) = self.secret_mut(&name) {
                *place = secret;
            }
        }
        let alive_ms = self.now_ms;
        // A restore is an operator's word that the clock is right, however old the backup is.
        self.now_ms = self.now_ms.max(now_ms);
        let message = format!("fleet {} goes on as {id} from a backup; its nodes must prove anew who they are", old.id);
        let epochs = BTreeMap::from([(epoch, wrapped)]);
        let founded_ms = self.now_ms;
        self.fleet = Some(Fleet { id, founded_ms, root: old.root, intermediates, keys, epochs, epoch });
        self.void_tokens(alive_ms);
        self.part_with_servers();
        self.part_with_nodes();
        // Seen, and decided, by the old fleet's leader.
        self.clusters.values_mut().for_each(|cluster| cluster.etcd = None);
        // Its first server registers itself. Numbers that were given go on being given.
        self.servers.clear();
        // Answers to callers of the old fleet.
        self.replies.clear();
        self.reindex();
        self.event(true, "FleetRestored", message, None, None);
        self.show_all();
        self.changes.clear();
        Ok(self)
    }

    /// Those that lived when the backup was made, also if their time has passed since: what has expired can be renewed.
    fn void_tokens(&mut self, alive_ms: u64) {
        let now_ms = self.now_ms;
        let live = self.enrolment_tokens.values_mut().filter(|token| token.standing(alive_ms) == TokenStanding::Live);
        live.for_each(|token| token.revoked_ms = Some(now_ms));
        self.server_tokens.values_mut().for_each(|token| token.expires_ms = token.expires_ms.min(now_ms));
    }

    /// The old fleet's servers are no members of the new one, and none may ask to be one with what it has. The founder
    /// registers itself; numbers go on where they were.
    fn part_with_servers(&mut self) {
        self.servers.clear();
        self.server_tokens.clear();
        // Their log is another.
        self.comparisons.clear();
    }

    fn part_with_nodes(&mut self) {
        // A machine that waited comes again by itself. One that was denied or locked is not to be forgotten.
        self.nodes.retain(|_, node| node.locked.is_some() || !matches!(node.standing, Standing::Pending { .. }));
        for node in self.nodes.values_mut().filter(|node| node.placement().is_some()) {
            node.identity = unproven(&node.identity);
            node.attached = None;
        }
        // Planned anew for a custodian that has proved itself.
        self.errands.retain(|_, errand| errand.state != ErrandState::Open);
    }

    fn show_all(&mut self) {
        let ids: Vec<_> = self.nodes.keys().cloned().collect();
        ids.iter().for_each(|id| self.touch(id));
    }
}

/// No keys: only which they were, so that an operator can be told whether the machine still has one of them.
fn unproven(identity: &Identity) -> Identity {
    let next = identity.next.as_ref().map(|next| next.key);
    Identity {
        generation: 0,
        key: Digest([0; 32]),
        csr: Bytes::default(),
        sealing_key: Bytes::default(),
        certificate: None,
        confirmed: false,
        next: None,
        previous: identity.previous.iter().copied().chain([identity.key]).chain(next).collect(),
    }
}

impl Node {
    /// It holds a key that this fleet has bound to it. Not so after a restore, until its machine has enrolled anew and an
    /// operator has approved it.
    pub fn is_proven(&self) -> bool {
        self.identity.generation > 0
    }

    /// What is shown of one that has not: the phase and a sentence.
    pub(crate) fn while_unproven(&self) -> (Phase, String) {
        let text = "its record comes from a backup, and its machine has to prove anew who it is: its agent does so by \
                    itself, then approve the new entry with --replace";
        (Phase::PendingApproval, text.into())
    }
}
