//! Bucket names.

use std::{fmt, sync::Arc};

use crate::{Error, Fault, Result};

/// A valid bucket name.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(Arc<str>);

impl BucketName {
    /// Checks `name` against S3's rules.
    pub fn parse(name: &str) -> Result<Self> {
        let bytes = name.as_bytes();
        let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (3..=63).contains(&bytes.len())
            && bytes.iter().all(|b| alphanumeric(b) || matches!(b, b'-' | b'.'))
            && bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && !["..", ".-", "-."].iter().any(|pair| name.contains(pair))
            && name.parse::<std::net::Ipv4Addr>().is_err()
            && !name.starts_with("xn--")
            && !name.ends_with("-s3alias");
        if valid {
            Ok(Self(name.into()))
        } else {
            Err(Error::invalid(
                Fault::InvalidBucketName,
                "the specified bucket is not valid: a name is 3 to 63 lower-case letters, digits, hyphens and dots, begins and ends with a letter or digit, and so does what stands between dots",
            ))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::BucketName;

    #[test]
    fn accepts_what_s3_accepts_and_nothing_else() {
        for good in ["abc", "my-bucket", "a.b.c", "123", "a1.b", &"a".repeat(63)] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "Abc", "a_b", "-abc", "abc-", "a..b", "10.0.0.1", "xn--abc", "abc-s3alias", "a/b", "ünder", &"a".repeat(64)]
        {
            assert!(BucketName::parse(bad).is_err(), "{bad}");
        }
    }
}
