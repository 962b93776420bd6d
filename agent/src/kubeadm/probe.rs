//! Gathers the evidence by which an interrupted call is judged.

use crate::kubeadm::Kubeadm;
use crate::kubectl;
use crate::phase::{Answer, Evidence, Membership};
use crate::report::EtcdMembers;

impl Kubeadm {
    /// What this machine shows of a join that was interrupted.
    pub async fn evidence(&self, node_name: &str) -> Evidence {
        let host = self.host.as_ref();
        let admin_conf = host.exists("/etc/kubernetes/admin.conf");
        let kubelet_conf = host.exists("/etc/kubernetes/kubelet.conf");
        let manifests = host.exists("/etc/kubernetes/manifests/kube-apiserver.yaml");
        let (api_ready, kubeadm_config) = if admin_conf && manifests {
            (kubectl::api_ready(host).await, kubectl::kubeadm_config_exists(host).await)
        } else {
            (Answer::No, Answer::No)
        };
        let node = if kubelet_conf { kubectl::node_exists(host, node_name).await } else { Answer::No };
        let members = self.members_in_any_state().await;
        Evidence {
            admin_conf,
            kubelet_conf,
            manifests,
            traces: !self.traces().is_empty(),
            api_ready,
            kubeadm_config,
            node,
            membership: members.as_ref().map_or(Membership::Absent, membership),
            members,
        }
    }

    /// A learner answers for itself alone: it cannot ask a quorum.
    async fn members_in_any_state(&self) -> Option<EtcdMembers> {
        if !self.host.exists("/etc/kubernetes/manifests/etcd.yaml") {
            return None;
        }
        match self.host.etcd_members(true).await {
            Ok(members) => Some(members),
            Err(_) => self.host.etcd_members(false).await.ok(),
        }
    }
}

fn membership(members: &EtcdMembers) -> Membership {
    match members.members.iter().find(|member| member.id == members.self_id) {
        Some(member) if member.learner => Membership::Learner,
        Some(_) => Membership::Voter,
        None => Membership::Absent,
    }
}
