//! One request as an operation describes it, before it is signed.

use http::{
    HeaderMap, HeaderValue, Method,
    header::{self, HeaderName},
};

use crate::{Error, Result, error::Subject};

/// Headers that only this crate sets; what a caller gives for them is dropped.
const OURS: [HeaderName; 12] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
    HeaderName::from_static("x-amz-security-token"),
];

/// A request for the bucket or for a key of it.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) key: Option<&'a str>,
    pub(crate) query: Vec<(&'static str, Option<String>)>,
    pub(crate) headers: HeaderMap,
    pub(crate) is_completion: bool,
}

impl<'a> Call<'a> {
    /// A request for the bucket itself.
    pub(crate) fn bucket(method: Method) -> Self {
        Self { method, key: None, query: Vec::new(), headers: HeaderMap::new(), is_completion: false }
    }

    /// A request for `key`.
    pub(crate) fn object(method: Method, key: &'a str) -> Result<Self> {
        if key.is_empty() {
            // It would be a request for the bucket.
            return Err(Error::Request("the key is empty".into()));
        }
        Ok(Self { key: Some(key), ..Self::bucket(method) })
    }

    /// Adds a parameter.
    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, Some(value.into())));
        self
    }

    /// Adds a parameter, if there is a value.
    pub(crate) fn query_opt(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a parameter that has no value: the name of a sub-resource.
    pub(crate) fn sub_resource(mut self, name: &'static str) -> Self {
        self.query.push((name, None));
        self
    }

    /// Adds a header, if there is a value.
    pub(crate) fn header(mut self, name: HeaderName, value: Option<&str>) -> Result<Self> {
        if let Some(value) = value {
            let value = HeaderValue::from_str(value).map_err(|_| Error::Request(format!("the value of the header {name} is malformed")))?;
            self.headers.insert(name, value);
        }
        Ok(self)
    }

    /// Adds the caller's headers.
    pub(crate) fn headers(mut self, headers: &HeaderMap) -> Self {
        for (name, value) in headers {
            if !OURS.contains(name) {
                self.headers.append(name.clone(), value.clone());
            }
        }
        self
    }

    /// What the request is about.
    pub(crate) const fn subject(&self) -> Subject {
        if self.key.is_some() { Subject::Object } else { Subject::Bucket }
    }

    /// Whether the request, without a body, may be sent twice without harm.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::DELETE)
    }
}
