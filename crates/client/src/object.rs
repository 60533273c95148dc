//! Operations on one object.

use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{self, HeaderName},
};
use umbra_core::{Body, ByteRange, Entity, ErrorKind, PartNumber};

use crate::{Error, Result, S3Client, answer::Answer, call::Call};

/// What a read asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetOptions {
    /// Only these bytes. Some origins send the whole object all the same: see [`GetResponse::content_range`].
    pub range: Option<ByteRange>,
    /// `If-Match`, with its quotes.
    pub if_match: Option<String>,
    /// `If-None-Match`, with its quotes.
    pub if_none_match: Option<String>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<String>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<String>,
    /// Only this part of a multipart object.
    pub part_number: Option<PartNumber>,
    /// Whether the object's checksums are asked for.
    pub checksum_mode: bool,
}

/// An object, or a piece of one, on its way.
#[derive(Debug)]
pub struct GetResponse {
    /// 200, or 206 for a piece.
    pub status: StatusCode,
    /// The headers as they came.
    pub headers: HeaderMap,
    /// Bytes in the body, where the origin says.
    pub content_length: Option<u64>,
    /// Which bytes these are; `None` when they are all. It is checked against the range asked for and the length.
    pub content_range: Option<ContentRange>,
    /// The bytes. An error ends them when the connection breaks, when their number is not the announced one, or when none come for too
    /// long. Dropping it closes the connection.
    pub body: Body,
}

/// A `Content-Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes sent.
    pub range: ByteRange,
    /// The size of the whole object, where the origin says.
    pub size: Option<u64>,
}

impl ContentRange {
    /// Reads `bytes first-last/size`.
    pub fn parse(text: &str) -> Option<Self> {
        let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.trim().split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let end = last.checked_add(1).filter(|end| first < *end)?;
        let size = if size == "*" { None } else { Some(size.parse().ok().filter(|size| end <= *size)?) };
        Some(Self { range: ByteRange::new(first, end), size })
    }
}

impl S3Client {
    /// Reads the object at `key`, or a piece of it.
    pub async fn get_object(&self, key: &str, options: &GetOptions) -> Result<GetResponse> {
        let answer = self.send(self.read(Method::GET, key, options)?).await?;
        if is_transcoded(&answer.headers) {
            return Err(Error::bad_response("the object, decompressed on its way"));
        }
        if self.may_be_compressed(key, options, &answer).await? {
            return Err(Error::bad_response("the object, compressed on its way"));
        }
        let content_length = answer.body.size();
        let content_range = content_range(answer.status, &answer.headers, content_length, options)?;
        let body = Body::new(content_length, answer.body);
        Ok(GetResponse { status: answer.status, headers: answer.headers, content_length, content_range, body })
    }

    /// Whether the content was compressed on its way, by a server that does so whatever it is asked. It cannot know the length beforehand, so only
    /// content without one is in doubt, and only where a coding is named; the headers of a HEAD, which nobody compresses, tell.
    async fn may_be_compressed(&self, key: &str, options: &GetOptions, answer: &Answer) -> Result<bool> {
        let coding = |headers: &HeaderMap| headers.get(header::CONTENT_ENCODING).cloned();
        if answer.body.size().is_some() || coding(&answer.headers).is_none() {
            return Ok(false);
        }
        let options = GetOptions { if_match: options.if_match.clone(), ..GetOptions::default() };
        Ok(coding(&self.head_object(key, &options).await?) != coding(&answer.headers))
    }

    /// Reads the headers of the object at `key`. An answer to this has no body, so that a 404 cannot say whether it is the bucket that
    /// is missing.
    pub async fn head_object(&self, key: &str, options: &GetOptions) -> Result<HeaderMap> {
        Ok(self.send(self.read(Method::HEAD, key, options)?).await?.headers)
    }

    /// Stores `size` bytes at `key` and returns the headers of the answer. Never tried again by itself.
    ///
    /// The origin does not see the content's last bytes before `body` has ended well and held exactly `size` bytes.
    pub async fn put_object(&self, key: &str, size: u64, body: Body, headers: &HeaderMap) -> Result<HeaderMap> {
        let call = self.object(Method::PUT, key)?.headers(headers);
        Ok(self.send_content(call, size, body).await?.headers)
    }

    /// Stores `content`, which is at hand, at `key`; tried again like a read. For keys that nobody else writes.
    pub async fn put_bytes(&self, key: &str, content: &Bytes) -> Result<HeaderMap> {
        Ok(self.send_bytes(self.object(Method::PUT, key)?, content).await?.headers)
    }

    /// Deletes the object at `key`. It is no error if there is none.
    pub async fn delete_object(&self, key: &str) -> Result<HeaderMap> {
        match self.send(self.object(Method::DELETE, key)?).await {
            Ok(answer) => Ok(answer.headers),
            // Google answers 404 where Amazon answers 204.
            Err(Error::S3(error)) if error.kind() == ErrorKind::NotFound(Entity::Object) => Ok(HeaderMap::new()),
            Err(error) => Err(error),
        }
    }

