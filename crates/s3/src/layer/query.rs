//! Refuses queries that s3s would not understand, and so take for something else.
//!
//! s3s looks for the sub-resources it knows and falls back on the base operation: `DELETE /bucket?something-new` would delete the
//! bucket. So what is let through is listed here: parameters of operations, and the sub-resources we serve, per method and kind of path.

use std::collections::HashSet;

use http::Method;
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, S3Result};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Root,
    Bucket,
    Object,
}

impl Shape {
    /// What `path` names, when the host names a bucket or does not.
    pub(crate) fn of(path: &str, host_names_bucket: bool) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        if host_names_bucket {
            return if path.is_empty() { Self::Bucket } else { Self::Object };
        }
        match path.split_once('/') {
            None if path.is_empty() => Self::Root,
            None | Some((_, "")) => Self::Bucket,
            Some(_) => Self::Object,
        }
    }
}

/// Parameters of operations we serve. They never choose one, or choose it together with a sub-resource.
const PARAMETERS: [&str; 22] = [
    "allow-unordered",
    "awsaccesskeyid",
    "bucket-region",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "expires",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-buckets",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "prefix",
    "signature",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
    "versionid",
];

/// The sub-resources that reach s3s, which knows all of them: we serve them, or s3s answers that we do not.
fn served(method: &Method, shape: Shape) -> &'static [&'static str] {
    match (method.as_str(), shape) {
        ("GET", Shape::Bucket) => &[
            "accelerate",
            "acl",
            "analytics",
            "cors",
            "encryption",
            "id",
            "intelligent-tiering",
            "inventory",
            "lifecycle",
            "location",
            "logging",
            "metrics",
            "notification",
            "object-lock",
            "ownershipcontrols",
            "policy",
            "policystatus",
            "publicaccessblock",
            "replication",
            "requestpayment",
            "tagging",
            "uploads",
            "versioning",
            "versions",
            "website",
        ],
        ("PUT", Shape::Bucket) => &[
            "accelerate",
            "acl",
            "cors",
            "encryption",
            "lifecycle",
            "logging",
            "notification",
            "object-lock",
            "ownershipcontrols",
            "policy",
            "publicaccessblock",
            "replication",
            "requestpayment",
            "tagging",
            "versioning",
            "website",
        ],
        ("DELETE", Shape::Bucket) => {
            &["cors", "encryption", "lifecycle", "ownershipcontrols", "policy", "publicaccessblock", "replication", "tagging", "website"]
        }
        ("POST", Shape::Bucket) => &["delete"],
        ("GET", Shape::Object) => &["acl", "attributes", "legal-hold", "partnumber", "retention", "tagging", "uploadid"],
        ("HEAD", Shape::Object) => &["partnumber"],
        ("PUT", Shape::Object) => &["acl", "legal-hold", "partnumber", "retention", "tagging", "uploadid"],
        ("POST", Shape::Object) => &["restore", "uploadid", "uploads"],
        ("DELETE", Shape::Object) => &["tagging", "uploadid"],
        _ => &[],
    }
}

/// Sub-resources that S3 has and we do not serve, or not there.
const NOT_SERVED: [&str; 42] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "events",
    "id",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataconfiguration",
    "metadatatable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipcontrols",
    "partnumber",
    "policy",
    "policystatus",
    "publicaccessblock",
    "renameobject",
    "replication",
    "requestpayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "tagging",
    "torrent",
    "uploadid",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// The names in `query`, in lower case.
pub(crate) fn names(query: Option<&str>) -> impl Iterator<Item = String> {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    pairs.map(|name| percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase())
}

/// Refuses `query`, or lets it pass.
pub(super) fn check(method: &Method, shape: Shape, query: Option<&str>) -> S3Result<()> {
    let query = query.unwrap_or_default();
    let names = || {
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value))))
    };
    let refused = |message: String| Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message));
    let mut seen = HashSet::new();
    for (given, value) in names() {
        let given = percent_decode_str(given).decode_utf8_lossy();
        let name = given.to_ascii_lowercase();
        if !is_known(method, shape, &name, value) {
            let message = format!("the sub-resource {name:?} is not implemented here");
            return Err(S3Error::with_message(S3ErrorCode::NotImplemented, message));
        }
        // s3s passes over what is spelled otherwise or said twice: the request would be another than the one that was judged.
        if is_ours(method, shape, &name) && given != spelled(&name) {
            return refused(format!("the parameter {given:?} is spelled {:?}", spelled(&name)));
        }
        if name == "list-type" && value != Some("2") {
            return refused("list-type must be 2".to_owned());
        }
        if (name.starts_with("x-amz-") || is_ours(method, shape, &name)) && !seen.insert(name) {
            return refused(format!("the parameter {given:?} is given more than once"));
        }
    }
    let has = |wanted: &str| seen.contains(wanted);
    // Either alone would make s3s store the part as the object.
    if *method == Method::PUT && has("partnumber") != has("uploadid") {
        return Err(S3Error::with_message(S3ErrorCode::InvalidArgument, "partNumber and uploadId must be given together"));
    }
    Ok(())
}

/// Whether the parameter `name`, in lower case, has a meaning for an operation.
fn is_ours(method: &Method, shape: Shape, name: &str) -> bool {
    name.starts_with("response-") || PARAMETERS.contains(&name) || served(method, shape).contains(&name)
}

