//! Completes responses: ids on every one, and what s3s leaves out of error documents.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, SERVER},
};
use s3s::Body;

use crate::xml_text::{Shielded, unshield};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");

/// The ids of a request and of who answers it.
#[derive(Debug)]
pub(crate) struct Ids<'a> {
    pub(crate) request: String,
    pub(crate) host: &'a str,
    /// The region it is in.
    pub(crate) region: &'a str,
}

/// S3's word for what went wrong, kept for who logs it: a HEAD is answered without the document that says so.
#[derive(Clone, Debug)]
pub(super) struct Code(pub(super) String);

/// How a request wants to be answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// Without a body.
    pub(crate) is_head: bool,
    /// With errors in JSON.
    pub(crate) is_json: bool,
    /// With a [`Code`] beside the answer.
    pub(crate) keeps_code: bool,
}

/// The status of a response, where s3s would choose another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status(pub(crate) StatusCode);

/// Completes `response` to a request for `resource`.
pub(crate) fn complete(mut response: Response<Body>, ids: &Ids<'_>, resource: &str, style: Style) -> Response<Body> {
    if let Some(Status(status)) = response.extensions_mut().remove() {
        *response.status_mut() = status;
    }
    if response.extensions_mut().remove::<Shielded>().is_some() {
        change_document(&mut response, |document| Some(unshield(document)));
    }
    let is_told_of = |status: StatusCode| status.is_client_error() || status.is_server_error() || status == StatusCode::TEMPORARY_REDIRECT;
    if is_told_of(response.status()) {
        if let Some(code) = response.body().bytes().filter(|_| style.keeps_code).and_then(|document| code(&document)) {
            response.extensions_mut().insert(Code(code));
        }
        change_document(&mut response, |document| with_details(document, ids, resource));
        if style.is_json {
            change_document(&mut response, as_json);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().remove(CONTENT_LENGTH);
        }
    }
    if style.is_head {
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    let id = |text: &str| HeaderValue::try_from(text).expect("ids are hexadecimal or base64");
    headers.insert(REQUEST_ID, id(&ids.request));
    headers.insert(HOST_ID, id(ids.host));
    headers.insert(SERVER, HeaderValue::from_static("Umbra"));
    response
}

/// Changes a body that is a document, held whole.
fn change_document(response: &mut Response<Body>, change: impl FnOnce(&Bytes) -> Option<Bytes>) {
    if let Some(document) = response.body().bytes().as_ref().and_then(change) {
        *response.body_mut() = Body::from(document);
    }
}

/// An error document with what every one of S3's holds.
fn with_details(document: &Bytes, ids: &Ids<'_>, resource: &str) -> Option<Bytes> {
    let text = std::str::from_utf8(document).ok()?;
    let inner = text.strip_suffix("</Error>")?;
    let resource = escape(resource);
    // Clients that signed for another region sign again for this one.
    let region = if inner.contains("<Code>AuthorizationHeaderMalformed</Code>") {
        format!("<Region>{}</Region>", ids.region)
    } else {
        String::new()
    };
    Some(
        format!(
            "{inner}{region}<Resource>{resource}</Resource><RequestId>{}</RequestId><HostId>{}</HostId></Error>",
            ids.request, ids.host
        )
        .into(),
    )
}

/// The code of an error document.
fn code(document: &Bytes) -> Option<String> {
    element(std::str::from_utf8(document).ok()?, "Code")
}

/// The code and the message of the error that `response` is.
pub(crate) fn told(response: &Response<Body>) -> Option<(String, String)> {
    let document = response.body().bytes()?;
    let text = std::str::from_utf8(&document).ok()?;
    Some((element(text, "Code")?, element(text, "Message").unwrap_or_default()))
}

/// The text of the first element `name` of a document.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(unescape(rest.split_once(&format!("</{name}>"))?.0))
}

/// The same error document in JSON.
fn as_json(document: &Bytes) -> Option<Bytes> {
    let text = std::str::from_utf8(document).ok()?;
    let members = ["Code", "Message", "Resource", "RequestId", "HostId"].into_iter();
    let members: serde_json::Map<_, _> = members.filter_map(|name| Some((name.to_owned(), element(text, name)?.into()))).collect();
    serde_json::to_vec(&members).ok().map(Bytes::from)
}

fn unescape(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")];
    named.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use http::{Response, StatusCode};
    use s3s::{Body, S3Error, S3ErrorCode};

    use super::{Ids, Status, Style, complete};

    fn text(response: &Response<Body>) -> String {
        String::from_utf8(response.body().bytes().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn errors_name_their_resource_and_request() {
        let ids = Ids { request: "0A".to_owned(), host: "aG9zdA==", region: "auto" };
        let error = S3Error::new(S3ErrorCode::NoSuchKey).to_http_response().unwrap();
        let response = complete(error, &ids, "/b/a&<b", Style::default());
        let document = text(&response);
        assert!(
            document.ends_with("<Resource>/b/a&amp;&lt;b</Resource><RequestId>0A</RequestId><HostId>aG9zdA==</HostId></Error>"),
            "{document}"
        );
        assert_eq!(response.headers()["x-amz-request-id"], "0A");
        assert_eq!(response.headers()["x-amz-id-2"], "aG9zdA==");
        assert_eq!(response.headers()["server"], "Umbra");
    }

    #[test]
    fn who_signed_for_another_region_is_told_this_one() {
        let ids = Ids { request: "0A".to_owned(), host: "h", region: "auto" };
        let error = S3Error::new(S3ErrorCode::AuthorizationHeaderMalformed).to_http_response().unwrap();
        assert!(text(&complete(error, &ids, "/", Style::default())).contains("<Region>auto</Region>"));
        let error = S3Error::new(S3ErrorCode::NoSuchKey).to_http_response().unwrap();
        assert!(!text(&complete(error, &ids, "/", Style::default())).contains("<Region>"));
    }

    #[test]
    fn errors_are_told_in_json_to_who_asks_for_it() {
        let ids = Ids { request: "0A".to_owned(), host: "aG9zdA==", region: "auto" };
        let error = S3Error::with_message(S3ErrorCode::NoSuchKey, "no \"such\" <key> & 'all'").to_http_response().unwrap();
        let response = complete(error, &ids, "/b/a&<b", Style { is_json: true, ..Style::default() });
        assert_eq!((response.status(), response.headers()["content-type"].to_str().unwrap()), (StatusCode::NOT_FOUND, "application/json"));
        let document: serde_json::Value = serde_json::from_str(&text(&response)).unwrap();
        let expected = serde_json::json!({
            "Code": "NoSuchKey", "Message": "no \"such\" <key> & 'all'", "Resource": "/b/a&<b", "RequestId": "0A", "HostId": "aG9zdA==",
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn a_head_has_no_body_and_a_chosen_status_wins() {
        let ids = Ids { request: "0A".to_owned(), host: "h", region: "auto" };
        let mut response = Response::new(Body::from(bytes::Bytes::from_static(b"content")));
        response.extensions_mut().insert(Status(StatusCode::PARTIAL_CONTENT));
        let response = complete(response, &ids, "/", Style { is_head: true, ..Style::default() });
        assert_eq!((response.status(), text(&response).as_str()), (StatusCode::PARTIAL_CONTENT, ""));
        let error = S3Error::new(S3ErrorCode::NoSuchKey).to_http_response().unwrap();
        let response = complete(error, &ids, "/", Style { is_head: true, keeps_code: true, ..Style::default() });
        assert_eq!((response.extensions().get::<super::Code>().unwrap().0.as_str(), text(&response).as_str()), ("NoSuchKey", ""));
    }
}
