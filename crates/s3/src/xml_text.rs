//! Control characters in XML answers.
//!
//! Keys may hold characters that XML 1.0 cannot, and s3s fails a whole listing over one such key. S3 writes them as character references
//! (`&#x1;`). So texts are shielded on the way in: each such character becomes a private-use character and four hexadecimal digits,
//! which the outer layer turns into a reference once the document is written.

use std::fmt::Write as _;

use bytes::Bytes;

/// Announces a shielded character; shielded itself where a text holds it.
const MARK: char = '\u{F8FF}';
/// The mark in UTF-8.
const MARK_BYTES: &[u8] = "\u{F8FF}".as_bytes();
/// Digits behind a mark.
const DIGITS: usize = 4;

/// Says that a response's body holds shielded characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shielded;

/// Shields texts, and remembers whether it had to.
#[derive(Debug, Default)]
pub(crate) struct Shield {
    /// Whether any text was changed: then the response needs [`Shielded`].
    pub(crate) used: bool,
}

impl Shield {
    /// `text`, safe for s3s.
    pub(crate) fn text(&mut self, text: String) -> String {
        if !text.chars().any(needs_shield) {
            return text;
        }
        self.used = true;
        let mut safe = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if needs_shield(c) {
                write!(safe, "{MARK}{:04X}", u32::from(c)).expect("a string takes any text");
            } else {
                safe.push(c);
            }
        }
        safe
    }
}

/// What XML cannot hold, what its parsers would change, and the mark.
fn needs_shield(c: char) -> bool {
    matches!(c, MARK | '\u{FFFE}' | '\u{FFFF}') || (c < ' ' && c != '\t' && c != '\n')
}

/// `text` with a replacement for every character that XML cannot hold: where strict parsers must not fail and nobody acts on the text.
pub(crate) fn legible(text: &str) -> String {
    text.replace(|c| needs_shield(c) && c != MARK && c != '\r', "\u{FFFD}")
}

/// Turns shielded characters of a finished document into character references.
pub(crate) fn unshield(document: &Bytes) -> Bytes {
    let mut rest: &[u8] = document;
    let mut plain = Vec::with_capacity(document.len());
    while let Some(at) = rest.windows(MARK_BYTES.len()).position(|window| window == MARK_BYTES) {
        plain.extend_from_slice(&rest[..at]);
        rest = &rest[at + MARK_BYTES.len()..];
        let digits = rest.get(..DIGITS).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else { continue };
        if code == u32::from(MARK) {
            plain.extend_from_slice(MARK_BYTES);
        } else {
            plain.extend_from_slice(format!("&#x{code:X};").as_bytes());
        }
        rest = &rest[DIGITS..];
    }
    plain.extend_from_slice(rest);
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::{Shield, legible, unshield};

    #[test]
    fn ordinary_text_is_left_alone() {
        let mut shield = Shield::default();
        assert_eq!(shield.text("a/ü\t\n<&".to_owned()), "a/ü\t\n<&");
        assert!(!shield.used);
    }

    #[test]
    fn control_characters_become_references() {
        let mut shield = Shield::default();
        let safe = shield.text("a\u{1}b\rc\u{F8FF}000A\u{1f}\u{FFFF}".to_owned());
        assert!(shield.used);
        assert!(!safe.contains(|c: char| c < ' '));
        assert_eq!(unshield(&safe.into()), "a&#x1;b&#xD;c\u{F8FF}000A&#x1F;&#xFFFF;".as_bytes());
    }

    #[test]
    fn legible_text_is_xml() {
        assert_eq!(legible("a\u{1}b\u{FFFF}\rü\u{F8FF}"), "a\u{FFFD}b\u{FFFD}\rü\u{F8FF}");
    }
}
