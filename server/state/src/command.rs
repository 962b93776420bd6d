//! The only ways in which the state changes: one verb per file, each with its input, its reply and its rule.
//!
//! A verb checks first and changes after, so that a refusal leaves no trace. To add one: a file here, a line in
//! `verbs!`, a golden encoding.

use serde::{Deserialize, Serialize};

use crate::{Digest, Refusal, State, limits, state::Context};

/// Who asked, so that a retry is told apart from a new request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Identity of the caller (SPIFFE id).
    pub caller: String,
    /// Chosen by the caller, unique per request.
    pub id: String,
    /// SHA-256 of the body.
    pub digest: Digest,
}

impl Request {
    /// Refuses what would make two requests look alike, or fill the state.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let is_fit = |text: &str| text.len() <= limits::REQUEST_TEXT_MAX && !text.contains(char::is_control);
        if is_fit(&self.caller) && is_fit(&self.id) && !self.id.is_empty() {
            return Ok(());
        }
        let problem = format!("must be 1 to {} characters, none of them a control character", limits::REQUEST_TEXT_MAX);
        Err(Refusal::invalid("request id", problem))
    }

    pub(crate) fn key(&self) -> String {
        format!("{}\n{}", self.caller, self.id)
    }
}

/// What goes through the log: a verb, and who asked where that matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Absent for Muster's own commands, which are safe to repeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// What to do.
    pub verb: Verb,
}

impl<V: VerbOf> From<V> for Command {
    fn from(verb: V) -> Self {
        Self { request: None, verb: verb.into() }
    }
}

/// A verb with its typed reply.
pub trait VerbOf: Into<Verb> + Clone + Send + 'static {
    /// What the proposer gets.
    type Reply: Send + 'static;

    /// Carries it out.
    fn apply(self, state: &mut State, context: Context) -> Result<Self::Reply, Refusal>;

    /// Takes the typed reply out of the one that travelled through the log; `None` for another verb's.
    fn reply(reply: Reply) -> Option<Self::Reply>;
}

macro_rules! verbs {
    ($($module:ident :: $verb:ident -> $reply:ty),* $(,)?) => {
        $(mod $module; pub use $module::$verb;)*

        /// All verbs. The names and fields are a stored encoding: add, never rename.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "each variant is documented at its type")]
        pub enum Verb { $($verb($verb)),* }

        /// All replies.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "each variant is documented at its verb")]
        pub enum Reply { $($verb($reply)),* }

        impl Reply {
            /// Name of the verb it answers.
            pub fn verb_name(&self) -> &'static str {
                match self { $(Self::$verb(_) => stringify!($verb)),* }
            }
        }

        impl Verb {
            /// Names of all verbs, in the order of their declaration.
            pub const NAMES: &[&str] = &[$(stringify!($verb)),*];

            /// Name of the verb, for logs and metrics.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$verb(_) => stringify!($verb)),* }
            }

            pub(crate) fn apply(self, state: &mut State, context: Context) -> Result<Reply, Refusal> {
                match self { $(Self::$verb(verb) => VerbOf::apply(verb, state, context).map(Reply::$verb)),* }
            }
        }

        $(impl From<$verb> for Verb {
            fn from(verb: $verb) -> Self { Self::$verb(verb) }
        }

        impl VerbOf for $verb {
            type Reply = $reply;
            fn apply(self, state: &mut State, context: Context) -> Result<$reply, Refusal> {
                $verb::apply(self, state, context)
            }
            fn reply(reply: Reply) -> Option<$reply> {
                if let Reply::$verb(reply) = reply { Some(reply) } else { None }
            }
        })*
    };
}

verbs! {
    found_fleet::FoundFleet -> (),
    create_cluster::CreateCluster -> crate::ClusterId,
    update_cluster::UpdateCluster -> u64,
    create_enrolment_token::CreateEnrolmentToken -> (),
    revoke_token::RevokeToken -> (),
    renew_enrolment_token::RenewEnrolmentToken -> u64,
    enrol::Enrol -> enrol::Enrolled,
    issue_certificate::IssueCertificate -> crate::record::Certificate,
    confirm_identity::ConfirmIdentity -> crate::NodeId,
    renew_identity::RenewIdentity -> u64,
    approve_node::ApproveNode -> (),
    deny_node::DenyNode -> (),
    retry_node::RetryNode -> (),
    remove_node::RemoveNode -> (),
    lock_node::LockNode -> (),
    unlock_node::UnlockNode -> (),
    record_hello::RecordHello -> (),
    record_detached::RecordDetached -> (),
    judge_preflight::JudgePreflight -> (),
    instruct::Instruct -> u32,
    grant_permit::GrantPermit -> (),
    mint_bootstrap_token::MintBootstrapToken -> (),
    open_errand::OpenErrand -> u64,
    release::Release -> (),
    release_join_command::ReleaseJoinCommand -> (),
    release_backup::ReleaseBackup -> (),
    renew_operator::RenewOperator -> (),
    report::Report -> (),
    complete_errand::CompleteErrand -> (),
    replace_certificate_key::ReplaceCertificateKey -> (),
    free_permit::FreePermit -> (),
    choose_first::ChooseFirst -> (),
    record_token_misuse::RecordTokenMisuse -> (),
    accept_time::AcceptTime -> (),
    sweep::Sweep -> (),
    create_server_token::CreateServerToken -> (),
    request_server::RequestServer -> request_server::ServerRequested,
    approve_server::ApproveServer -> (),
    issue_server_certificate::IssueServerCertificate -> crate::record::Certificate,
    promote_server::PromoteServer -> (),
    remove_server::RemoveServer -> (),
    record_server::RecordServer -> (),
    hand_data_keys::HandDataKeys -> (),
    start_epoch::StartEpoch -> (),
    compare_state::CompareState -> (),
    reseal_secrets::ResealSecrets -> u32,
    end_epoch::EndEpoch -> (),
    replace_data_key_copies::ReplaceDataKeyCopies -> (),
    record_link::RecordLink -> (),
    observe_nodes::ObserveNodes -> (),
    decide_csr::DecideCsr -> crate::csr::CsrDecision,
    move_tokens::MoveTokens -> (),
    observe_etcd::ObserveEtcd -> (),
    drop_etcd_learner::DropEtcdLearner -> (),
    remove_etcd_member::RemoveEtcdMember -> (),
    end_etcd_removal::EndEtcdRemoval -> (),
    compare_tokens::CompareTokens -> (),
    move_certificates::MoveCertificates -> (),
    extend_join_window::ExtendJoinWindow -> (),
    set_credentials::SetCredentials -> (),
}

pub use complete_errand::ErrandOutcome;
pub use enrol::Enrolled;
pub use move_certificates::CertificatesStep;
pub use move_tokens::TokenStep;
pub use observe_etcd::EtcdSeen;
pub(crate) use open_errand::drop_errands;
pub use report::StepOutcome;
pub use request_server::ServerRequested;
pub use reseal_secrets::Resealed;
