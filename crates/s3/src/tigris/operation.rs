//! Which requests are Tigris's own.

use http::{
    HeaderMap, HeaderName, Method, Uri,
    header::{ACCEPT, CONTENT_TYPE},
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::layer::Shape;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `GET /`: the buckets.
    ListBuckets,
    /// `GET /bucket?metadata`: the settings of a bucket.
    Metadata,
    /// `PATCH /bucket`: changes settings of a bucket.
    Update,
    /// `POST /?func=presign`: a URL for somebody else.
    Presign,
    /// `GET /users/whoami`: who signed this.
    WhoAmI,
}

impl Operation {
    /// Which of them a request is, if any. Refuses a parameter that would be passed over.
    pub(crate) fn of(method: &Method, shape: Shape, uri: &Uri, headers: &HeaderMap) -> S3Result<Option<Self>> {
        let names: Vec<_> = parameters(uri).map(|(name, _)| name.to_ascii_lowercase()).collect();
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        let (operation, known): (_, &[&str]) = match (method.as_str(), shape) {
            ("PATCH", Shape::Bucket) => (Self::Update, &[]),
            ("GET", Shape::Bucket) if has("metadata") => (Self::Metadata, &["metadata", "with-size"]),
            ("GET", Shape::Root) if says_json(headers, &ACCEPT) => (Self::ListBuckets, &LISTING),
            ("POST", Shape::Root) if has("func") => (Self::Presign, &["func"]),
            // The same path names an object of a bucket called `users`; no read of an object announces a body of JSON.
            ("GET", Shape::Object) if uri.path() == "/users/whoami" && is_of_json(headers) => (Self::WhoAmI, &[]),
            _ => return Ok(None),
        };
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str()) && *name != "x-id") {
            return Err(S3Error::with_message(S3ErrorCode::NotImplemented, format!("the parameter {unknown:?} is not implemented here")));
        }
        Ok(Some(operation))
    }
}

/// What a list of buckets can be asked to show.
const LISTING: [&str; 8] = [
    "continuation-token",
    "includeforkinfo",
    "includeownerinfo",
    "includeregionsinfo",
    "includestats",
    "includetypeinfo",
    "includevisibility",
    "max-buckets",
];

/// The parameters of a query as they are written, an absent value being empty.
pub(super) fn parameters(uri: &Uri) -> impl Iterator<Item = (&str, &str)> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Whether errors are to be told in JSON. Tigris's clients call every request of theirs one of JSON; but an upload may be of JSON, and a
/// page may want the JSON that an object holds.
pub(crate) fn wants_json(method: &Method, shape: Shape, headers: &HeaderMap) -> bool {
    if shape != Shape::Object {
        return is_of_json(headers);
    }
    let copies = headers.contains_key("x-amz-copy-source") && !headers.contains_key("x-amz-metadata-directive");
    says_json(headers, &CONTENT_TYPE) && (copies || !matches!(*method, Method::PUT | Method::POST))
}

fn is_of_json(headers: &HeaderMap) -> bool {
    says_json(headers, &ACCEPT) || says_json(headers, &CONTENT_TYPE)
}

fn says_json(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get(name).is_some_and(|value| value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains("application/json")))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

    use super::{Operation, wants_json};
    use crate::layer::Shape;

    const JSON: (&str, &str) = ("accept", "application/json");
    const BODY: (&str, &str) = ("content-type", "application/json");

    type Headers = &'static [(&'static str, &'static str)];
    /// `None` for what is refused.
    type Expected = Option<Option<Operation>>;

    fn headers(pairs: Headers) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_what_no_s3_request_looks_like() {
        use Shape::{Bucket, Object, Root};
        let cases: &[(Method, Shape, &str, Headers, Expected)] = &[
            (Method::GET, Root, "/", &[], Some(None)),
            (Method::GET, Root, "/?x-id=ListBuckets", &[], Some(None)),
            (Method::GET, Root, "/?IncludeStats=true&max-buckets=2", &[JSON], Some(Some(Operation::ListBuckets))),
            (Method::GET, Root, "/?OnlyDeleted=true", &[JSON], None),
            (Method::GET, Bucket, "/b?list-type=2", &[JSON], Some(None)),
            (Method::GET, Bucket, "/b?metadata&with-size=true", &[JSON], Some(Some(Operation::Metadata))),
            (Method::GET, Bucket, "/b/?metadata=", &[], Some(Some(Operation::Metadata))),
            (Method::GET, Bucket, "/b?metadata&acl", &[JSON], None),
            (Method::PATCH, Bucket, "/b", &[BODY], Some(Some(Operation::Update))),
            (Method::PATCH, Bucket, "/b?x", &[BODY], None),
            (Method::PATCH, Object, "/b/k", &[BODY], Some(None)),
            (Method::POST, Root, "/?func=presign", &[BODY], Some(Some(Operation::Presign))),
            (Method::GET, Object, "/users/whoami", &[BODY], Some(Some(Operation::WhoAmI))),
            (Method::GET, Object, "/users/whoami", &[], Some(None)),
        ];
        for (method, shape, uri, pairs, expected) in cases {
            let operation = Operation::of(method, *shape, &uri.parse::<Uri>().unwrap(), &headers(pairs));
            assert_eq!(operation.ok(), *expected, "{method} {uri} {pairs:?}");
        }
    }

    #[test]
    fn an_upload_of_json_is_not_a_request_for_it() {
        let copy: Headers = &[BODY, ("x-amz-copy-source", "b/k")];
        let replace: Headers = &[BODY, ("x-amz-copy-source", "b/k"), ("x-amz-metadata-directive", "REPLACE")];
        let cases: &[(Method, Shape, Headers, bool)] = &[
            (Method::PUT, Shape::Object, &[BODY], false),
            (Method::POST, Shape::Object, &[BODY], false),
            (Method::PUT, Shape::Object, copy, true),
            (Method::PUT, Shape::Object, replace, false),
            (Method::GET, Shape::Bucket, &[BODY], true),
            (Method::PATCH, Shape::Bucket, &[BODY], true),
            (Method::GET, Shape::Root, &[JSON], true),
            (Method::GET, Shape::Object, &[BODY], true),
            (Method::GET, Shape::Object, &[JSON], false),
            (Method::GET, Shape::Object, &[], false),
        ];
        for (method, shape, pairs, expected) in cases {
            assert_eq!(wants_json(method, *shape, &headers(pairs)), *expected, "{method} {shape:?} {pairs:?}");
        }
    }
}
