//! Texts of a line, so that no client can forge one, nor have a secret written into it.
//!
//! A field that is absent is `-`. S3 documents no way to escape: what could end a field or a line is percent-encoded.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What cannot stand in a field: its end, the end of one in quotes, and the backslash, which readers may take for an escape.
const IN_FIELD: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'\\').add(b'[').add(b']');
/// The same in quotes.
const IN_QUOTES: &AsciiSet = &CONTROLS.add(b'"').add(b'\\');
/// What stands in a key as it is.
const IN_KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Parameters whose values are secrets, or open something together with one.
const SECRETS: [&str; 8] = [
    "awsaccesskeyid",
    "signature",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-context",
    "x-amz-signature",
];
const REMOVED: &str = "REDACTED";

/// A field without quotes.
pub(super) fn field(text: Option<&str>) -> Cow<'_, str> {
    text.filter(|text| !text.is_empty()).map_or(Cow::Borrowed("-"), |text| percent_encode(text.as_bytes(), IN_FIELD).into())
}

/// A field that is in quotes where it says anything.
pub(super) fn quoted(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty())
        .map_or_else(|| "-".to_owned(), |text| format!("\"{}\"", percent_encode(text.as_bytes(), IN_QUOTES)))
}

/// A key, as URLs have it.
pub(super) fn key(key: Option<&str>) -> Cow<'_, str> {
    key.filter(|key| !key.is_empty()).map_or(Cow::Borrowed("-"), |key| percent_encode(key.as_bytes(), IN_KEY).into())
}

/// A path with its query, or a URL, without the values of [`SECRETS`].
pub(super) fn without_secrets(url: &str) -> Cow<'_, str> {
    let Some((path, query)) = url.split_once('?') else { return Cow::Borrowed(url) };
    let is_secret = |pair: &str| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        SECRETS.contains(&&*percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase())
    };
    // A fragment does not end what a secret might be in.
    if !query.split(['&', ';', '?']).any(is_secret) {
        return Cow::Borrowed(url);
    }
    let mut kept = format!("{path}?");
    for piece in query.split_inclusive(['&', ';', '?']) {
        let pair = piece.trim_end_matches(['&', ';', '?']);
        match pair.split_once('=').filter(|_| is_secret(pair)) {
            Some((name, _)) => kept.extend([name, "=", REMOVED, &piece[pair.len()..]]),
            None => kept.push_str(piece),
        }
    }
    Cow::Owned(kept)
}

/// The beginning of `text`, at most `bytes` of it.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::{cut, field, key, quoted, without_secrets};

    #[test]
    fn no_text_ends_its_field() {
        assert_eq!((field(None), field(Some("")), field(Some("a b\"c]\\\n"))), ("-".into(), "-".into(), "a%20b%22c%5D%5C%0A".into()));
        assert_eq!((quoted(None), quoted(Some("a b\"\\é\r"))), ("-".to_owned(), "\"a b%22%5C%C3%A9%0D\"".to_owned()));
        assert_eq!((key(None), key(Some("a/b c+\"é"))), ("-".into(), "a/b%20c%2B%22%C3%A9".into()));
        assert_eq!((cut("aé", 2), cut("aé", 3), cut("a", 9)), ("a", "aé", "a"));
    }

    #[test]
    fn secrets_are_left_out() {
        let cases = [
            ("/b/k", "/b/k"),
            ("/b/k?a=1&b", "/b/k?a=1&b"),
            ("/b/k?X-Amz-Signature=ab", "/b/k?X-Amz-Signature=REDACTED"),
            ("/b/k?X-Amz-Signature", "/b/k?X-Amz-Signature"),
            (
                "/b/k?X-Amz-Algorithm=A&x-amz-credential=K%2F1&X%2DAmz%2DSignature=ab&X-Amz-Security-Token=t&p=1",
                "/b/k?X-Amz-Algorithm=A&x-amz-credential=REDACTED&X%2DAmz%2DSignature=REDACTED&X-Amz-Security-Token=REDACTED&p=1",
            ),
            ("/b/k?AWSAccessKeyId=K&Expires=1&Signature=s%3D", "/b/k?AWSAccessKeyId=REDACTED&Expires=1&Signature=REDACTED"),
            ("/b/k?x-amz-server-side-encryption-customer-key=c", "/b/k?x-amz-server-side-encryption-customer-key=REDACTED"),
            ("https://h/b?x?Signature=a==&&b", "https://h/b?x?Signature=REDACTED&&b"),
        ];
        for (url, expected) in cases {
            assert_eq!(without_secrets(url), expected, "{url}");
        }
    }
}
