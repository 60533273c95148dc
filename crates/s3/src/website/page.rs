//! What a website says when it has nothing to show.

use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use s3s::{Body, S3Error};

use super::routing::Redirect;
use crate::layer::{Ids, told};

const ERROR_CODE: HeaderName = HeaderName::from_static("x-amz-error-code");
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-amz-error-message");

/// Why there is nothing to show, in S3's words.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: &str, message: &str) -> Self {
        Self { status, code: code.to_owned(), message: message.to_owned() }
    }

    /// What `response` says went wrong.
    pub(super) fn of(response: &Response<Body>) -> Self {
        let (code, message) = told(response).unwrap_or_default();
        Self { status: response.status(), code, message }
    }

    /// Says it in the headers of whatever page goes with it.
    pub(super) fn mark(&self, response: &mut Response<Body>) {
        *response.status_mut() = self.status;
        for (name, text) in [(ERROR_CODE, &self.code), (ERROR_MESSAGE, &self.message)] {
            if let Ok(value) = HeaderValue::try_from(text.as_str()) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

impl From<S3Error> for Fault {
    fn from(error: S3Error) -> Self {
        let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, error.code().as_str(), error.message().unwrap_or_default())
    }
}

/// A page that says what went wrong, and what did with the page that was to be shown instead.
pub(super) fn of_fault(fault: &Fault, instead: Option<&Fault>, ids: &Ids<'_>) -> Response<Body> {
    let title = format!("{} {}", fault.status.as_u16(), fault.status.canonical_reason().unwrap_or_default());
    let list = |fault: &Fault, more: &str| {
        format!("<ul>\n<li>Code: {}</li>\n<li>Message: {}</li>\n{more}</ul>\n", escape(&fault.code), escape(&fault.message))
    };
    let about = list(fault, &format!("<li>RequestId: {}</li>\n<li>HostId: {}</li>\n", ids.request, ids.host));
    let instead = instead.map_or_else(String::new, |fault| {
        format!("<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n{}", list(fault, ""))
    });
    let page = format!("<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n{about}{instead}<hr/>\n</body>\n</html>\n");
    let mut response = html(page);
    fault.mark(&mut response);
    response
}

/// Sends a reader elsewhere.
pub(super) fn of_redirect(redirect: &Redirect) -> Response<Body> {
    let title = format!("{} {}", redirect.status.as_u16(), redirect.status.canonical_reason().unwrap_or_default());
    let location = escape(&redirect.location);
    let mut response = html(format!(
        "<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<a href=\"{location}\">{location}</a>\n</body>\n</html>\n"
    ));
    *response.status_mut() = redirect.status;
    if let Ok(location) = HeaderValue::try_from(redirect.location.as_str()) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn html(page: String) -> Response<Body> {
    let mut response = Response::new(Body::from(page));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
