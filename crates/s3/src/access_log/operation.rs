//! What S3 calls an operation in its logs: `REST.` the method `.` the kind of resource.
//!
//! It is told by the request alone, so that one that is refused before anything is known of it has a name too.

use std::borrow::Cow;

use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use crate::layer::{Shape, query_names};

/// The kinds of resources below a bucket, by the parameter that names them.
const OF_BUCKETS: [(&str, &str); 25] = [
    ("accelerate", "ACCELERATE"),
    ("acl", "ACL"),
    ("analytics", "ANALYTICS"),
    ("cors", "CORS"),
    ("delete", "MULTI_OBJECT_DELETE"),
    ("encryption", "ENCRYPTION"),
    ("intelligent-tiering", "INTELLIGENT_TIERING"),
    ("inventory", "INVENTORY"),
    ("lifecycle", "LIFECYCLE"),
    ("location", "LOCATION"),
    ("logging", "LOGGING_STATUS"),
    ("metrics", "METRICS"),
    ("notification", "NOTIFICATION"),
    ("object-lock", "OBJECT_LOCK_CONFIGURATION"),
    ("ownershipcontrols", "OWNERSHIP_CONTROLS"),
    ("policy", "BUCKETPOLICY"),
    ("policystatus", "BUCKETPOLICYSTATUS"),
    ("publicaccessblock", "PUBLIC_ACCESS_BLOCK"),
    ("replication", "REPLICATION"),
    ("requestpayment", "REQUEST_PAYMENT"),
    ("tagging", "TAGGING"),
    ("uploads", "UPLOADS"),
    ("versioning", "VERSIONING"),
    ("versions", "BUCKETVERSIONS"),
    ("website", "WEBSITE"),
];
/// The kinds of resources below an object. An upload is told apart by its method.
const OF_OBJECTS: [(&str, &str); 8] = [
    ("acl", "ACL"),
    ("attributes", "OBJECT_ATTRIBUTES"),
    ("legal-hold", "OBJECT_LOCK_LEGAL_HOLD"),
    ("restore", "OBJECT_RESTORE"),
    ("retention", "OBJECT_LOCK_RETENTION"),
    ("tagging", "OBJECT_TAGGING"),
    ("uploadid", "UPLOAD"),
    ("uploads", "UPLOADS"),
];

/// One delete of many in a request.
pub(super) const BATCH_DELETE: &str = "BATCH.DELETE.OBJECT";

/// What S3 calls a request.
pub(super) fn name(method: &Method, shape: Shape, query: Option<&str>, headers: &HeaderMap) -> String {
    if *method == Method::OPTIONS {
        return "REST.OPTIONS.PREFLIGHT".to_owned();
    }
    let (kinds, plain): (&[_], _) = match shape {
        Shape::Object => (&OF_OBJECTS, "OBJECT"),
        Shape::Root | Shape::Bucket if *method == Method::POST => (&OF_BUCKETS, "OBJECT"),
        Shape::Root | Shape::Bucket => (&OF_BUCKETS, "BUCKET"),
    };
    let kind = query_names(query).find_map(|name| kinds.iter().find(|(parameter, _)| *parameter == name)).map_or(plain, |(_, kind)| kind);
    let (is_put, copies) = (*method == Method::PUT, shape == Shape::Object && copy_source(query, headers).is_some());
    match kind {
        "UPLOAD" if is_put && copies => "REST.COPY.PART".to_owned(),
        "UPLOAD" if is_put => "REST.PUT.PART".to_owned(),
        "OBJECT" if is_put && copies => "REST.COPY.OBJECT".to_owned(),
        kind => format!("REST.{method}.{kind}"),
    }
}

/// What a copy reads, as the header names it, or the query of a presigned URL.
pub(super) fn copy_source<'a>(query: Option<&'a str>, headers: &'a HeaderMap) -> Option<Cow<'a, str>> {
    if let Some(value) = headers.get(COPY_SOURCE) {
        return value.to_str().ok().map(Cow::Borrowed);
    }
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| percent_decode_str(name).decode_utf8_lossy().eq_ignore_ascii_case(COPY_SOURCE));
    named.next().map(|(_, value)| percent_decode_str(value).decode_utf8_lossy())
}

const COPY_SOURCE: &str = "x-amz-copy-source";

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::{COPY_SOURCE, OF_BUCKETS, OF_OBJECTS, name};
    use crate::layer::Shape::{self, Bucket, Object};

    #[test]
    fn requests_have_the_names_that_s3_gives_them() {
        let copy = HeaderMap::from_iter([(http::HeaderName::from_static(COPY_SOURCE), HeaderValue::from_static("b/k"))]);
        let none = HeaderMap::new();
        let cases: [(Method, Shape, &str, &HeaderMap, &str); 23] = [
            (Method::GET, Object, "", &none, "REST.GET.OBJECT"),
            (Method::GET, Object, "partNumber=1&versionId=v", &none, "REST.GET.OBJECT"),
            (Method::HEAD, Object, "", &none, "REST.HEAD.OBJECT"),
            (Method::PUT, Object, "", &none, "REST.PUT.OBJECT"),
            (Method::PUT, Object, "", &copy, "REST.COPY.OBJECT"),
            (Method::PUT, Object, "X-Amz-Copy-Source=b%2Fk", &none, "REST.COPY.OBJECT"),
            (Method::PUT, Object, "partNumber=1&uploadId=u", &none, "REST.PUT.PART"),
            (Method::PUT, Object, "partNumber=1&uploadId=u", &copy, "REST.COPY.PART"),
            (Method::POST, Object, "uploads", &none, "REST.POST.UPLOADS"),
            (Method::POST, Object, "uploadId=u", &none, "REST.POST.UPLOAD"),
            (Method::GET, Object, "uploadId=u", &none, "REST.GET.UPLOAD"),
            (Method::DELETE, Object, "uploadId=u", &none, "REST.DELETE.UPLOAD"),
            (Method::GET, Object, "tagging", &none, "REST.GET.OBJECT_TAGGING"),
            (Method::PUT, Object, "acl", &none, "REST.PUT.ACL"),
            (Method::DELETE, Object, "versionId=v", &none, "REST.DELETE.OBJECT"),
            (Method::GET, Bucket, "list-type=2&prefix=a", &none, "REST.GET.BUCKET"),
            (Method::GET, Bucket, "versions", &none, "REST.GET.BUCKETVERSIONS"),
            (Method::GET, Bucket, "X-Amz-Date=x&policyStatus", &none, "REST.GET.BUCKETPOLICYSTATUS"),
            (Method::PUT, Bucket, "logging", &none, "REST.PUT.LOGGING_STATUS"),
            (Method::PUT, Bucket, "", &copy, "REST.PUT.BUCKET"),
            (Method::POST, Bucket, "delete", &none, "REST.POST.MULTI_OBJECT_DELETE"),
            (Method::POST, Bucket, "", &none, "REST.POST.OBJECT"),
            (Method::OPTIONS, Object, "", &none, "REST.OPTIONS.PREFLIGHT"),
        ];
        for (method, shape, query, headers, expected) in cases {
            assert_eq!(name(&method, shape, Some(query), headers), expected, "{method} {shape:?} {query}");
        }
        assert!(OF_BUCKETS.is_sorted() && OF_OBJECTS.is_sorted());
    }
}
