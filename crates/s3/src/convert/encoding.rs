//! `encoding-type=url`: keys in listings, percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{
    S3Error, S3ErrorCode,
    dto::{CommonPrefix, EncodingType},
};

use crate::xml_text::Shield;

/// What S3 leaves as it is. A space becomes `%20`, which every client decodes alike, where `+` depends on the client.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// Writes keys and prefixes into a listing the way the client asked for.
#[derive(Debug)]
pub(crate) enum KeyWriter {
    /// Percent-encoded.
    Encoded,
    /// As they are, safe for XML.
    Plain(Shield),
}

impl KeyWriter {
    /// Takes the `encoding-type` of a request.
    pub(crate) fn new(encoding: Option<&EncodingType>) -> Result<Self, S3Error> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self::Plain(Shield::default())),
            Some(EncodingType::URL) => Ok(Self::Encoded),
            Some(_) => Err(S3Error::with_message(S3ErrorCode::InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    /// Writes a key, prefix or marker.
    pub(crate) fn text(&mut self, text: impl Into<String> + AsRef<str>) -> String {
        match self {
            Self::Encoded => encode(text.as_ref()),
            Self::Plain(shield) => shield.text(text.into()),
        }
    }

    /// Writes common prefixes.
    pub(crate) fn common_prefixes(&mut self, prefixes: Vec<String>) -> Vec<CommonPrefix> {
        prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(self.text(prefix)) }).collect()
    }

    /// Whether the response's body needs unshielding.
    pub(crate) fn has_shielded(&self) -> bool {
        matches!(self, Self::Plain(shield) if shield.used)
    }
}

/// `text`, percent-encoded.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use s3s::dto::EncodingType;

    use super::KeyWriter;

    #[test]
    fn keys_are_encoded_when_asked_for() {
        let mut encoded = KeyWriter::new(Some(&EncodingType::from_static(EncodingType::URL))).unwrap();
        assert_eq!(encoded.text("a b/ü+%&\u{1}-_.*"), "a%20b/%C3%BC%2B%25%26%01-_.*");
        let mut plain = KeyWriter::new(None).unwrap();
        assert_eq!(plain.text("a b/ü+"), "a b/ü+");
        assert!(!plain.has_shielded());
        assert!(KeyWriter::new(Some(&EncodingType::from_static("base64"))).is_err());
    }
}
