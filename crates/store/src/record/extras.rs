//! The optional settings within `b`.

use minicbor::{Decode, Encode};
use umbra_core::SealedSecret;

use super::{
    attributes::Acl,
    encryption::DefaultEncryption,
    lifecycle::{EarlierRule, Lifecycle},
    object_lock::ObjectLock,
    sub_resources::{EventHook, Logging, Website},
};
use crate::extras::{self, Extras as Given};

#[derive(Encode, Decode)]
pub(super) struct Extras<'b> {
    #[n(0)]
    protected: bool,
    #[n(1)]
    lists_publicly: bool,
    #[n(2)]
    allows_object_acls: bool,
    #[n(3)]
    storage_class: Option<String>,
    #[n(4)]
    cache_control: Option<String>,
    #[n(5)]
    domain: Option<String>,
    #[n(6)]
    headers: Vec<(String, String)>,
    #[n(7)]
    cors: Vec<CorsRule>,
    /// In the earlier form; nothing is written here any more.
    #[n(8)]
    earlier_lifecycle: Vec<EarlierRule>,
    #[n(9)]
    notifications: Option<Notifications>,
    #[n(10)]
    object_lock: Option<ObjectLock>,
    #[n(11)]
    policy: Option<String>,
    #[b(12)]
    acl: Option<Acl<'b>>,
    #[n(13)]
    public_access: Option<PublicAccessBlock>,
    #[n(14)]
    ownership: Option<ObjectOwnership>,
    #[n(15)]
    encryption: Option<DefaultEncryption>,
    #[n(16)]
    lifecycle: Option<Lifecycle>,
    #[n(17)]
    tags: Option<Vec<(String, String)>>,
    #[n(18)]
    website: Option<Website>,
    #[b(19)]
    logging: Option<Logging<'b>>,
    #[n(20)]
    event_hooks: Option<Vec<EventHook>>,
    #[n(21)]
    requester_pays: Option<bool>,
    #[n(22)]
    accelerated: Option<bool>,
}

#[derive(Encode, Decode)]
struct PublicAccessBlock {
    #[n(0)]
    block_acls: bool,
    #[n(1)]
    ignore_acls: bool,
    #[n(2)]
    block_policy: bool,
    #[n(3)]
    restrict: bool,
}

#[derive(Clone, Copy, Encode, Decode)]
#[cbor(index_only)]
enum ObjectOwnership {
    #[n(0)]
    BucketOwnerEnforced,
    #[n(1)]
    BucketOwnerPreferred,
    #[n(2)]
    ObjectWriter,
}

#[derive(Encode, Decode)]
struct CorsRule {
    #[n(0)]
    id: Option<String>,
    #[n(1)]
    origins: Vec<String>,
    #[n(2)]
    methods: Vec<String>,
    #[n(3)]
    headers: Vec<String>,
    #[n(4)]
    exposed: Vec<String>,
    #[n(5)]
    max_age_seconds: Option<u32>,
}

#[derive(Encode, Decode)]
struct Notifications {
    #[n(0)]
    enabled: bool,
    #[n(1)]
    url: String,
    #[n(2)]
    filter: String,
    #[n(3)]
    auth: Option<HookAuth>,
}

#[derive(Encode, Decode)]
struct HookAuth {
    #[n(0)]
    user: Option<String>,
    #[cbor(n(1), with = "minicbor::bytes")]
    secret: Vec<u8>,
}

impl<'b> From<&'b Given> for Extras<'b> {
    fn from(given: &'b Given) -> Self {
        let extras = given.clone();
        Self {
            protected: extras.protected,
            lists_publicly: extras.lists_publicly,
            allows_object_acls: extras.allows_object_acls,
            storage_class: extras.storage_class,
            cache_control: extras.cache_control,
            domain: extras.domain,
            headers: extras.headers,
            cors: extras.cors.into_iter().map(CorsRule::from).collect(),
            earlier_lifecycle: Vec::new(),
            notifications: extras.notifications.map(Notifications::from),
            object_lock: extras.object_lock.map(ObjectLock::from),
            encryption: extras.encryption.map(DefaultEncryption::from),
            policy: extras.policy,
            acl: given.acl.as_ref().map(Acl::of),
            public_access: extras.public_access.map(From::from),
            ownership: extras.ownership.map(From::from),
            lifecycle: Lifecycle::of(&extras.lifecycle),
            tags: unless_empty(extras.tags),
            website: extras.website.map(Website::from),
            logging: given.logging.as_ref().map(Logging::of),
            event_hooks: unless_empty(extras.event_hooks.into_iter().map(EventHook::from).collect()),
            requester_pays: extras.requester_pays.then_some(true),
            accelerated: extras.accelerated,
        }
    }
}

