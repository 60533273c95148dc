//! `b`: the settings of a bucket, which are also the fence that its writers check. All of it is in the body.

use bytes::Bytes;
use umbra_core::Result;

use crate::BucketSettings;

const WHAT: &str = "a bucket's settings";
const VERSION: u8 = 1;

/// The body of the record that holds `settings`.
pub(crate) fn encode_settings(settings: &BucketSettings) -> Bytes {
    super::encode(VERSION, &v1::Settings::from(settings))
}

/// The settings that `body` holds.
pub(crate) fn decode_settings(body: &[u8]) -> Result<BucketSettings> {
    match super::split(WHAT, body)? {
        (VERSION, cbor) => Ok(super::decode::<v1::Settings<'_>>(WHAT, cbor)?.into()),
        (version, _) => Err(super::unknown_version(WHAT, version)),
    }
}

mod v1 {
    use std::{sync::Arc, time::Duration};

    use minicbor::{Decode, Encode};
    use umbra_core::{HydratePolicy, Location, Money, SealedSecret, ShadowSettings};

    use crate::{
        BucketSettings, BucketState, Versioning as Given,
        record::{extras::Extras, fields::Text},
    };

    #[derive(Encode, Decode)]
    pub(super) struct Settings<'b> {
        #[n(0)]
        state: State,
        #[n(1)]
        public: bool,
        #[n(2)]
        location: Text<Location>,
        #[n(3)]
        generation: u64,
        #[n(4)]
        shadow: Option<Shadow>,
        /// Absent while the bucket has none.
        #[b(5)]
        extras: Option<Extras<'b>>,
        /// Absent: off.
        #[n(6)]
        versioning: Option<Versioning>,
    }

    #[derive(Encode, Decode)]
    #[cbor(index_only)]
    enum State {
        #[n(0)]
        Active,
        #[n(1)]
        Deleting,
    }

    #[derive(Encode, Decode)]
    #[cbor(index_only)]
    enum Versioning {
        #[n(0)]
        Enabled,
        #[n(1)]
        Suspended,
    }

    #[derive(Encode, Decode)]
    struct Shadow {
        #[n(0)]
        endpoint: String,
        #[n(1)]
        region: String,
        #[n(2)]
        bucket: String,
        #[n(3)]
        access_key: String,
        #[cbor(n(4), with = "minicbor::bytes")]
        secret_key: Vec<u8>,
        #[n(5)]
        write_through: bool,
        /// Absent: the whole.
        #[n(6)]
        hydrate: Option<Hydrate>,
        #[n(7)]
        revalidate_ms: Option<u64>,
        #[n(8)]
        price_per_gb_micros: Option<u64>,
    }

    #[derive(Encode, Decode)]
    #[cbor(index_only)]
    enum Hydrate {
        #[n(0)]
        Whole,
        #[n(1)]
        Touched,
    }

    impl<'b> From<&'b BucketSettings> for Settings<'b> {
        fn from(settings: &'b BucketSettings) -> Self {
            Self {
                state: match settings.state {
                    BucketState::Active => State::Active,
                    BucketState::Deleting => State::Deleting,
                },
                public: settings.public,
                location: Text(settings.location.clone()),
                generation: settings.generation,
                shadow: settings.shadow.as_ref().map(Shadow::from),
                extras: (*settings.extras != crate::Extras::default()).then(|| Extras::from(&*settings.extras)),
                versioning: match settings.versioning {
                    Given::Off => None,
                    Given::Enabled => Some(Versioning::Enabled),
                    Given::Suspended => Some(Versioning::Suspended),
                },
            }
        }
    }

    impl From<Settings<'_>> for BucketSettings {
        fn from(settings: Settings<'_>) -> Self {
            Self {
                state: match settings.state {
                    State::Active => BucketState::Active,
                    State::Deleting => BucketState::Deleting,
                },
                public: settings.public,
                location: settings.location.0,
                shadow: settings.shadow.map(ShadowSettings::from),
                generation: settings.generation,
                versioning: match settings.versioning {
                    None => Given::Off,
                    Some(Versioning::Enabled) => Given::Enabled,
                    Some(Versioning::Suspended) => Given::Suspended,
                },
                extras: settings.extras.map(|extras| Arc::new(extras.into())).unwrap_or_default(),
            }
        }
    }

    impl From<&ShadowSettings> for Shadow {
        fn from(shadow: &ShadowSettings) -> Self {
            Self {
                endpoint: shadow.endpoint.clone(),
                region: shadow.region.clone(),
                bucket: shadow.bucket.clone(),
                access_key: shadow.access_key.clone(),
                secret_key: shadow.secret_key.0.clone(),
                write_through: shadow.write_through,
                hydrate: match shadow.hydrate {
                    HydratePolicy::Whole => None,
                    HydratePolicy::Touched => Some(Hydrate::Touched),
                },
                revalidate_ms: shadow.revalidate.map(|interval| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)),
                price_per_gb_micros: shadow.price_per_gb.map(|price| price.micros),
            }
        }
    }

    impl From<Shadow> for ShadowSettings {
        fn from(shadow: Shadow) -> Self {
            Self {
                endpoint: shadow.endpoint,
                region: shadow.region,
                bucket: shadow.bucket,
                access_key: shadow.access_key,
                secret_key: SealedSecret(shadow.secret_key),
                write_through: shadow.write_through,
                hydrate: match shadow.hydrate {
                    None | Some(Hydrate::Whole) => HydratePolicy::Whole,
                    Some(Hydrate::Touched) => HydratePolicy::Touched,
                },
                revalidate: shadow.revalidate_ms.map(Duration::from_millis),
                price_per_gb: shadow.price_per_gb_micros.map(|micros| Money { micros }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use umbra_core::{
        Acl, Grant, Grantee, HydratePolicy, Location, Money, Permission, RetentionMode, SealedSecret, ShadowSettings, Timestamp,
    };

    use super::{decode_settings, encode_settings};
    use crate::{
        BucketSettings, BucketState, CorsRule, DefaultEncryption, DefaultKmsKey, DefaultRetention, Extras, HookAuth, Lifecycle,
        Notifications, ObjectLockSettings, ObjectOwnership, PublicAccessBlock, RetentionPeriod, Versioning,
        lifecycle::{Due, Expiration, LifecycleFilter, LifecycleRule, Transition},
        record::golden,
    };

    fn shadowed() -> BucketSettings {
        BucketSettings {
            state: BucketState::Deleting,
            public: true,
            location: Location::parse("dual:fra,ams").unwrap(),
            shadow: Some(ShadowSettings {
                endpoint: "https://origin.example".to_owned(),
                region: "auto".to_owned(),
                bucket: "old".to_owned(),
                access_key: "AKIA".to_owned(),
                secret_key: SealedSecret(vec![1, 0, 255]),
                write_through: true,
                hydrate: HydratePolicy::Whole,
                revalidate: None,
                price_per_gb: None,
            }),
            generation: 7,
            ..BucketSettings::default()
        }
    }

    fn with_extras() -> BucketSettings {
        let list = |items: &[&str]| items.iter().map(ToString::to_string).collect::<Vec<_>>();
        let extras = Extras {
            protected: true,
            lists_publicly: true,
            allows_object_acls: true,
            storage_class: Some("GLACIER_IR".to_owned()),
            cache_control: Some("max-age=60".to_owned()),
            domain: Some("a.example.com".to_owned()),
            headers: vec![("X-Content-Type-Options".to_owned(), "nosniff".to_owned())],
            cors: vec![CorsRule {
                id: Some("first".to_owned()),
                origins: list(&["https://a.example"]),
                methods: list(&["GET", "PUT"]),
                headers: list(&["x-*"]),
                exposed: list(&["ETag"]),
                max_age_seconds: Some(600),
            }],
            lifecycle: Lifecycle {
                rules: vec![LifecycleRule {
                    id: "old".to_owned(),
                    enabled: true,
                    filter: LifecycleFilter::by_prefix(Some("logs/".to_owned())),
                    expiration: Some(Expiration::Objects(Due::Date(Timestamp::from_millis(1_896_048_000_000)))),
                    transitions: vec![Transition { due: Due::Days(90), class: "GLACIER".to_owned() }],
                    noncurrent_expiration: None,
                    noncurrent_transitions: vec![],
                    abort_uploads_days: None,
                }],
                small_objects_move: false,
            },
            notifications: Some(Notifications {
                enabled: true,
                url: "https://hook.example".to_owned(),
                filter: String::new(),
                auth: Some(HookAuth { user: Some("u".to_owned()), secret: SealedSecret(vec![9, 0, 255]) }),
            }),
            ..Extras::default()
        };
        BucketSettings { extras: Arc::new(extras), ..BucketSettings::default() }
    }

    /// With what says who may do what.
    fn with_access() -> BucketSettings {
        let grant = |grantee, permission| Grant { grantee, permission };
        let grants = vec![
            grant(Grantee::Everyone, Permission::Read),
            grant(Grantee::Organization("acme".to_owned()), Permission::FullControl),
            grant(Grantee::LogDelivery, Permission::Write),
            grant(Grantee::Authenticated, Permission::ReadAcp),
        ];
        let extras = Extras {
            policy: Some("{}".to_owned()),
            acl: Some(Acl { owner: "acme".to_owned(), grants }),
            public_access: Some(PublicAccessBlock { block_acls: true, ignore_acls: false, block_policy: true, restrict: false }),
            ownership: Some(ObjectOwnership::BucketOwnerPreferred),
            ..Extras::default()
        };
        BucketSettings { extras: Arc::new(extras), ..BucketSettings::default() }
    }

    fn with_versions() -> BucketSettings {
        let default = DefaultRetention { mode: RetentionMode::Compliance, period: RetentionPeriod::Years(2) };
        let extras = Extras { object_lock: Some(ObjectLockSettings { default: Some(default) }), ..Extras::default() };
        BucketSettings { versioning: Versioning::Enabled, extras: Arc::new(extras), ..BucketSettings::default() }
    }

    fn with_encryption() -> BucketSettings {
        let kms = Some(DefaultKmsKey { key: Some("alias/one".to_owned()), dual: true });
        let encryption = Some(DefaultEncryption { kms, bucket_key: Some(false), blocks_customer_keys: true });
        BucketSettings { extras: Arc::new(Extras { encryption, ..Extras::default() }), ..BucketSettings::default() }
    }

    /// With every setting that came after the first release.
    fn with_later_settings() -> BucketSettings {
        let mut settings = shadowed();
        if let Some(shadow) = &mut settings.shadow {
            shadow.hydrate = HydratePolicy::Touched;
            shadow.revalidate = Some(Duration::from_secs(600));
            shadow.price_per_gb = Some(Money { micros: 90_000 });
        }
        settings
    }

    #[test]
    fn every_released_format_is_read() {
        for (name, settings) in [
            ("bucket/v1", shadowed()),
            ("bucket/v1-plain", BucketSettings::default()),
            ("bucket/v1-extras", with_extras()),
            ("bucket/v1-later", with_later_settings()),
            ("bucket/v1-versions", with_versions()),
            ("bucket/v1-suspended", BucketSettings { versioning: Versioning::Suspended, ..BucketSettings::default() }),
            ("bucket/v1-encryption", with_encryption()),
            ("bucket/v1-access", with_access()),
        ] {
            // Lifecycle rules are written in another place by now.
            let written = (name != "bucket/v1-extras").then(|| encode_settings(&settings));
            let golden = golden::check(name, written.as_deref());
            assert_eq!(decode_settings(&golden).unwrap(), settings, "{name}");
        }
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&encode_settings(&shadowed()), decode_settings);
        golden::check_refusals(&encode_settings(&with_extras()), decode_settings);
        golden::check_refusals(&encode_settings(&with_later_settings()), decode_settings);
    }
}
