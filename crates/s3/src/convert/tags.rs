//! Tags.

use percent_encoding::percent_decode_str;
use s3s::dto::Tag;
use umbra_core::{Error, Fault, Result, Tags};

/// Takes the tags of an `x-amz-tagging` header: URL query parameters.
pub(crate) fn from_header(header: Option<&str>) -> Result<Tags> {
    let pairs = header.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let tags: Result<Vec<_>> =
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(key, value)| Ok((decode(key)?, decode(value)?))).collect();
    Tags::parse(tags?)
}

fn decode(text: &str) -> Result<String> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    decoded.map(Into::into).map_err(|_| {
        Error::invalid(
            Fault::InvalidArgument,
            "the header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates",
        )
    })
}

/// Takes the tags of an XML document.
pub(crate) fn from_set(set: Vec<Tag>) -> Result<Tags> {
    Tags::parse(set.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())))
}

/// Takes the tags of a bucket: more of them than an object may have.
pub(crate) fn of_bucket(set: Vec<Tag>) -> Result<Vec<(String, String)>> {
    let tags = Tags::parse_for_bucket(set.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())))?;
    Ok(tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// Shows tags.
pub(crate) fn to_set(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) }).collect()
}

#[cfg(test)]
mod tests {
    use umbra_core::Tags;

    use super::from_header;

    #[test]
    fn a_header_holds_query_parameters() {
        let tags = |pairs: &[(&str, &str)]| Tags::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        assert_eq!(from_header(None).unwrap(), tags(&[]));
        assert_eq!(from_header(Some("")).unwrap(), tags(&[]));
        assert_eq!(from_header(Some("a=1&b+c=%C3%BC%40&d")).unwrap(), tags(&[("a", "1"), ("b c", "ü@"), ("d", "")]));
        for bad in ["a=1&a=2", "=1", "a=%FF", "a=%26", "aws:a=1"] {
            assert!(from_header(Some(bad)).is_err(), "{bad}");
        }
    }
}