impl From<Extras<'_>> for Given {
    fn from(extras: Extras<'_>) -> Self {
        Self {
            protected: extras.protected,
            lists_publicly: extras.lists_publicly,
            allows_object_acls: extras.allows_object_acls,
            storage_class: extras.storage_class,
            cache_control: extras.cache_control,
            domain: extras.domain,
            headers: extras.headers,
            cors: extras.cors.into_iter().map(extras::CorsRule::from).collect(),
            lifecycle: Lifecycle::given(extras.lifecycle, extras.earlier_lifecycle),
            notifications: extras.notifications.map(extras::Notifications::from),
            object_lock: extras.object_lock.map(extras::ObjectLockSettings::from),
            encryption: extras.encryption.map(extras::DefaultEncryption::from),
            policy: extras.policy,
            acl: extras.acl.map(Acl::into_given),
            public_access: extras.public_access.map(From::from),
            ownership: extras.ownership.map(From::from),
            tags: extras.tags.unwrap_or_default(),
            website: extras.website.map(extras::Website::from),
            logging: extras.logging.map(Logging::into_given),
            event_hooks: extras.event_hooks.unwrap_or_default().into_iter().map(extras::EventHook::from).collect(),
            requester_pays: extras.requester_pays.unwrap_or(false),
            accelerated: extras.accelerated,
        }
    }
}

/// A list that is not written where it holds nothing.
fn unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Writes the conversions between a struct here and its twin, field by field, and those of the fields that are not the same.
macro_rules! twins {
    ($Name:ident { $($same:ident),* $(; $($field:ident: $convert:expr),*)? }) => {
        impl From<extras::$Name> for $Name {
            fn from(given: extras::$Name) -> Self {
                Self { $($same: given.$same,)* $($($field: $convert(given.$field),)*)? }
            }
        }

        impl From<$Name> for extras::$Name {
            fn from(given: $Name) -> Self {
                Self { $($same: given.$same,)* $($($field: $convert(given.$field),)*)? }
            }
        }
    };
}

pub(super) use twins;

twins!(PublicAccessBlock { block_acls, ignore_acls, block_policy, restrict });
twins!(CorsRule { id, origins, methods, headers, exposed, max_age_seconds });
twins!(Notifications { enabled, url, filter; auth: (|of: Option<_>| of.map(From::from)) });

impl From<extras::ObjectOwnership> for ObjectOwnership {
    fn from(ownership: extras::ObjectOwnership) -> Self {
        match ownership {
            extras::ObjectOwnership::BucketOwnerEnforced => Self::BucketOwnerEnforced,
            extras::ObjectOwnership::BucketOwnerPreferred => Self::BucketOwnerPreferred,
            extras::ObjectOwnership::ObjectWriter => Self::ObjectWriter,
        }
    }
}

impl From<ObjectOwnership> for extras::ObjectOwnership {
    fn from(ownership: ObjectOwnership) -> Self {
        match ownership {
            ObjectOwnership::BucketOwnerEnforced => Self::BucketOwnerEnforced,
            ObjectOwnership::BucketOwnerPreferred => Self::BucketOwnerPreferred,
            ObjectOwnership::ObjectWriter => Self::ObjectWriter,
        }
    }
}

impl From<extras::HookAuth> for HookAuth {
    fn from(auth: extras::HookAuth) -> Self {
        Self { user: auth.user, secret: auth.secret.0 }
    }
}

impl From<HookAuth> for extras::HookAuth {
    fn from(auth: HookAuth) -> Self {
        Self { user: auth.user, secret: SealedSecret(auth.secret) }
    }
}
