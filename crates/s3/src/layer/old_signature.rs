//! Signatures of version 2 on requests that name a bucket in the path and nothing else.
//!
//! They are made over `/bucket/`, whether or not the path that is asked for ends with a slash, but s3s takes the path as it comes.

use http::{
    Request, Uri,
    header::{AUTHORIZATION, HeaderValue},
};

use super::query;

/// Gives the path of `request`, which names a bucket, the slash that its signature covers if it is of version 2.
pub(super) fn complete_path<B>(request: &mut Request<B>) {
    let in_header = request.headers().get(AUTHORIZATION).is_some_and(|value: &HeaderValue| value.as_bytes().starts_with(b"AWS "));
    let is_old = in_header || query::names(request.uri().query()).any(|name| name == "awsaccesskeyid");
    if is_old && let Some(uri) = with_slash(request.uri()) {
        *request.uri_mut() = uri;
    }
}

fn with_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if path.ends_with('/') {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}/{query}").parse().ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::complete_path;

    #[test]
    fn only_what_is_signed_the_old_way_changes() {
        let cases = [
            ("/b", Some("AWS key:signature"), "/b/"),
            ("/b?acl", Some("AWS key:signature"), "/b/?acl"),
            ("/b/", Some("AWS key:signature"), "/b/"),
            ("/b", Some("AWS4-HMAC-SHA256 Credential=k"), "/b"),
            ("/b?AWSAccessKeyId=k&Signature=s", None, "/b/?AWSAccessKeyId=k&Signature=s"),
            ("/b?acl", None, "/b?acl"),
        ];
        for (uri, authorization, expected) in cases {
            let mut request = Request::builder().uri(uri);
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            let mut request = request.body(()).unwrap();
            complete_path(&mut request);
            assert_eq!(request.uri().to_string(), expected, "{uri} {authorization:?}");
        }
    }
}
