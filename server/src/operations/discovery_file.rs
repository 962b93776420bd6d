//! The discovery file of a cluster, for whoever fetches it: in itself it says no more than the public `cluster-info`; with a token of
//! a join line it has that token, which whoever fetches it has to show.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::anyhow;
use muster_state::{
    ClusterId, TokenId,
    command::ReleaseJoinCommand,
    record::{BootstrapToken as Record, Role},
};
use tokio::time::Instant;

use super::{NotAVoter, Unsealed, payload::open_token};
use crate::{
    clock::now_ms,
    kubeadm::{discovery, endpoint::Endpoint, token::BootstrapToken},
    ledger::ProposeError,
    seal::SecretText,
};

/// A file that was recorded as given goes to the same address with the same token again without another record for so long: who
/// holds a token must not be able to drive all else out of the events.
const RECORDED_FOR: Duration = Duration::from_secs(60);
/// How many such records are remembered: machines that join in the same minute. About a megabyte.
const RECORDED_MAX: usize = 16_384;
/// How many of them may be of one token: a line that is pasted on a rack of machines.
const RECORDED_OF_ONE_MAX: usize = 128;

/// Why there is no file. Whoever asks is a stranger: it says nothing of what there is.
#[derive(Debug, thiserror::Error)]
pub enum NoFile {
    /// No such cluster; or no live token of a join line of that cluster is the one that was shown.
    #[error("no such cluster, or no such token of it")]
    Unknown,
    /// This server can't open the token.
    #[error(transparent)]
    NotAVoter(#[from] NotAVoter),
    /// More machines ask at a time than are remembered.
    #[error("too many machines ask in the same minute; try again in a minute")]
    Busy,
    /// The record of who gets it was not taken.
    #[error("who gets the file can't be recorded now: {0}")]
    Record(ProposeError),
    /// What is stored is damaged, which is in the log.
    #[error("internal error")]
    Internal,
}

/// Gives discovery files.
pub struct DiscoveryFiles {
    server: Unsealed,
    // Held for a map operation, never over an await.
    recorded: Mutex<BTreeMap<(TokenId, IpAddr), Instant>>,
}

/// What of a cluster stands in its file.
struct Place {
    cluster: ClusterId,
    endpoint: String,
    ca_pem: String,
}

impl DiscoveryFiles {
    /// Of the clusters that this server knows.
    #[must_use]
    pub fn new(server: Unsealed) -> Self {
        Self { server, recorded: Mutex::default() }
    }

    /// The file of a cluster; if a token is shown, the file with this token, to be used from that address.
    ///
    /// # Errors
    /// [`NoFile`]; the same for a cluster and for a token that do not exist.
    pub async fn give(
        &self,
        cluster: &str,
        shown: Option<&BootstrapToken>,
        from: IpAddr,
    ) -> Result<SecretText, NoFile> {
        let place = self.place(cluster).ok_or(NoFile::Unknown)?;
        let endpoint: Endpoint = place.endpoint.parse().map_err(|err| damaged(&anyhow!("stored endpoint: {err}")))?;
        let file = discovery::Discovery { ca_pem: &place.ca_pem, endpoint: &endpoint };
        let Some(shown) = shown else { return Ok(SecretText::from(file.cluster_info())) };
        let (token, role) = self.held(&place.cluster, shown)?;
        self.record(token, role, from).await?;
        Ok(file.file_with_token(shown))
    }

    fn place(&self, name: &str) -> Option<Place> {
        self.server.ledger.read(|state| {
            let cluster = state.clusters.values().find(|cluster| cluster.spec.name == name)?;
            let ca = cluster.certificates.iter().find(|ca| ca.name == "ca.crt")?;
            let (cluster, endpoint, ca_pem) = (cluster.id.clone(), cluster.spec.endpoint.clone(), ca.pem.clone());
            Some(Place { cluster, endpoint, ca_pem })
        })
    }

    /// The live token of a join line of that cluster, if it is the one that was shown. It is opened to be compared: nothing of it leaves,
    /// and strangers must not be able to write into the log by guessing.
    fn held(&self, cluster: &ClusterId, shown: &BootstrapToken) -> Result<(TokenId, Role), NoFile> {
        // Before anything is looked up, so that a server without keys says the same to everybody.
        self.server.keys()?;
        let id = TokenId(shown.id().to_owned());
        let is_held = |record: &&Record| record.cluster == *cluster && record.is_live(now_ms());
        let record = self.server.ledger.read(|state| state.bootstrap_tokens.get(&id).filter(is_held).cloned());
        let record = record.ok_or(NoFile::Unknown)?;
        let role = record.purpose.line_role().ok_or(NoFile::Unknown)?;
        // Compared in constant time.
        if open_token(&self.server, &record).map_err(|err| damaged(&err))? != *shown {
            return Err(NoFile::Unknown);
        }
        Ok((id, role))
    }

    /// Trust rule 6: the log says first where it goes.
    async fn record(&self, token: TokenId, role: Role, from: IpAddr) -> Result<(), NoFile> {
        let key = (token, network(from));
        if self.is_recorded(&key)? {
            return Ok(());
        }
        let caller = format!("{from}, as a discovery file");
        let release = ReleaseJoinCommand { token: key.0.clone(), role, caller };
        match self.server.ledger.propose(release).await {
            Ok(()) => {}
            // It ended meanwhile.
            Err(ProposeError::Refused(_)) => return Err(NoFile::Unknown),
            Err(err) => return Err(NoFile::Record(err)),
        }
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Instant::now());
        Ok(())
    }

    fn is_recorded(&self, key: &(TokenId, IpAddr)) -> Result<bool, NoFile> {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.get(key).is_some_and(|since| since.elapsed() < RECORDED_FOR) {
            return Ok(true);
        }
        if recorded.len() >= RECORDED_MAX {
            recorded.retain(|_, since| since.elapsed() < RECORDED_FOR);
        }
        let of_one = recorded.range((key.0.clone(), LOWEST)..).take_while(|((token, _), _)| *token == key.0);
        let of_one = of_one.filter(|(_, since)| since.elapsed() < RECORDED_FOR).count();
        let is_full = recorded.len() >= RECORDED_MAX || of_one >= RECORDED_OF_ONE_MAX;
        if is_full { Err(NoFile::Busy) } else { Ok(false) }
    }
}

/// The first of all addresses in their order.
const LOWEST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Whoever has an IPv6 address has at least the 64 bits of its network.
fn network(from: IpAddr) -> IpAddr {
    match from {
        IpAddr::V4(_) => from,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

fn damaged(err: &anyhow::Error) -> NoFile {
    tracing::error!(err = %format!("{err:#}"), "a discovery file can't be made");
    NoFile::Internal
}
