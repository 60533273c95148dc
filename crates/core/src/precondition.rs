//! Conditional requests, judged purely.

use crate::{ETag, Entity, Error, ErrorKind, ObjectInfo, Result, Timestamp};

/// The conditions of a request. RFC 9110, section 13.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// `If-Match`.
    pub if_match: Option<Matches>,
    /// `If-None-Match`.
    pub if_none_match: Option<Matches>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<Timestamp>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<Timestamp>,
}

/// What `If-Match` and `If-None-Match` name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matches {
    /// `*`.
    Any,
    /// ETags.
    ETags(Vec<ETag>),
}

impl Matches {
    /// Takes the header's value.
    pub fn parse(text: &str) -> Self {
        if text.trim() == "*" { Self::Any } else { Self::ETags(text.split(',').map(ETag::parse).collect()) }
    }

    fn matches(&self, etag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::ETags(etags) => etags.contains(etag),
        }
    }
}

impl Preconditions {
    /// Whether there is no condition at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn failed() -> Error {
    Error::new(ErrorKind::Precondition, "at least one of the pre-conditions you specified did not hold")
}

/// Judges a read of `object`: passes, [`ErrorKind::Precondition`] or [`ErrorKind::NotModified`].
///
/// An ETag condition overrides the date condition beside it, as S3 documents for GetObject.
pub fn check_read(conditions: &Preconditions, object: &ObjectInfo) -> Result<()> {
    let modified_after = |since: Timestamp| object.last_modified.as_secs() > since.as_secs();
    let unmatched = match (&conditions.if_match, conditions.if_unmodified_since) {
        (Some(matches), _) => !matches.matches(&object.etag),
        (None, since) => since.is_some_and(modified_after),
    };
    if unmatched {
        return Err(failed());
    }
    let unchanged = match (&conditions.if_none_match, conditions.if_modified_since) {
        (Some(matches), _) => matches.matches(&object.etag),
        (None, since) => since.is_some_and(|since| !modified_after(since)),
    };
    if unchanged {
        return Err(Error::new(ErrorKind::NotModified, "not modified"));
    }
    Ok(())
}

/// Judges a write over `current`, the ETag of what the key holds now.
///
/// `If-Match` on a key that does not exist is [`ErrorKind::NotFound`], as S3 has it:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
pub fn check_write(conditions: &Preconditions, current: Option<&ETag>) -> Result<()> {
    if let Some(matches) = &conditions.if_match {
        let etag = current.ok_or_else(|| Error::not_found(Entity::Object))?;
        if !matches.matches(etag) {
            return Err(failed());
        }
    }
    match (&conditions.if_none_match, current) {
        (Some(matches), Some(etag)) if matches.matches(etag) => Err(failed()),
        _ => Ok(()),
    }
}

/// What a delete finds.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// Nothing.
    Nothing,
    /// A delete marker.
    Marker,
    /// An object of this ETag.
    Object(&'a ETag),
}

impl<'a> Found<'a> {
    /// The ETag, which only an object has.
    pub const fn etag(self) -> Option<&'a ETag> {
        match self {
            Self::Object(etag) => Some(etag),
            Self::Nothing | Self::Marker => None,
        }
    }
}

