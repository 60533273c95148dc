//! What the sender of a form is told when it is stored.

use http::{
    HeaderMap, HeaderValue, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, LOCATION},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{Body, S3Result};
use umbra_client::encode_path;

use super::{Target, form::Form};
use crate::xml_text::{Shield, unshield};

/// What a query's values may hold as they are.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How a form wants to be answered.
#[derive(Debug)]
pub(super) struct Wanted {
    location: String,
    bucket: String,
    key: String,
    redirect: Option<String>,
    status: StatusCode,
}

impl Wanted {
    /// What `form` says of it. What makes no sense there counts for nothing, as S3 has it.
    pub(super) fn of(target: Target<'_>, headers: &HeaderMap, form: &Form) -> Self {
        let Target { scheme, bucket, is_in_host } = target;
        let key = form.get("key").unwrap_or_default().to_owned();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let within = if is_in_host { String::new() } else { format!("/{bucket}") };
        let status = match form.get("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        };
        let redirect = form.get("success_action_redirect").or_else(|| form.get("redirect")).filter(|url| is_url(url));
        Self {
            location: format!("{}://{host}{within}/{}", scheme.name(), encode_path(&key)),
            bucket: bucket.to_owned(),
            key,
            redirect: redirect.map(str::to_owned),
            status,
        }
    }

    /// The answer, once `stored` says that it is done.
    pub(super) fn answer(self, stored: &Response<Body>) -> S3Result<Response<Body>> {
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = stored.headers().clone();
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
        let mut location = self.location.clone();
        if let Some(url) = &self.redirect {
            let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
            let sign = if url.contains('?') { '&' } else { '?' };
            location = format!("{url}{sign}bucket={}&key={}&etag={}", encode(&self.bucket), encode(&self.key), encode(&etag));
        }
        if let Ok(location) = HeaderValue::try_from(location) {
            headers.insert(LOCATION, location);
        }
        if self.redirect.is_some() {
            *response.status_mut() = StatusCode::SEE_OTHER;
        } else if self.status == StatusCode::CREATED {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            *response.body_mut() = Body::from(self.document(&etag));
        }
        Ok(response)
    }

    fn document(&self, etag: &str) -> bytes::Bytes {
        let mut shield = Shield::default();
        let mut element = |name: &str, text: &str| {
            let text = shield.text(text.to_owned()).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
            format!("<{name}>{text}</{name}>")
        };
        let (location, bucket, key) = (element("Location", &self.location), element("Bucket", &self.bucket), element("Key", &self.key));
        let etag = element("ETag", etag);
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        unshield(&format!("{head}<PostResponse>{location}{bucket}{key}{etag}</PostResponse>").into())
    }
}

/// Whether a browser can be sent to `text`.
fn is_url(text: &str) -> bool {
    let uri = text.parse::<Uri>();
    uri.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Response, header::ETAG, header::HOST};
    use s3s::Body;

    use super::Wanted;
    use crate::{
        layer::Scheme,
        post::{Target, form::Form},
    };

    fn answered(host: &'static str, fields: &[(&str, &str)]) -> (u16, String, String) {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
        let mut stored = Response::new(Body::empty());
        stored.headers_mut().insert(ETAG, HeaderValue::from_static("\"e\""));
        let target = Target { scheme: Scheme::Https, bucket: "photos", is_in_host: host.starts_with("photos.") };
        let mut all = vec![("key", "a b&<\u{1}")];
        all.extend_from_slice(fields);
        let response = Wanted::of(target, &headers, &Form::of(&all)).answer(&stored).unwrap();
        let body = String::from_utf8(response.body().bytes().unwrap_or_default().to_vec()).unwrap();
        (response.status().as_u16(), response.headers()["location"].to_str().unwrap().to_owned(), body)
    }

    #[test]
    fn forms_are_answered_as_they_want() {
        let location = "https://h:1/photos/a%20b%26%3C%01";
        assert_eq!(answered("h:1", &[]), (204, location.to_owned(), String::new()));
        assert_eq!(answered("photos.h", &[]).1, "https://photos.h/a%20b%26%3C%01");
        assert_eq!(answered("h:1", &[("success_action_status", "200")]).0, 200);
        assert_eq!(answered("h:1", &[("success_action_status", "404")]).0, 204);
        let (status, _, document) = answered("h:1", &[("success_action_status", "201")]);
        assert_eq!(status, 201);
        assert!(
            document.ends_with("<Bucket>photos</Bucket><Key>a b&amp;&lt;&#x1;</Key><ETag>&quot;e&quot;</ETag></PostResponse>"),
            "{document}"
        );
        let query = "bucket=photos&key=a%20b%26%3C%01&etag=%22e%22";
        assert_eq!(answered("h:1", &[("success_action_redirect", "http://x/y")]), (303, format!("http://x/y?{query}"), String::new()));
        assert_eq!(
            answered("h:1", &[("redirect", "http://x/y?z=1"), ("success_action_status", "201")]).1,
            format!("http://x/y?z=1&{query}")
        );
        for bad in ["javascript:alert(1)", "/y", "http://", "http://x/\r\ny", "x"] {
            assert_eq!(answered("h:1", &[("success_action_redirect", bad)]).1, location, "{bad}");
        }
    }
}
