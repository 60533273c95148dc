//! Uploads by HTML forms: POST on a bucket, with a policy that the owner of a key signed, or with none into a public bucket.
//!
//! s3s has them too, but answers a broken policy with other codes than S3, takes a form for stale 15 minutes after its policy was signed,
//! and holds a file whose size it cannot tell in memory. So the form is read and judged here, and what it uploads becomes a PutObject
//! of the second s3s (see [`crate::lenient`]), whose access check and operations are those of any other write.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html>

mod answer;
mod file;
mod form;
mod policy;
mod signature;

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, EXPIRES},
};
use s3s::{
    Body, S3Error, S3ErrorCode, S3Result,
    dto::Tagging,
    service::S3Service,
    stream::DynByteStream,
    xml::{Deserialize as _, Deserializer},
};
use umbra_client::encode_path;
use umbra_core::Clock;
use umbra_store::Catalog;

pub(crate) use file::{FileError, FormFile};

use self::{form::Form, policy::Policy};
use crate::{
    error::custom,
    layer::{Progress, Scheme},
    lenient::Verified,
};

/// What judges and answers forms.
#[derive(Debug)]
pub(crate) struct Forms {
    /// The s3s that answers.
    pub(crate) service: S3Service,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether signatures of version 2 are good enough.
    pub(crate) allows_sigv2: bool,
    /// The region that signatures of version 4 must be for, if any.
    pub(crate) region: Option<String>,
}

/// What a form is for, and how it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) bucket: &'a str,
    /// Whether the host names the bucket.
    pub(crate) is_in_host: bool,
}

/// Whether `headers` announce a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let essence = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).and_then(|kind| kind.split(';').next());
    essence.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("multipart/form-data"))
}

/// What S3 says to a POST on a bucket that is neither a form nor anything else.
pub(crate) fn not_a_form() -> S3Error {
    let message = "Bucket POST must be of the enclosure-type multipart/form-data";
    custom("PreconditionFailed", StatusCode::PRECONDITION_FAILED, message)
}

impl Forms {
    /// Answers the form in `request` on `bucket`.
    pub(crate) async fn answer(&self, target: Target<'_>, request: Request<Body>) -> S3Result<Response<Body>> {
        let bucket = target.bucket;
        let (head, body) = request.into_parts();
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let (mut form, mut file) = Form::read(&head.headers, length, body).await?;
        form.set("bucket", bucket)?;
        if form.get("key").is_none_or(str::is_empty) {
            return Err(form::missing("key"));
        }
        let key = self.signer(&form).await?;
        if let Some(policy) = form.get("policy") {
            let policy = Policy::parse(policy)?;
            file.limit(policy.check(&form, self.clock.now())?);
        }
        let wanted = answer::Wanted::of(target, &head.headers, &form);
        let mut inner = Request::new(Body::from(Box::pin(file.stream) as DynByteStream));
        *inner.method_mut() = Method::PUT;
        if let (Some(progress), Some(key)) = (head.extensions.get::<Arc<Progress>>(), form.get("key")) {
            progress.trace.is_for(key);
        }
        let path = format!("/{bucket}/{}", encode_path(form.get("key").unwrap_or_default()));
        *inner.uri_mut() = path.parse().map_err(|error| S3Error::with_source(S3ErrorCode::InvalidURI, Box::new(error)))?;
        *inner.headers_mut() = written(&form)?;
        for name in ABOUT_THE_REQUEST {
            inner.headers_mut().extend(head.headers.get(name).map(|value| (HeaderName::from_static(name), value.clone())));
        }
        *inner.extensions_mut() = head.extensions;
        inner.extensions_mut().insert(FormFile { size_if_last: file.size_if_last });
        if let Some(key) = key {
            inner.extensions_mut().insert(Verified { key, is_v2: form.get("x-amz-signature").is_none() });
        }
        let answer = self.service.call(inner).await;
        let response = answer.map_err(|error| S3Error::with_source(S3ErrorCode::InternalError, error.into_std_error()))?;
        if response.status().is_success() { wanted.answer(&response) } else { Ok(response) }
    }
}

