//! What is remembered: plain data, no behaviour beyond questions about itself.

pub mod attachment;
pub mod cluster;
pub mod comparison;
pub mod credential;
pub mod credentials;
pub mod custody;
pub mod errand;
pub mod etcd;
pub mod event;
pub mod fleet;
pub mod link;
pub mod node;
pub mod observation;
mod readiness;
pub mod server;

pub use attachment::Attachment;
pub use cluster::{Admission, CaCertificate, Cluster, ClusterSpec, NamedNode, Origin, Permit, PermitKind, Pool, Role};
pub use comparison::{Comparison, StateSeen};
pub use credential::{BootstrapToken, BootstrapTokenState, EnrolmentToken, Purpose, TokenDifference, TokenStanding};
pub use credentials::Credentials;
pub use custody::{Custody, RequestsSeen, RequestsTold, SeenRequest, Verdict};
pub use errand::{Errand, ErrandKind, ErrandState};
pub use etcd::{EtcdProblem, EtcdRemoval, EtcdView, WatchedMember};
pub use event::Event;
pub use fleet::{Fleet, SealedSecret};
pub use link::{CsrApproval, Hold, JudgedRequest, Link, LinkCondition, LinkStatus};
pub use node::{
    Assurance, Certificate, EtcdMember, Identity, LastFailure, NextIdentity, Node, PhaseEntry, Placement, Standing,
    Step, StepState, Suggestion, Verb,
};
pub use observation::{ApiNode, Observation, Witnessed};
pub use server::{ServerRecord, ServerStanding, ServerToken, ServerUrls};
