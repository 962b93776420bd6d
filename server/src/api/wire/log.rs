//! Lines of output from an agent.

use muster_state::limits::clip_to;

/// Lines of one message.
const LINES_MAX: usize = 100;
/// Bytes of one line.
const LINE_MAX: usize = 1024;

/// Cuts what is more than the contract allows.
pub fn clip(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().take(LINES_MAX).map(clip_line).collect()
}

/// A copy: cutting in place would keep what was allocated for the whole.
fn clip_line(line: String) -> String {
    clip_to(&line, LINE_MAX)
}
