//! Root `A/<id>`: an access key, its secret sealed. All of it is in the body.

use bytes::Bytes;
use umbra_core::{BucketName, Result, SealedSecret, Timestamp};

use crate::{AccessKey, Role, Sealer};

const WHAT: &str = "an access key";
const VERSION: u8 = 1;

/// An access key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessKeyRecord {
    pub(crate) secret: SealedSecret,
    pub(crate) organization: Option<String>,
    pub(crate) role: Role,
    pub(crate) bucket: Option<BucketName>,
    pub(crate) created: Timestamp,
}

impl AccessKeyRecord {
    /// `key` as it is kept.
    pub(crate) fn seal(key: &AccessKey, sealer: &Sealer) -> Self {
        Self {
            secret: sealer.seal(&context(&key.id), key.secret.expose()),
            organization: key.organization.clone(),
            role: key.role,
            bucket: key.bucket.clone(),
            created: key.created,
        }
    }

    /// The access key `id`, which is kept so.
    pub(crate) fn open(self, id: &str, sealer: &Sealer) -> Result<AccessKey> {
        Ok(AccessKey {
            id: id.to_owned(),
            secret: sealer.open(&context(id), &self.secret)?,
            organization: self.organization,
            role: self.role,
            bucket: self.bucket,
            created: self.created,
        })
    }

    /// The body of the record.
    pub(crate) fn encode(&self) -> Bytes {
        super::encode(VERSION, &v1::AccessKey::from(self))
    }

    /// The record that `body` holds.
    pub(crate) fn decode(body: &[u8]) -> Result<Self> {
        match super::split(WHAT, body)? {
            (VERSION, cbor) => super::decode::<v1::AccessKey>(WHAT, cbor)?.try_into(),
            (version, _) => Err(super::unknown_version(WHAT, version)),
        }
    }
}

fn context(id: &str) -> String {
    format!("access-key/{id}")
}

mod v1 {
    use minicbor::{Decode, Encode};
    use umbra_core::{BucketName, SealedSecret, Timestamp};

    use super::{AccessKeyRecord, WHAT};
    use crate::record::corrupt;

    #[derive(Encode, Decode)]
    pub(super) struct AccessKey {
        #[cbor(n(0), with = "minicbor::bytes")]
        secret: Vec<u8>,
        #[n(1)]
        organization: Option<String>,
        #[n(2)]
        role: Role,
        #[n(3)]
        bucket: Option<String>,
        #[n(4)]
        created: i64,
    }

    #[derive(Encode, Decode)]
    #[cbor(index_only)]
    enum Role {
        #[n(0)]
        Reader,
        #[n(1)]
        Editor,
        #[n(2)]
        Admin,
    }

    impl From<&AccessKeyRecord> for AccessKey {
        fn from(key: &AccessKeyRecord) -> Self {
            Self {
                secret: key.secret.0.clone(),
                organization: key.organization.clone(),
                role: match key.role {
                    crate::Role::Reader => Role::Reader,
                    crate::Role::Editor => Role::Editor,
                    crate::Role::Admin => Role::Admin,
                },
                bucket: key.bucket.as_ref().map(ToString::to_string),
                created: key.created.as_millis(),
            }
        }
    }

    impl TryFrom<AccessKey> for AccessKeyRecord {
        type Error = umbra_core::Error;

        fn try_from(key: AccessKey) -> umbra_core::Result<Self> {
            Ok(Self {
                secret: SealedSecret(key.secret),
                organization: key.organization,
                role: match key.role {
                    Role::Reader => crate::Role::Reader,
                    Role::Editor => crate::Role::Editor,
                    Role::Admin => crate::Role::Admin,
                },
                bucket: key.bucket.map(|name| BucketName::parse(&name)).transpose().map_err(|error| corrupt(WHAT, error))?,
                created: Timestamp::from_millis(key.created),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::{BucketName, SealedSecret, Timestamp};

    use super::AccessKeyRecord;
    use crate::{Role, record::golden};

    fn scoped() -> AccessKeyRecord {
        AccessKeyRecord {
            secret: SealedSecret(vec![1, 0, 255]),
            organization: Some("acme".to_owned()),
            role: Role::Editor,
            bucket: Some(BucketName::parse("bucket").unwrap()),
            created: Timestamp::from_millis(1_750_000_000_000),
        }
    }

    #[test]
    fn every_released_format_is_read() {
        let root = AccessKeyRecord { organization: None, role: Role::Admin, bucket: None, ..scoped() };
        for (name, key) in [("access_key/v1", scoped()), ("access_key/v1-root", root)] {
            let golden = golden::check(name, Some(&key.encode()));
            assert_eq!(AccessKeyRecord::decode(&golden).unwrap(), key, "{name}");
        }
    }

    #[test]
    fn damage_is_refused() {
        golden::check_refusals(&scoped().encode(), AccessKeyRecord::decode);
    }
}
