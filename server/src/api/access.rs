//! Who may call what. Default is deny: a path without a row is refused, and a test fails for an RPC without a row.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tonic::{Status, body::Body, codegen::http};
use tower::{Layer, Service};

/// A listener, and with it the role of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// 9443: anybody; proves itself within the call.
    Enrolment,
    /// 9444: node certificates.
    Nodes,
    /// 9445: operator certificates.
    Operators,
    /// 9446: server certificates.
    Peers,
}

/// Every RPC and the one listener that serves it.
const TABLE: &[(&str, Listener)] = &[
    ("/muster.enrolment.v1.EnrolmentService/Enrol", Listener::Enrolment),
    ("/muster.enrolment.v1.EnrolmentService/JoinServer", Listener::Enrolment),
    ("/muster.join.v1.JoinService/Attach", Listener::Nodes),
    ("/muster.join.v1.JoinService/Renew", Listener::Nodes),
    ("/muster.admin.v1.AdminService/GetStatus", Listener::Operators),
    ("/muster.admin.v1.AdminService/CreateCluster", Listener::Operators),
    ("/muster.admin.v1.AdminService/ImportCluster", Listener::Operators),
    ("/muster.admin.v1.AdminService/SetClusterCredentials", Listener::Operators),
    ("/muster.admin.v1.AdminService/ApplyCluster", Listener::Operators),
    ("/muster.admin.v1.AdminService/ListClusters", Listener::Operators),
    ("/muster.admin.v1.AdminService/RemoveEtcdMember", Listener::Operators),
    ("/muster.admin.v1.AdminService/ListNodes", Listener::Operators),
    ("/muster.admin.v1.AdminService/WatchNodes", Listener::Operators),
    ("/muster.admin.v1.AdminService/ApproveNode", Listener::Operators),
    ("/muster.admin.v1.AdminService/DenyNode", Listener::Operators),
    ("/muster.admin.v1.AdminService/RetryNode", Listener::Operators),
    ("/muster.admin.v1.AdminService/RemoveNode", Listener::Operators),
    ("/muster.admin.v1.AdminService/LockNode", Listener::Operators),
    ("/muster.admin.v1.AdminService/UnlockNode", Listener::Operators),
    ("/muster.admin.v1.AdminService/CreateToken", Listener::Operators),
    ("/muster.admin.v1.AdminService/ListTokens", Listener::Operators),
    ("/muster.admin.v1.AdminService/RevokeToken", Listener::Operators),
    ("/muster.admin.v1.AdminService/RenewToken", Listener::Operators),
    ("/muster.admin.v1.AdminService/CreateJoinCommand", Listener::Operators),
    ("/muster.admin.v1.AdminService/ListPermits", Listener::Operators),
    ("/muster.admin.v1.AdminService/ListEvents", Listener::Operators),
    ("/muster.admin.v1.AdminService/WatchEvents", Listener::Operators),
    ("/muster.admin.v1.AdminService/FollowLogs", Listener::Operators),
    ("/muster.admin.v1.AdminService/ListServers", Listener::Operators),
    ("/muster.admin.v1.AdminService/CreateServerToken", Listener::Operators),
    ("/muster.admin.v1.AdminService/ApproveServer", Listener::Operators),
    ("/muster.admin.v1.AdminService/PromoteServer", Listener::Operators),
    ("/muster.admin.v1.AdminService/RemoveServer", Listener::Operators),
    ("/muster.admin.v1.AdminService/TransferLeader", Listener::Operators),
    ("/muster.admin.v1.AdminService/TakeSnapshot", Listener::Operators),
    ("/muster.admin.v1.AdminService/TakeBackup", Listener::Operators),
    ("/muster.admin.v1.AdminService/GetSeal", Listener::Operators),
    ("/muster.admin.v1.AdminService/RotateDataKey", Listener::Operators),
    ("/muster.admin.v1.AdminService/RenewOperator", Listener::Operators),
    ("/muster.internal.raft.v1.PeerService/Append", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/Vote", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/InstallSnapshot", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/Forward", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/ReadIndex", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/Campaign", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/Greet", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/RenderPayload", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/IssueCertificate", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/RenewCertificate", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/Progress", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/HandOver", Listener::Peers),
    ("/muster.internal.raft.v1.PeerService/ReadLog", Listener::Peers),
];

/// May this path be called on this listener?
pub fn allows(listener: Listener, path: &str) -> bool {
    TABLE.iter().any(|(row, on)| *row == path && *on == listener)
}

/// Puts the table before all services of a listener.
#[derive(Clone, Copy, Debug)]
pub struct AccessLayer(pub Listener);

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;
    fn layer(&self, inner: S) -> Access<S> {
        Access { inner, listener: self.0 }
    }
}

/// Refuses what the table does not allow.
#[derive(Clone, Debug)]
pub struct Access<S> {
    inner: S,
    listener: Listener,
}

impl<S, B> Service<http::Request<B>> for Access<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if allows(self.listener, request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }
        Box::pin(async { Ok(Status::permission_denied("not served here").into_http()) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_rpc_has_exactly_one_row() {
        let files = FileDescriptorSet::decode(muster_proto::FILE_DESCRIPTOR_SET).expect("our own descriptors");
        let rpcs: BTreeSet<String> = files
            .file
            .iter()
            .filter(|file| file.package().starts_with("muster."))
            .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
            .flat_map(|(package, service)| {
                service.method.iter().map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
            })
            .collect();
        let rows: BTreeSet<String> = TABLE.iter().map(|(row, _)| (*row).to_owned()).collect();
        assert_eq!(rpcs, rows);
        assert_eq!(rows.len(), TABLE.len(), "a row stands twice");
    }

    #[test]
    fn what_has_no_row_is_refused_everywhere() {
        for listener in [Listener::Enrolment, Listener::Nodes, Listener::Operators, Listener::Peers] {
            assert!(!allows(listener, "/muster.admin.v1.AdminService/Anything"));
            assert!(!allows(listener, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"));
        }
        assert!(!allows(Listener::Nodes, "/muster.admin.v1.AdminService/GetStatus"));
        assert!(!allows(Listener::Enrolment, "/muster.join.v1.JoinService/Attach"));
        for listener in [Listener::Enrolment, Listener::Nodes, Listener::Operators] {
            assert!(!allows(listener, "/muster.internal.raft.v1.PeerService/Append"));
        }
        assert!(!allows(Listener::Peers, "/muster.admin.v1.AdminService/GetStatus"));
    }
}
