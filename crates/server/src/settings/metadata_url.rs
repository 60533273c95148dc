//! The address of a database, which may hold a password.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where metadata is kept: empty for the data directory. Shown, it holds no password.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) struct MetadataUrl(String);

impl MetadataUrl {
    /// Whether it is the data directory.
    pub(crate) const fn is_embedded(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is a database that can be connected to, as far as its form goes.
    pub(crate) fn is_database(&self) -> bool {
        ["postgres://", "postgresql://"].iter().any(|scheme| self.0.starts_with(scheme))
    }

    /// All of it, to connect with.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a password is in it.
    pub(crate) fn has_password(&self) -> bool {
        self.password().is_some()
    }

    /// Where in it the password is. What might be one is taken for one.
    fn password(&self) -> Option<std::ops::Range<usize>> {
        let start = self.0.find("://")? + 3;
        let end = self.0.rfind('@').filter(|end| *end > start)?;
        let colon = start + self.0[start..end].find(':')?;
        Some(colon + 1..end)
    }
}

impl From<String> for MetadataUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<MetadataUrl> for String {
    fn from(url: MetadataUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for MetadataUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.password() {
            Some(password) => write!(f, "{}***{}", &self.0[..password.start], &self.0[password.end..]),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for MetadataUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::MetadataUrl;

    #[test]
    fn a_password_is_never_shown() {
        for (text, shown) in [
            ("", ""),
            ("postgres://u@h:5432/db", "postgres://u@h:5432/db"),
            ("postgres://u:hidden@h:5432/db?x=y", "postgres://u:***@h:5432/db?x=y"),
            ("postgres://u:hid/d@en@h/db", "postgres://u:***@h/db"),
            ("postgres://h:5432/db", "postgres://h:5432/db"),
        ] {
            let url = MetadataUrl::from(text.to_owned());
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), format!("{shown:?}")));
            assert_eq!(toml::Value::try_from(&url).unwrap().as_str(), Some(shown));
            assert_eq!((url.has_password(), url.expose()), (text != shown, text));
        }
    }
}
