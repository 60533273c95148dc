//! Continuation tokens: where the next page of a listing begins.
//!
//! ```text
//! byte 0      the format version
//! byte 1..5   CRC32 of the rest, so that a token that was not issued here is refused
//! byte 5..    the last key or common prefix of the page
//! ```
//! in base64url without padding.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use umbra_core::{ChecksumAlgorithm, ChecksumHasher, Error, Fault, Result};

const VERSION: u8 = 1;

/// The token that continues behind `last`.
pub(super) fn encode(last: &str) -> String {
    let bytes = [&[VERSION], &sum(last.as_bytes())[..], last.as_bytes()].concat();
    BASE64URL.encode(bytes)
}

/// The last key or common prefix that `token` continues behind.
pub(super) fn decode(token: &str) -> Result<String> {
    parse(token).ok_or_else(|| Error::invalid(Fault::InvalidArgument, "the continuation token provided is incorrect"))
}

fn parse(token: &str) -> Option<String> {
    let bytes = BASE64URL.decode(token).ok()?;
    let (&VERSION, rest) = bytes.split_first()? else { return None };
    let (expected, last) = rest.split_first_chunk::<4>()?;
    (sum(last) == *expected).then(|| String::from_utf8(last.to_vec()).ok()).flatten()
}

fn sum(bytes: &[u8]) -> [u8; 4] {
    let mut hasher = ChecksumHasher::new(ChecksumAlgorithm::Crc32);
    hasher.update(bytes);
    let value = base64::engine::general_purpose::STANDARD.decode(hasher.finish().value);
    value.ok().and_then(|value| value.try_into().ok()).expect("a CRC32 is four bytes in base64")
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn a_token_gives_back_what_it_was_made_of() {
        for last in ["a", "a/b/", "ü\0\u{10ffff}", &"k".repeat(1024)] {
            assert_eq!(decode(&encode(last)).unwrap(), last);
        }
        assert_eq!(encode("a"), "Aei3vkNh", "the form of version 1 stays");
    }

    #[test]
    fn anything_else_is_refused() {
        let token = encode("some key");
        let flipped = format!("{}A", &token[..token.len() - 1]);
        for bad in ["", "x", "%%%", "AAAA", "some key", &token[1..], &token[..token.len() - 2], &flipped, &format!("{token}=")] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }
}
