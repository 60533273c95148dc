//! Control characters in XML answers.
//!
//! Keys may hold characters that XML 1.0 cannot, and s3s fails a whole listing over one such key. S3 writes them as character references
//! (`&#x1;`). So texts are shielded on the way in: each such character becomes a private-use character and two hexadecimal digits,
//! which the outer layer turns into a reference once the document is written.

use std::fmt::Write as _;

use bytes::Bytes;

/// Announces a shielded character; shielded itself where a text holds it.
const MARK: char = '\u{F8FF}';
/// The mark in UTF-8.
const MARK_BYTES: &[u8] = "\u{F8FF}".as_bytes();
/// The code that stands for the mark itself.
const MARK_CODE: u8 = 0xFF;

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
            match c {
                MARK => push(&mut safe, MARK_CODE),
                c if needs_shield(c) => push(&mut safe, c as u8),
                c => safe.push(c),
            }
        }
        safe
    }
}

fn needs_shield(c: char) -> bool {
    c == MARK || (c < ' ' && c != '\t' && c != '\n')
}

fn push(text: &mut String, code: u8) {
    write!(text, "{MARK}{code:02X}").expect("a string takes any text");
}

/// Turns shielded characters of a finished document into character references.
pub(crate) fn unshield(document: &Bytes) -> Bytes {
    let mut rest: &[u8] = document;
    let mut plain = Vec::with_capacity(document.len());
    while let Some(at) = rest.windows(MARK_BYTES.len()).position(|window| window == MARK_BYTES) {
        plain.extend_from_slice(&rest[..at]);
        rest = &rest[at + MARK_BYTES.len()..];
        let code = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(MARK_CODE) => plain.extend_from_slice(MARK_BYTES),
            Some(code) => plain.extend_from_slice(format!("&#x{code:X};").as_bytes()),
            None => continue,
        }
        rest = &rest[2..];
    }
    plain.extend_from_slice(rest);
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::{Shield, unshield};

    #[test]
    fn ordinary_text_is_left_alone() {
        let mut shield = Shield::default();
        assert_eq!(shield.text("a/ü\t\n<&".to_owned()), "a/ü\t\n<&");
        assert!(!shield.used);
    }

    #[test]
    fn control_characters_become_references() {
        let mut shield = Shield::default();
        let safe = shield.text("a\u{1}b\rc\u{F8FF}0A\u{1f}".to_owned());
        assert!(shield.used);
        assert!(!safe.contains(|c: char| c < ' '));
        assert_eq!(unshield(&safe.into()), "a&#x1;b&#xD;c\u{F8FF}0A&#x1F;".as_bytes());
    }
}