/// The headers of the request itself that its judgment asks for.
const ABOUT_THE_REQUEST: [&str; 3] = ["referer", "user-agent", "x-amz-expected-bucket-owner"];
/// The fields that become headers of the same name.
const STORED: [HeaderName; 6] = [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES];
/// Those that S3 names with a prefix, and do the same.
const PREFIXES: [&str; 9] = [
    "x-amz-checksum-",
    "x-amz-grant-",
    "x-amz-meta-",
    "x-amz-object-lock-",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-tigris-regions",
];

/// The headers of the PutObject that `form` amounts to.
fn written(form: &Form) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in form.fields() {
        let (name, value) = match name {
            "acl" | "x-amz-acl" => ("x-amz-acl", value.to_owned()),
            "tagging" => ("x-amz-tagging", tags(value)?),
            _ if STORED.iter().any(|stored| stored == name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) => {
                (name, value.to_owned())
            }
            _ => continue,
        };
        let refused = || S3Error::with_message(S3ErrorCode::InvalidArgument, format!("the field {name:?} cannot be a header"));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        headers.insert(header, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| refused())?);
    }
    Ok(headers)
}

/// The tags of a `tagging` field, an XML document, as a header has them.
fn tags(document: &str) -> S3Result<String> {
    let mut xml = Deserializer::new(document.as_bytes());
    let tagging = Tagging::deserialize(&mut xml).and_then(|tagging| xml.expect_eof().map(|()| tagging));
    let tagging = tagging.map_err(|error| S3Error::with_source(S3ErrorCode::MalformedXML, Box::new(error)))?;
    let encode = |text: Option<String>| encode_path(&text.unwrap_or_default()).replace('/', "%2F");
    let pairs: Vec<_> = tagging.tag_set.into_iter().map(|tag| format!("{}={}", encode(tag.key), encode(tag.value))).collect();
    Ok(pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};

    use super::{is_form, tags, written};
    use crate::post::form::Form;

    #[test]
    fn forms_announce_themselves() {
        let cases =
            [("multipart/form-data; boundary=a", true), ("Multipart/Form-Data", true), ("text/plain", false), ("multipart/mixed", false)];
        for (kind, expected) in cases {
            assert_eq!(is_form(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])), expected, "{kind}");
        }
        assert!(!is_form(&HeaderMap::new()));
    }

    #[test]
    fn only_what_a_write_knows_becomes_a_header() {
        let form = Form::of(&[
            ("acl", "private"),
            ("Content-Type", "text/plain"),
            ("x-amz-meta-a", "ü"),
            ("x-amz-copy-source", "b/k"),
            ("key", "k"),
        ]);
        let headers = written(&form).unwrap();
        assert_eq!(headers.len(), 3);
        assert_eq!(
            (&headers["x-amz-acl"], &headers["content-type"]),
            (&HeaderValue::from_static("private"), &HeaderValue::from_static("text/plain"))
        );
        assert_eq!(headers["x-amz-meta-a"].as_bytes(), "ü".as_bytes());
        assert!(written(&Form::of(&[("x-amz-meta-a", "b\r\nc")])).is_err());
        assert!(written(&Form::of(&[("x-amz-meta-ä b", "c")])).is_err());
    }

    #[test]
    fn tags_come_as_a_document() {
        let document =
            "<Tagging><TagSet><Tag><Key>a b</Key><Value>1/&amp;=</Value></Tag><Tag><Key>c</Key><Value/></Tag></TagSet></Tagging>";
        assert_eq!(tags(document).unwrap(), "a%20b=1%2F%26%3D&c=");
        assert_eq!(tags("<Tagging>").unwrap_err().code().as_str(), "MalformedXML");
        assert_eq!(tags("a=b").unwrap_err().code().as_str(), "MalformedXML");
    }
}
