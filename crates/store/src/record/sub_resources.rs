//! What S3's smaller sub-resources set, within the optional settings.

use minicbor::{Decode, Encode};

use super::{attributes::Grant, extras::twins};
use crate::extras;

#[derive(Encode, Decode)]
pub(super) struct Website {
    #[n(0)]
    index: Option<String>,
    #[n(1)]
    error: Option<String>,
    #[n(2)]
    redirect_all: Option<WebsiteRedirect>,
    #[n(3)]
    rules: Vec<RoutingRule>,
}

#[derive(Encode, Decode)]
struct RoutingRule {
    #[n(0)]
    prefix: Option<String>,
    #[n(1)]
    status: Option<u16>,
    #[n(2)]
    redirect: WebsiteRedirect,
}

#[derive(Encode, Decode)]
struct WebsiteRedirect {
    #[n(0)]
    host: Option<String>,
    #[n(1)]
    protocol: Option<String>,
    #[n(2)]
    status: Option<u16>,
    #[n(3)]
    prefix: Option<String>,
    #[n(4)]
    key: Option<String>,
}

#[derive(Encode, Decode)]
pub(super) struct Logging<'b> {
    #[n(0)]
    bucket: String,
    #[n(1)]
    prefix: String,
    #[n(2)]
    keys: LogKeys,
    #[b(3)]
    grants: Option<Vec<Grant<'b>>>,
}

#[derive(Encode, Decode)]
#[cbor(index_only)]
enum LogKeys {
    #[n(0)]
    Simple,
    #[n(1)]
    ByEventTime,
    #[n(2)]
    ByDeliveryTime,
}

#[derive(Encode, Decode)]
pub(super) struct EventHook {
    #[n(0)]
    id: String,
    #[n(1)]
    kind: EventHookKind,
    #[n(2)]
    arn: String,
    #[n(3)]
    events: Vec<String>,
    #[n(4)]
    prefix: Option<String>,
    #[n(5)]
    suffix: Option<String>,
}

#[derive(Encode, Decode)]
#[cbor(index_only)]
enum EventHookKind {
    #[n(0)]
    Topic,
    #[n(1)]
    Queue,
    #[n(2)]
    Function,
}

/// Writes the conversions between an enum of plain names here and its twin.
macro_rules! same_names {
    ($Name:ident { $($variant:ident),* }) => {
        impl From<extras::$Name> for $Name {
            fn from(given: extras::$Name) -> Self {
                match given {
                    $(extras::$Name::$variant => Self::$variant,)*
                }
            }
        }

        impl From<$Name> for extras::$Name {
            fn from(given: $Name) -> Self {
                match given {
                    $($Name::$variant => Self::$variant,)*
                }
            }
        }
    };
}

twins!(Website { index, error; redirect_all: (|of: Option<_>| of.map(From::from)), rules: (|of: Vec<_>| of.into_iter().map(From::from).collect()) });
twins!(RoutingRule { prefix, status; redirect: From::from });
twins!(WebsiteRedirect { host, protocol, status, prefix, key });

impl<'b> Logging<'b> {
    pub(super) fn of(given: &'b extras::Logging) -> Self {
        let extras::Logging { bucket, prefix, keys, grants } = given;
        let grants = (!grants.is_empty()).then(|| grants.iter().map(Grant::of).collect());
        Self { bucket: bucket.clone(), prefix: prefix.clone(), keys: (*keys).into(), grants }
    }

    pub(super) fn into_given(self) -> extras::Logging {
        let grants = self.grants.unwrap_or_default().into_iter().map(Grant::into_given).collect();
        extras::Logging { bucket: self.bucket, prefix: self.prefix, keys: self.keys.into(), grants }
    }
}

twins!(EventHook { id, arn, events, prefix, suffix; kind: From::from });
same_names!(LogKeys { Simple, ByEventTime, ByDeliveryTime });
same_names!(EventHookKind { Topic, Queue, Function });

#[cfg(test)]
mod tests;
