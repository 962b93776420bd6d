//! Journey C: what operators do and see. Every call is parsed, handed on and rendered; one file per group of calls.

mod approval;
mod backup;
mod call;
mod clusters;
mod etcd;
mod events;
mod import;
mod logs;
mod nodes;
mod overview;
mod permits;
mod resolve;
mod seal;
mod servers;
mod stream;
mod tokens;
mod watch_events;
mod watch_nodes;

use muster_proto::admin::v1::{
    ApplyClusterRequest, ApplyClusterResponse, ApproveNodeRequest, ApproveServerRequest, BackupPart, Cluster,
    ClusterList, CreateClusterRequest, CreateJoinCommandRequest, CreateServerTokenRequest, CreateTokenRequest, Event,
    EventList, FollowLogsRequest, GetSealRequest, GetStatusRequest, ImportClusterRequest, JoinCommand,
    ListClustersRequest, ListEventsRequest, ListNodesRequest, ListPermitsRequest, ListServersRequest,
    ListTokensRequest, LogLine, Node, NodeList, NodeRequest, OperatorCertificate, PermitList, RemoveEtcdMemberRequest,
    RemoveServerRequest, RenewOperatorRequest, RenewTokenRequest, RevokeTokenRequest, RotateDataKeyRequest, Seal,
    Server, ServerList, ServerRequest, SetClusterCredentialsRequest, Status as Overview, TakeBackupRequest,
    TakeSnapshotRequest, TakeSnapshotResponse, Token, TokenList, TransferLeaderRequest, TransferLeaderResponse,
    admin_service_server::AdminService,
};
use tonic::{Request, Response, Status};

use super::leader::Leader;
use crate::operations::Unsealed;
use nodes::Decision;
use stream::Streamed;

type Answer<T> = Result<Response<T>, Status>;

/// The operators' service.
pub struct Admin {
    /// What the server holds.
    pub server: Unsealed,
    /// Knows how the group of servers is doing.
    pub leader: Leader,
}

#[tonic::async_trait]
impl AdminService for Admin {
    type WatchNodesStream = Streamed<Node>;
    type WatchEventsStream = Streamed<Event>;
    type FollowLogsStream = Streamed<LogLine>;
    type TakeBackupStream = Streamed<BackupPart>;

    async fn get_status(&self, request: Request<GetStatusRequest>) -> Answer<Overview> {
        overview::get(&self.server, &request)
    }

    async fn create_cluster(&self, request: Request<CreateClusterRequest>) -> Answer<Cluster> {
        clusters::create(&self.server, request).await
    }

    async fn import_cluster(&self, request: Request<ImportClusterRequest>) -> Answer<Cluster> {
        import::cluster(&self.server, request).await
    }

    async fn set_cluster_credentials(&self, request: Request<SetClusterCredentialsRequest>) -> Answer<Cluster> {
        import::credentials(&self.server, request).await
    }

    async fn apply_cluster(&self, request: Request<ApplyClusterRequest>) -> Answer<ApplyClusterResponse> {
        clusters::apply(&self.server, request).await
    }

    async fn list_clusters(&self, request: Request<ListClustersRequest>) -> Answer<ClusterList> {
        clusters::list(&self.server, request)
    }

