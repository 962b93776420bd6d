//! The wire to peers: there is none yet. A group has one voter, and whoever is told to reach another server is told so.

use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};

use super::machine::Machine;
use super::types::{Peer, ServerId, TypeConfig};

/// Makes connections that reach nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

/// A connection that reaches nobody.
#[derive(Clone, Copy, Debug)]
pub struct NoPeer {
    target: ServerId,
}

/// Why a peer is not reached.
#[derive(Debug, thiserror::Error)]
#[error("server {target} cannot be reached: this server has no connection to peers")]
pub struct NoConnection {
    target: ServerId,
}

type Failed<E> = RPCError<ServerId, Peer, RaftError<ServerId, E>>;

impl NoPeer {
    fn unreachable<E: std::error::Error>(self) -> Failed<E> {
        RPCError::Unreachable(Unreachable::new(&NoConnection { target: self.target }))
    }
}

impl<M: Machine> RaftNetworkFactory<TypeConfig<M>> for NoPeers {
    type Network = NoPeer;

    async fn new_client(&mut self, target: ServerId, _peer: &Peer) -> NoPeer {
        NoPeer { target }
    }
}

impl<M: Machine> RaftNetwork<TypeConfig<M>> for NoPeer {
    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig<M>>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<ServerId>, Failed<openraft::error::Infallible>> {
        Err(self.unreachable())
    }

    async fn install_snapshot(
        &mut self,
        _request: InstallSnapshotRequest<TypeConfig<M>>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<ServerId>, Failed<InstallSnapshotError>> {
        Err(self.unreachable())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<ServerId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<ServerId>, Failed<openraft::error::Infallible>> {
        Err(self.unreachable())
    }
}
