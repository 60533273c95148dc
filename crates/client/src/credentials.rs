//! Credentials of an origin.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

/// An access key with its secret. The secret is wiped from memory when the last clone goes, and never shown.
#[derive(Clone)]
pub struct Credentials {
    access_key: Arc<str>,
    secret: Arc<Zeroizing<String>>,
    session_token: Option<Arc<Zeroizing<String>>>,
}

impl Credentials {
    /// Credentials that last.
    pub fn new(access_key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { access_key: access_key.into().into(), secret: Arc::new(Zeroizing::new(secret.into())), session_token: None }
    }

    /// Adds the token that temporary credentials come with.
    #[must_use]
    pub fn with_session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(Arc::new(Zeroizing::new(token.into())));
        self
    }

    /// The access key, which is no secret.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret, to sign with.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// The session token, to sign with.
    pub(crate) fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.as_str())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Credentials;

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::new("AKIDEXAMPLE", "hush").with_session_token("whisper");
        let shown = format!("{credentials:?} {credentials:#?}");
        assert!(shown.contains("AKIDEXAMPLE"));
        assert!(!shown.contains("hush") && !shown.contains("whisper"), "{shown}");
    }
}