    async fn remove_etcd_member(&self, request: Request<RemoveEtcdMemberRequest>) -> Answer<Cluster> {
        etcd::remove(&self.server, request).await
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Answer<NodeList> {
        nodes::list(&self.server, request)
    }

    async fn watch_nodes(&self, request: Request<ListNodesRequest>) -> Answer<Self::WatchNodesStream> {
        watch_nodes::start(&self.server, request)
    }

    async fn approve_node(&self, request: Request<ApproveNodeRequest>) -> Answer<Node> {
        approval::approve(&self.server, request).await
    }

    async fn deny_node(&self, request: Request<NodeRequest>) -> Answer<Node> {
        nodes::decide(&self.server, request, Decision::Deny).await
    }

    async fn retry_node(&self, request: Request<NodeRequest>) -> Answer<Node> {
        nodes::decide(&self.server, request, Decision::Retry).await
    }

    async fn remove_node(&self, request: Request<NodeRequest>) -> Answer<Node> {
        nodes::decide(&self.server, request, Decision::Remove).await
    }

    async fn lock_node(&self, request: Request<NodeRequest>) -> Answer<Node> {
        nodes::decide(&self.server, request, Decision::Lock).await
    }

    async fn unlock_node(&self, request: Request<NodeRequest>) -> Answer<Node> {
        nodes::decide(&self.server, request, Decision::Unlock).await
    }

    async fn create_token(&self, request: Request<CreateTokenRequest>) -> Answer<Token> {
        tokens::create(&self.server, request).await
    }

    async fn list_tokens(&self, request: Request<ListTokensRequest>) -> Answer<TokenList> {
        tokens::list(&self.server, request)
    }

    async fn revoke_token(&self, request: Request<RevokeTokenRequest>) -> Answer<Token> {
        tokens::revoke(&self.server, request).await
    }

    async fn renew_token(&self, request: Request<RenewTokenRequest>) -> Answer<Token> {
        tokens::renew(&self.server, request).await
    }

    async fn create_join_command(&self, request: Request<CreateJoinCommandRequest>) -> Answer<JoinCommand> {
        tokens::join_command(&self.server, request).await
    }

    async fn list_permits(&self, request: Request<ListPermitsRequest>) -> Answer<PermitList> {
        permits::list(&self.server, request)
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Answer<EventList> {
        events::list(&self.server, request)
    }

    async fn watch_events(&self, request: Request<ListEventsRequest>) -> Answer<Self::WatchEventsStream> {
        watch_events::start(&self.server, request)
    }

    async fn list_servers(&self, request: Request<ListServersRequest>) -> Answer<ServerList> {
        servers::list(&self.server, &self.leader, request).await
    }

    async fn create_server_token(&self, request: Request<CreateServerTokenRequest>) -> Answer<Token> {
        servers::create_token(&self.server, request).await
    }

    async fn approve_server(&self, request: Request<ApproveServerRequest>) -> Answer<Server> {
        servers::approve(&self.server, request).await
    }

    async fn promote_server(&self, request: Request<ServerRequest>) -> Answer<Server> {
        servers::promote(&self.server, request).await
    }

    async fn remove_server(&self, request: Request<RemoveServerRequest>) -> Answer<Server> {
        servers::remove(&self.server, &self.leader, request).await
    }

    async fn transfer_leader(&self, request: Request<TransferLeaderRequest>) -> Answer<TransferLeaderResponse> {
        servers::transfer(&self.server, &self.leader, request).await
    }

    async fn take_snapshot(&self, request: Request<TakeSnapshotRequest>) -> Answer<TakeSnapshotResponse> {
        servers::snapshot(&self.server, request).await
    }

    async fn follow_logs(&self, request: Request<FollowLogsRequest>) -> Answer<Self::FollowLogsStream> {
        logs::follow(&self.server, &self.leader.client, request)
    }

    async fn take_backup(&self, request: Request<TakeBackupRequest>) -> Answer<Self::TakeBackupStream> {
        backup::take(&self.server, request).await
    }

    async fn get_seal(&self, request: Request<GetSealRequest>) -> Answer<Seal> {
        seal::get(&self.server, request)
    }

    async fn rotate_data_key(&self, request: Request<RotateDataKeyRequest>) -> Answer<Seal> {
        seal::rotate(&self.server, request).await
    }

    async fn renew_operator(&self, request: Request<RenewOperatorRequest>) -> Answer<OperatorCertificate> {
        seal::renew_operator(&self.server, request).await
    }
}

#[cfg(test)]
mod tests;
