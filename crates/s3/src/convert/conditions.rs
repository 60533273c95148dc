//! Conditions of requests.

use s3s::dto::{self, ETagCondition};
use umbra_core::{ETag, Matches, Preconditions};

use super::time;

/// Gathers the conditions of a read.
pub(crate) fn on_read(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    if_modified_since: Option<&dto::Timestamp>,
    if_unmodified_since: Option<&dto::Timestamp>,
) -> Preconditions {
    Preconditions {
        if_match: if_match.map(matches),
        if_none_match: if_none_match.map(matches),
        if_modified_since: if_modified_since.map(time::taken),
        if_unmodified_since: if_unmodified_since.map(time::taken),
    }
}

/// Gathers the conditions of a write.
pub(crate) fn on_write(if_match: Option<&ETagCondition>, if_none_match: Option<&ETagCondition>) -> Preconditions {
    on_read(if_match, if_none_match, None, None)
}

/// s3s takes a list of ETags for one long ETag that begins and ends with a quote; putting those quotes back makes it a list again.
fn matches(condition: &ETagCondition) -> Matches {
    match condition {
        ETagCondition::Any => Matches::Any,
        ETagCondition::ETag(etag) => Matches::parse(&format!("\"{}\"", etag.value())),
    }
}

/// An ETag as s3s sends it, in quotes.
pub(crate) fn etag(etag: &ETag) -> dto::ETag {
    dto::ETag::Strong(etag.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use s3s::dto::ETagCondition;
    use umbra_core::{ETag, Matches};

    use super::on_write;

    #[test]
    fn etags_are_taken_in_every_spelling() {
        let etags = |etags: &[&str]| Matches::ETags(etags.iter().map(|etag| ETag::parse(etag)).collect());
        let cases = [
            ("*", Matches::Any),
            ("\"aa\"", etags(&["aa"])),
            ("aa", etags(&["aa"])),
            ("W/\"aa\"", etags(&["aa"])),
            ("\"aa\", \"bb\"", etags(&["aa", "bb"])),
        ];
        for (header, expected) in cases {
            let condition = ETagCondition::parse_http_header(header.as_bytes()).unwrap();
            assert_eq!(on_write(Some(&condition), None).if_match, Some(expected), "{header}");
        }
    }
}
