//! The machine, as far as the agent touches it: files, programs, sockets, clock, and the etcd on it.

mod machine;
mod process;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::etcd::EtcdError;
use crate::report::EtcdMembers;

pub use machine::Machine;

/// Lines of output kept of a program, the newest: an error stands at the end.
pub const LINES_MAX: usize = 4_000;

/// Bytes kept of a line; kubeadm's longest are lists of SANs.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// One run of a program.
pub struct Call {
    /// Its name, looked up on the machine.
    pub program: &'static str,
    /// No secret is ever among them.
    pub arguments: Vec<String>,
    /// What it reads.
    pub stdin: Option<Zeroizing<Vec<u8>>>,
    /// After this it is ended, with all that it started.
    pub limit: Duration,
    /// Ends it early, when the agent itself must end.
    pub stop: CancellationToken,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code; `None` if a signal ended it.
    Code(Option<i32>),
    /// By its limit.
    TimedOut,
    /// By [`Call::stop`].
    Stopped,
}

/// What a program left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Standard output alone, whole lines, for what is parsed.
    pub stdout: Vec<String>,
    /// Both streams, in the order in which they came.
    pub lines: Vec<String>,
}

impl Output {
    /// Whether it ended by itself with code 0.
    pub const fn succeeded(&self) -> bool {
        matches!(self.exit, Exit::Code(Some(0)))
    }
}

/// Takes each line of a program while it runs. Lines are raw: whoever gets them scrubs them first.
pub type OnLine<'a> = &'a mut (dyn FnMut(&str) + Send);

/// The machine. Paths are the machine's own, absolute; where its root lies is the implementation's affair.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// The content of a file.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Whether there is anything at `path`.
    fn exists(&self, path: &str) -> bool;

    /// Whether `path` is a directory with something in it.
    fn is_filled_dir(&self, path: &str) -> bool;

    /// Whether somebody listens on the Unix socket `path`.
    fn answers(&self, path: &str) -> bool;

    /// Replaces a file by `content`; it is whole or absent after a power cut. Parents are made with mode 0755.
    fn lay(&self, path: &str, mode: u32, content: &[u8]) -> io::Result<()>;

    /// Removes a file; an absent one is fine.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Whether there is such a program.
    fn has_program(&self, program: &str) -> bool;

    /// Whether somebody listens on this TCP port.
    fn port_in_use(&self, port: u16) -> bool;

    /// The clock, milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;

    /// Runs a program to its end. One that is cut short takes its whole process group with it.
    async fn run(&self, call: Call, on_line: OnLine<'_>) -> io::Result<Output>;

    /// Ends the kubeadm and kubectl that an earlier life of this agent left running, and waits until they are gone.
    async fn end_orphans(&self);

    /// The members as the own etcd lists them; `linearizable` makes it ask a quorum.
    async fn etcd_members(&self, linearizable: bool) -> Result<EtcdMembers, EtcdError>;
}

/// The machine, shared.
pub type SharedHost = Arc<dyn Host>;