/// How S3 spells the parameter `name`, which is in lower case.
fn spelled(name: &str) -> &str {
    const WITH_CAPITALS: [&str; 10] = [
        "AWSAccessKeyId",
        "Expires",
        "Signature",
        "ownershipControls",
        "partNumber",
        "policyStatus",
        "publicAccessBlock",
        "requestPayment",
        "uploadId",
        "versionId",
    ];
    WITH_CAPITALS.into_iter().find(|spelled| spelled.eq_ignore_ascii_case(name)).unwrap_or(name)
}

fn is_known(method: &Method, shape: Shape, name: &str, value: Option<&str>) -> bool {
    // `x-` is free for what clients want to see in logs; among it is everything presigned URLs need, and headers (`convert::hoisted`).
    if name.starts_with("x-") || is_ours(method, shape, name) {
        return true;
    }
    // A read with an unknown parameter does no harm; a word of its own is a sub-resource, now or one day.
    let reads = matches!(*method, Method::GET | Method::HEAD);
    reads && value.is_some_and(|value| !value.is_empty()) && !NOT_SERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::{Shape, check};

    #[test]
    fn paths_name_what_they_name() {
        let cases = [
            ("/", false, Shape::Root),
            ("", false, Shape::Root),
            ("/b", false, Shape::Bucket),
            ("/b/", false, Shape::Bucket),
            ("/b/k", false, Shape::Object),
            ("/b//", false, Shape::Object),
            ("/", true, Shape::Bucket),
            ("/k", true, Shape::Object),
            ("//", true, Shape::Object),
        ];
        for (path, host_names_bucket, expected) in cases {
            assert_eq!(Shape::of(path, host_names_bucket), expected, "{path} {host_names_bucket}");
        }
    }

    #[test]
    fn nothing_falls_through_to_another_operation() {
        use Shape::{Bucket, Object, Root};
        let cases = [
            (Method::GET, Root, "max-buckets=2&x-id=ListBuckets", true),
            (Method::GET, Bucket, "list-type=2&prefix=a%2F&delimiter=%2F&max-keys=1&x-id=ListObjectsV2", true),
            (Method::GET, Bucket, "list-type=7", false),
            (Method::GET, Bucket, "location", true),
            (Method::GET, Bucket, "uploads=", true),
            (Method::GET, Bucket, "policy", true),
            (Method::GET, Bucket, "id=1&analytics", true),
            (Method::GET, Bucket, "something-new", false),
            (Method::GET, Bucket, "something-new=", false),
            (Method::GET, Bucket, "cachebuster=17", true),
            (Method::DELETE, Bucket, "", true),
            (Method::DELETE, Bucket, "x-id=DeleteBucket", true),
            (Method::DELETE, Bucket, "metadataConfiguration", false),
            (Method::DELETE, Bucket, "something-new=1", false),
            (Method::DELETE, Bucket, "versioning", false),
            (Method::DELETE, Bucket, "uploadId=u", false),
            (Method::DELETE, Bucket, "%74agging", true),
            (Method::PUT, Bucket, "versioning", true),
            (Method::POST, Bucket, "delete=", true),
            (Method::GET, Object, "X-Amz-Algorithm=A&X-Amz-Signature=b&response-content-type=c&versionId=null", true),
            (Method::GET, Object, "acl", true),
            (Method::HEAD, Object, "partNumber=1", true),
            (Method::HEAD, Object, "tagging", false),
            (Method::PUT, Object, "partNumber=1&uploadId=u&x-id=UploadPart", true),
            (Method::PUT, Object, "uploadId=u", false),
            (Method::PUT, Object, "partNumber=1", false),
            (Method::PUT, Object, "acl=", true),
            (Method::GET, Bucket, "cors", true),
            (Method::DELETE, Bucket, "cors", true),
            (Method::GET, Bucket, "metadata", false),
            (Method::PUT, Object, "x-amz-meta-a=b&x-amz-acl=private", true),
            (Method::PUT, Object, "x-amz-copy-source=b%2Fk", true),
            (Method::DELETE, Object, "tagging", true),
            (Method::DELETE, Object, "legal-hold", false),
            (Method::POST, Object, "uploads", true),
            (Method::POST, Object, "select&select-type=2", false),
            // Neither in another spelling nor twice.
            (Method::GET, Bucket, "Prefix=a", false),
            (Method::GET, Bucket, "prefix=a&prefix=b", false),
            (Method::GET, Bucket, "prefix=a&%70refix=b", false),
            (Method::GET, Bucket, "prefix=a&PREFIX=b", false),
            (Method::GET, Bucket, "%6cist-type=7", false),
            (Method::GET, Object, "versionid=null", false),
            (Method::DELETE, Bucket, "Tagging", false),
            (Method::GET, Bucket, "publicAccessBlock", true),
            (Method::GET, Bucket, "publicaccessblock", false),
            (Method::GET, Object, "Response-Content-Type=a", false),
            (Method::GET, Object, "AWSAccessKeyId=a&Expires=1&Signature=b", true),
            (Method::PUT, Object, "x-amz-tagging=a&X-Amz-Tagging=b", false),
            (Method::GET, Bucket, "cachebuster=17&cachebuster=18", true),
        ];
        for (method, shape, query, expected) in cases {
            assert_eq!(check(&method, shape, Some(query)).is_ok(), expected, "{method} {shape:?} ?{query}");
        }
    }
}
