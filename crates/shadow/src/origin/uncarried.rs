//! What an object has at its origin that it cannot have here. It is noticed when the object is seen, so that it is never lost in silence.

use std::fmt;

use umbra_core::{Error, ErrorKind, Fault};

/// Why an object that is encrypted under a customer's own key cannot be read.
pub(crate) const CUSTOMER_KEY: &str = "the object is encrypted at the origin under a customer's own key (SSE-C), which only its owner has";

/// Something of an object that cannot be brought here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Uncarried {
    /// It is encrypted under a customer's key and cannot be read.
    CustomerKey,
    /// It is archived and cannot be read before it is restored.
    Archived,
    /// It is locked until a date.
    Retention,
    /// It is under a legal hold.
    LegalHold,
    /// Others than its owner may reach it.
    Acl,
    /// The origin itself does not show some of its user metadata.
    HiddenMetadata,
    /// The origin does not show its tags.
    HiddenTags,
    /// A header of this name holds what is no text.
    UnreadableHeader(String),
}

impl Uncarried {
    /// What an error of a read says of the object, if it does.
    pub fn of_error(error: &Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::Invalid(Fault::InvalidObjectState) => Some(Self::Archived),
            ErrorKind::OriginRefused if error.message() == CUSTOMER_KEY => Some(Self::CustomerKey),
            _ => None,
        }
    }
}

impl fmt::Display for Uncarried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CustomerKey => "it is encrypted under a customer's own key (SSE-C) and cannot be read",
            Self::Archived => "it is archived; restore it at the origin, then it moves like any other",
            Self::Retention => "its object lock retention stays at the origin; the copy here can be deleted",
            Self::LegalHold => "its legal hold stays at the origin; the copy here can be deleted",
            Self::Acl => "its access control list stays at the origin; here access is by bucket and key",
            Self::HiddenMetadata => "the origin does not show some of its user metadata, which is therefore left behind",
            Self::HiddenTags => "the origin does not let its tags be read; if it has any, they are left behind",
            Self::UnreadableHeader(name) => return write!(f, "its header {name} is no text and is left behind"),
        })
    }
}
