//! Text from elsewhere, made harmless for a terminal.

use std::fmt::Write as _;

/// `text` with every control and direction-changing character written as `\u{…}`, line ends included.
pub(in crate::cli) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || reorders(c) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that change the order or the visibility of their neighbours (Unicode Bidi and zero-width controls).
fn reorders(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn ordinary_text_stays_as_it_is() {
        assert_eq!(plain("n1 – Über 10 °C"), "n1 – Über 10 °C");
    }

    #[test]
    fn controls_are_written_out() {
        assert_eq!(plain("a\u{1b}[2Jb\r\n\tc\u{7f}\u{9b}"), "a\\u{1b}[2Jb\\u{d}\\u{a}\\u{9}c\\u{7f}\\u{9b}");
        assert_eq!(plain("abc\u{202e}fed"), "abc\\u{202e}fed");
    }
}
