//! What optional features add to an object or an upload: a field of their records that is absent where there is nothing of it.

use minicbor::{Decode, Encode};
use umbra_core::{Narrowed, Timestamp, attributes as given};

use super::fields::Text;

/// All of it.
#[derive(Encode, Decode)]
pub(super) struct Attributes<'b> {
    #[n(0)]
    retention: Option<Retention>,
    #[n(1)]
    legal_hold: Option<bool>,
    #[b(2)]
    acl: Option<Acl<'b>>,
    #[b(3)]
    encryption: Option<Encryption<'b>>,
    #[n(4)]
    narrowed: Option<Text<Narrowed>>,
}

#[derive(Clone, Copy, Encode, Decode)]
struct Retention {
    #[n(0)]
    mode: Mode,
    #[n(1)]
    until: i64,
}

/// A mode of retention.
#[derive(Clone, Copy, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum Mode {
    #[n(0)]
    Governance,
    #[n(1)]
    Compliance,
}

/// An access control list.
#[derive(Encode, Decode)]
pub(super) struct Acl<'b> {
    #[b(0)]
    owner: &'b str,
    #[b(1)]
    grants: Vec<Grant<'b>>,
}

#[derive(Encode, Decode)]
pub(super) struct Grant<'b> {
    #[b(0)]
    grantee: Grantee<'b>,
    #[n(1)]
    permission: Permission,
}

#[derive(Encode, Decode)]
enum Grantee<'b> {
    #[n(0)]
    Organization(#[b(0)] &'b str),
    #[n(1)]
    Everyone,
    #[n(2)]
    Authenticated,
    #[n(3)]
    LogDelivery,
}

#[derive(Clone, Copy, Encode, Decode)]
#[cbor(index_only)]
enum Permission {
    #[n(0)]
    Read,
    #[n(1)]
    Write,
    #[n(2)]
    ReadAcp,
    #[n(3)]
    WriteAcp,
    #[n(4)]
    FullControl,
}

#[derive(Encode, Decode)]
enum Encryption<'b> {
    #[n(0)]
    Managed,
    #[n(1)]
    Kms(#[b(0)] &'b str, #[n(1)] bool, #[n(2)] bool, #[b(3)] Option<&'b str>),
    #[n(2)]
    Customer(#[b(0)] &'b str),
}

impl<'b> Attributes<'b> {
    /// What of `attributes` is to be written: nothing where there is none.
    pub(super) fn of(attributes: &'b given::Attributes) -> Option<Self> {
        (*attributes != given::Attributes::default()).then(|| Self {
            retention: attributes.lock.retention.map(Retention::from),
            legal_hold: attributes.lock.legal_hold,
            acl: attributes.acl.as_ref().map(Acl::of),
            encryption: attributes.encryption.as_ref().map(Encryption::of),
            narrowed: attributes.narrowed.clone().map(Text),
        })
    }

    /// What was written.
    pub(super) fn given(attributes: Option<Self>) -> given::Attributes {
        attributes.map(Self::into_given).unwrap_or_default()
    }

    fn into_given(self) -> given::Attributes {
        given::Attributes {
            lock: given::ObjectLock { retention: self.retention.map(given::Retention::from), legal_hold: self.legal_hold },
            acl: self.acl.map(Acl::into_given),
            encryption: self.encryption.map(Encryption::into_given),
            narrowed: self.narrowed.map(|narrowed| narrowed.0),
        }
    }
}

impl From<given::Retention> for Retention {
    fn from(retention: given::Retention) -> Self {
        Self { mode: retention.mode.into(), until: retention.until.as_millis() }
    }
}

impl From<Retention> for given::Retention {
    fn from(retention: Retention) -> Self {
        Self { mode: retention.mode.into(), until: Timestamp::from_millis(retention.until) }
    }
}

impl From<given::RetentionMode> for Mode {
    fn from(mode: given::RetentionMode) -> Self {
        match mode {
            given::RetentionMode::Governance => Self::Governance,
            given::RetentionMode::Compliance => Self::Compliance,
        }
    }
}

impl From<Mode> for given::RetentionMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Governance => Self::Governance,
            Mode::Compliance => Self::Compliance,
        }
    }
}

impl<'b> Acl<'b> {
    /// What of `acl` is written.
    pub(super) fn of(acl: &'b given::Acl) -> Self {
        Self { owner: &acl.owner, grants: acl.grants.iter().map(Grant::of).collect() }
    }

    /// What was written.
    pub(super) fn into_given(self) -> given::Acl {
        given::Acl { owner: self.owner.to_owned(), grants: self.grants.into_iter().map(Grant::into_given).collect() }
    }
}

impl<'b> Grant<'b> {
    pub(super) fn of(grant: &'b given::Grant) -> Self {
        let grantee = match &grant.grantee {
            given::Grantee::Organization(name) => Grantee::Organization(name),
            given::Grantee::Everyone => Grantee::Everyone,
            given::Grantee::Authenticated => Grantee::Authenticated,
            given::Grantee::LogDelivery => Grantee::LogDelivery,
        };
        let permission = match grant.permission {
            given::Permission::Read => Permission::Read,
            given::Permission::Write => Permission::Write,
            given::Permission::ReadAcp => Permission::ReadAcp,
            given::Permission::WriteAcp => Permission::WriteAcp,
            given::Permission::FullControl => Permission::FullControl,
        };
        Self { grantee, permission }
    }

    pub(super) fn into_given(self) -> given::Grant {
        let grantee = match self.grantee {
            Grantee::Organization(name) => given::Grantee::Organization(name.to_owned()),
            Grantee::Everyone => given::Grantee::Everyone,
            Grantee::Authenticated => given::Grantee::Authenticated,
            Grantee::LogDelivery => given::Grantee::LogDelivery,
        };
        let permission = match self.permission {
            Permission::Read => given::Permission::Read,
            Permission::Write => given::Permission::Write,
            Permission::ReadAcp => given::Permission::ReadAcp,
            Permission::WriteAcp => given::Permission::WriteAcp,
            Permission::FullControl => given::Permission::FullControl,
        };
        given::Grant { grantee, permission }
    }
}

impl<'b> Encryption<'b> {
    fn of(encryption: &'b given::Encryption) -> Self {
        match encryption {
            given::Encryption::Managed => Self::Managed,
            given::Encryption::Kms { key, dual, bucket_key, context } => Self::Kms(key, *dual, *bucket_key, context.as_deref()),
            given::Encryption::Customer { key_md5 } => Self::Customer(key_md5),
        }
    }

    fn into_given(self) -> given::Encryption {
        match self {
            Self::Managed => given::Encryption::Managed,
            Self::Kms(key, dual, bucket_key, context) => {
                given::Encryption::Kms { key: key.to_owned(), dual, bucket_key, context: context.map(str::to_owned) }
            }
            Self::Customer(key_md5) => given::Encryption::Customer { key_md5: key_md5.to_owned() },
        }
    }
}
