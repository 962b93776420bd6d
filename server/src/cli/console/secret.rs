//! Asking for a secret without showing what is typed.

use std::io::{BufRead, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Longest line that is read: no passphrase is longer.
const LINE_BYTES_MAX: u64 = 4096;

/// The terminal of standard input, silent until this is dropped.
struct Silence(Option<Termios>);

impl Silence {
    /// Does nothing where standard input is no terminal.
    fn begin() -> Self {
        let Ok(before) = tcgetattr(std::io::stdin()) else { return Self(None) };
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO;
        let is_silent = tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent).is_ok();
        Self(is_silent.then_some(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // If the terminal is gone there is nothing left to show anything.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, before);
        }
    }
}

/// Writes `question` and reads one line, which is not shown.
pub(super) fn ask(
    question: &str,
    words: &mut dyn Write,
    input: &mut dyn BufRead,
) -> std::io::Result<Zeroizing<String>> {
    let silence = Silence::begin();
    write!(words, "{question}").and_then(|()| words.flush())?;
    // Room for the longest from the start: growing would leave copies behind.
    let mut line = Zeroizing::new(String::with_capacity(LINE_BYTES_MAX as usize));
    let read = std::io::Read::take(input, LINE_BYTES_MAX).read_line(&mut line);
    drop(silence);
    // The typed line end was not shown either.
    let _ = writeln!(words);
    read?;
    while line.ends_with(['\n', '\r']) {
        line.pop();
    }
    Ok(line)
}