    /// Asks whether the bucket is there and may be seen.
    pub async fn head_bucket(&self) -> Result<HeaderMap> {
        Ok(self.send(self.whole_bucket(Method::HEAD)).await?.headers)
    }

    fn read<'a>(&self, method: Method, key: &'a str, options: &GetOptions) -> Result<Call<'a>> {
        let range = match options.range {
            Some(range) if range.is_empty() => return Err(Error::Request("the range is empty".into())),
            Some(range) => Some(format!("bytes={}-{}", range.start, range.end - 1)),
            None => None,
        };
        self.object(method, key)?
            .query_opt("partNumber", options.part_number.map(|number| number.get().to_string()))
            .header(header::ACCEPT_ENCODING, Some(self.endpoint().accept_encoding()))?
            .header(header::RANGE, range.as_deref())?
            .header(header::IF_MATCH, options.if_match.as_deref())?
            .header(header::IF_NONE_MATCH, options.if_none_match.as_deref())?
            .header(header::IF_MODIFIED_SINCE, options.if_modified_since.as_deref())?
            .header(header::IF_UNMODIFIED_SINCE, options.if_unmodified_since.as_deref())?
            .header(HeaderName::from_static("x-amz-checksum-mode"), options.checksum_mode.then_some("ENABLED"))
    }
}

/// Whether Google has decompressed what is stored compressed, in spite of what it was asked.
fn is_transcoded(headers: &HeaderMap) -> bool {
    let is_stored = headers.get("x-goog-stored-content-encoding").is_some_and(|coding| coding == "gzip");
    is_stored && !headers.contains_key(header::CONTENT_ENCODING)
}

/// Checks which bytes came against which were asked for.
fn content_range(status: StatusCode, headers: &HeaderMap, length: Option<u64>, options: &GetOptions) -> Result<Option<ContentRange>> {
    if status != StatusCode::PARTIAL_CONTENT {
        return Ok(None);
    }
    let given = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).and_then(ContentRange::parse);
    let given = match given {
        Some(given) => given,
        // An empty part has no range.
        None if length == Some(0) && options.range.is_none() => return Ok(None),
        None => return Err(Error::bad_response("a piece of the object, without a Content-Range that says which")),
    };
    if length.is_some_and(|length| length != given.range.len()) {
        return Err(Error::bad_response("a Content-Range that contradicts the Content-Length"));
    }
    let wanted = options.range.is_none_or(|asked| {
        let end = given.size.map_or(given.range.end, |size| asked.end.min(size));
        given.range.start == asked.start && given.range.end == end && end <= asked.end
    });
    if wanted { Ok(Some(given)) } else { Err(Error::bad_response("other bytes of the object than were asked for")) }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use umbra_core::ByteRange;

    use super::{ContentRange, GetOptions, content_range};

    #[test]
    fn content_ranges_are_read() {
        let range = |start, end, size| Some(ContentRange { range: ByteRange::new(start, end), size });
        for (text, expected) in [
            ("bytes 0-0/1", range(0, 1, Some(1))),
            ("bytes 5-9/10", range(5, 10, Some(10))),
            ("bytes 5-9/*", range(5, 10, None)),
            ("bytes 5-10/10", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes 0-18446744073709551615/*", None),
            ("items 0-1/2", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn only_the_bytes_asked_for_are_taken() {
        let judge = |asked: Option<(u64, u64)>, length: u64, given: &str| {
            let headers = HeaderMap::from_iter([(http::header::CONTENT_RANGE, given.parse().unwrap())]);
            let options = GetOptions { range: asked.map(|(start, end)| ByteRange::new(start, end)), ..GetOptions::default() };
            content_range(StatusCode::PARTIAL_CONTENT, &headers, Some(length), &options).is_ok()
        };
        for (name, asked, length, given, taken) in [
            ("as asked", Some((5, 10)), 5, "bytes 5-9/20", true),
            ("size unknown", Some((5, 10)), 5, "bytes 5-9/*", true),
            ("the end of the object", Some((5, 100)), 15, "bytes 5-19/20", true),
            ("no range asked, a part", None, 5, "bytes 5-9/20", true),
            ("another start", Some((5, 10)), 5, "bytes 6-10/20", false),
            ("fewer", Some((5, 10)), 4, "bytes 5-8/20", false),
            ("more", Some((5, 10)), 6, "bytes 5-10/20", false),
            ("more, size unknown", Some((5, 10)), 6, "bytes 5-10/*", false),
            ("another length", Some((5, 10)), 6, "bytes 5-9/20", false),
            ("nonsense", Some((5, 10)), 5, "bytes", false),
        ] {
            assert_eq!(judge(asked, length, given), taken, "{name}");
        }
    }
}