/// Judges a delete: what does not exist may be deleted on any condition, and a delete marker exists but has no ETag.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>
pub fn check_delete(conditions: &Preconditions, found: Found<'_>) -> Result<()> {
    match (&conditions.if_match, found) {
        (None, _) | (_, Found::Nothing) | (Some(Matches::Any), Found::Marker) => Ok(()),
        (Some(Matches::ETags(_)), Found::Marker) => Err(failed()),
        (Some(matches), Found::Object(etag)) => {
            if matches.matches(etag) {
                Ok(())
            } else {
                Err(failed())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, Matches, Preconditions, check_delete, check_read, check_write};
    use crate::{ETag, Entity, ErrorKind, ObjectInfo, ReadSource, SystemHeaders, Timestamp, UserMetadata};

    fn object() -> ObjectInfo {
        ObjectInfo {
            size: 1,
            etag: ETag::parse("aa"),
            last_modified: Timestamp::from_millis(10_500),
            headers: SystemHeaders::default(),
            metadata: UserMetadata::default(),
            checksums: vec![],
            parts: vec![],
            tag_count: 0,
            tags: None,
            version: crate::VersionId::Null,
            attributes: crate::Attributes::default(),
            source: ReadSource::Local,
        }
    }

    #[test]
    fn reads_are_judged_by_etag_before_date() {
        let at = |secs: i64| Some(Timestamp::from_millis(secs * 1000));
        let matches = |text| Some(Matches::parse(text));
        let none = Preconditions::default();
        let cases = [
            ("no condition", none.clone(), None),
            ("match", Preconditions { if_match: matches("\"aa\""), ..none.clone() }, None),
            ("match any of", Preconditions { if_match: matches("\"bb\", \"aa\""), ..none.clone() }, None),
            ("no match", Preconditions { if_match: matches("bb"), ..none.clone() }, Some(ErrorKind::Precondition)),
            ("match beats unmodified", Preconditions { if_match: matches("aa"), if_unmodified_since: at(1), ..none.clone() }, None),
            ("unmodified since", Preconditions { if_unmodified_since: at(10), ..none.clone() }, None),
            ("modified meanwhile", Preconditions { if_unmodified_since: at(9), ..none.clone() }, Some(ErrorKind::Precondition)),
            ("none match", Preconditions { if_none_match: matches("aa"), ..none.clone() }, Some(ErrorKind::NotModified)),
            ("none match any", Preconditions { if_none_match: matches("*"), ..none.clone() }, Some(ErrorKind::NotModified)),
            ("not modified since", Preconditions { if_modified_since: at(10), ..none.clone() }, Some(ErrorKind::NotModified)),
            ("modified since", Preconditions { if_modified_since: at(9), ..none.clone() }, None),
            ("none match beats modified", Preconditions { if_none_match: matches("bb"), if_modified_since: at(99), ..none }, None),
        ];
        for (name, conditions, expected) in cases {
            assert_eq!(check_read(&conditions, &object()).err().map(|e| e.kind()), expected, "{name}");
        }
    }

    #[test]
    fn writes_are_judged_against_what_is_there() {
        let if_match = Preconditions { if_match: Some(Matches::parse("aa")), ..Preconditions::default() };
        let if_absent = Preconditions { if_none_match: Some(Matches::Any), ..Preconditions::default() };
        let (aa, bb) = (ETag::parse("aa"), ETag::parse("bb"));
        assert!(check_write(&if_match, Some(&aa)).is_ok());
        assert_eq!(check_write(&if_match, Some(&bb)).unwrap_err().kind(), ErrorKind::Precondition);
        assert_eq!(check_write(&if_match, None).unwrap_err().kind(), ErrorKind::NotFound(Entity::Object));
        assert!(check_write(&if_absent, None).is_ok());
        assert_eq!(check_write(&if_absent, Some(&bb)).unwrap_err().kind(), ErrorKind::Precondition);
    }

    #[test]
    fn deletes_are_judged_against_what_is_found() {
        let on = |text: &str| Preconditions { if_match: Some(Matches::parse(text)), ..Preconditions::default() };
        let (aa, bb) = (ETag::parse("aa"), ETag::parse("bb"));
        let cases = [
            (Preconditions::default(), Found::Nothing, true),
            (Preconditions::default(), Found::Marker, true),
            (on("aa"), Found::Nothing, true),
            (on("*"), Found::Nothing, true),
            (on("*"), Found::Marker, true),
            (on("aa"), Found::Marker, false),
            (on("aa"), Found::Object(&aa), true),
            (on("aa"), Found::Object(&bb), false),
            (on("*"), Found::Object(&bb), true),
        ];
        for (conditions, found, allowed) in cases {
            assert_eq!(check_delete(&conditions, found).is_ok(), allowed, "{conditions:?} {found:?}");
        }
    }
}
