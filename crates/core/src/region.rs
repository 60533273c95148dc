//! Names of regions, and of geographies, which are groups of them.

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::{Error, Fault, Result};

/// The longest name, in bytes. Names are within identifiers of contents, which have a limit.
const BYTES_MAX: usize = 32;

/// Makes a type for names of places: 1 to 32 letters, digits and dashes.
macro_rules! place_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `name`: 1 to 32 letters, digits and dashes.
            pub fn parse(name: &str) -> Result<Self> {
                if (1..=BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                    Ok(Self(name.into()))
                } else {
                    let message = format!(concat!("{:?} is no name of a ", $what, ": up to 32 letters, digits and dashes"), name);
                    Err(Error::invalid(Fault::InvalidArgument, message))
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

place_name! {
    /// The name of a region: a place that has contents of its own.
    Region, "region"
}

place_name! {
    /// The name of a geography: several regions near each other.
    Geography, "geography"
}

#[cfg(test)]
mod tests {
    use super::{Geography, Region};

    #[test]
    fn names_are_checked() {
        for good in ["fra", "us-east-1", "FRA", "1", &"r".repeat(32)] {
            assert!(Region::parse(good).is_ok_and(|region| region.as_str() == good) && Geography::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "f a", "f,a", "f:a", "f_a", "ü", &"r".repeat(33)] {
            assert!(Region::parse(bad).is_err() && Geography::parse(bad).is_err(), "{bad}");
        }
    }
}
