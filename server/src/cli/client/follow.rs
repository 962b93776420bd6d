//! Streams: read to their end, or followed over broken connections.

use std::ops::ControlFlow;
use std::time::Duration;

use tonic::Streaming;

use super::Session;
use crate::cli::exit::{Exit, Failure};

/// How long a broken stream is opened again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Patience {
    /// As long as an election or a restart takes: twenty attempts in a row.
    Short,
    /// As long as the caller likes, who has a clock of its own.
    Endless,
}

const REOPENS_MAX: u32 = 20;
/// Pause before a stream is opened again.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

impl Session {
    /// Reads `stream` until it ends or `each` breaks off.
    ///
    /// # Errors
    /// If the stream breaks, or `each` fails.
    pub(in crate::cli) async fn read<T>(
        &self,
        mut stream: Streaming<T>,
        each: &mut impl FnMut(T) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<ControlFlow<()>, Failure> {
        loop {
            match stream.message().await {
                Ok(Some(message)) => {
                    if each(message)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(None) => return Ok(ControlFlow::Continue(())),
                Err(status) => return Err(Failure::of_status(&status)),
            }
        }
    }

    /// Opens a stream and reads it until `each` breaks off; a stream that ends or breaks is opened again. Whoever calls
    /// must expect to see again what it saw before.
    ///
    /// # Errors
    /// If the first opening fails, later ones fail too often, the server refuses, or `each` fails.
    pub(in crate::cli) async fn follow<T>(
        &self,
        patience: Patience,
        open: impl AsyncFn() -> Result<Streaming<T>, Failure>,
        mut each: impl FnMut(T) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        let mut stream = open().await?;
        loop {
            match self.read(stream, &mut each).await {
                Ok(ControlFlow::Break(())) => return Ok(()),
                Ok(ControlFlow::Continue(())) => {}
                Err(failure) if failure.exit == Exit::Unreachable => {}
                Err(failure) => return Err(failure),
            }
            stream = reopen(patience, &open).await?;
        }
    }
}

async fn reopen<T>(
    patience: Patience,
    open: &impl AsyncFn() -> Result<Streaming<T>, Failure>,
) -> Result<Streaming<T>, Failure> {
    let mut attempts = 0;
    loop {
        tokio::time::sleep(REOPEN_PAUSE).await;
        match open().await {
            Err(failure) if failure.exit == Exit::Unreachable && attempts < REOPENS_MAX => {
                attempts += u32::from(patience == Patience::Short);
            }
            opened => return opened,
        }
    }
}
