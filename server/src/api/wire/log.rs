//! Lines of output from an agent.

/// Lines of one message.
const LINES_MAX: usize = 100;
/// Bytes of one line.
const LINE_MAX: usize = 1024;

/// Cuts what is more than the contract allows.
pub fn clip(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().take(LINES_MAX).map(clip_line).collect()
}

fn clip_line(mut line: String) -> String {
    let mut end = line.len().min(LINE_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}
