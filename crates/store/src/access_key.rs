//! Access keys: who makes a request, and what they may do.

use std::fmt;

use umbra_core::{BucketName, Error, Fault, Result, Timestamp};

use crate::{Bucket, Secret};

/// An access key: a public id and a secret, and what they open.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// Its public id.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// The organization it belongs to. `None`: it is a root key, which may do everything everywhere.
    pub organization: Option<String>,
    /// What it may do.
    pub role: Role,
    /// The only bucket it reaches, when it does not reach all of its organization.
    pub bucket: Option<BucketName>,
    /// When it was created.
    pub created: Timestamp,
}

/// What an access key may do; each role may do what the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Read and list objects.
    Reader,
    /// Write and delete objects too.
    Editor,
    /// Create, configure and delete buckets too, and use the admin API for the organization.
    Admin,
}

/// What a request is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read an object.
    Read,
    /// List the objects of a bucket.
    List,
    /// Write or delete an object.
    Write,
    /// Create (no bucket is named yet), configure or delete a bucket.
    ManageBuckets,
    /// List buckets. Without a bucket: at all. With one: whether it is shown.
    ListBuckets,
}

impl AccessKey {
    /// Whether it is a root key.
    pub const fn is_root(&self) -> bool {
        self.organization.is_none()
    }

    /// Whether it may do `action` to `bucket`. Only creating and listing buckets can do without a bucket.
    pub fn may(&self, action: Action, bucket: Option<&Bucket>) -> bool {
        if self.is_root() {
            return true;
        }
        match (action, bucket) {
            (_, Some(bucket)) if !self.reaches(bucket) => false,
            (Action::ListBuckets, _) | (Action::Read | Action::List, Some(_)) => true,
            (Action::Write, Some(_)) => self.role >= Role::Editor,
            (Action::ManageBuckets, Some(_)) => self.role >= Role::Admin,
            (Action::ManageBuckets, None) => self.role >= Role::Admin && self.bucket.is_none(),
            (Action::Read | Action::List | Action::Write, None) => false,
        }
    }

    fn reaches(&self, bucket: &Bucket) -> bool {
        self.organization.as_ref() == Some(&bucket.organization) && self.bucket.as_ref().is_none_or(|only| *only == bucket.name)
    }
}

impl Role {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Editor, Self::Admin];

    /// The name people use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// The role called `name`.
    pub fn parse(name: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|role| role.name() == name);
        named.ok_or_else(|| Error::invalid(Fault::InvalidArgument, "a role is one of reader, editor and admin"))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::{BucketName, Timestamp};
    use umbra_meta::{Partition, Revision};

    use super::{AccessKey, Action, Role};
    use crate::{Bucket, BucketSettings, Secret};

    const ACTIONS: [Action; 5] = [Action::Read, Action::List, Action::Write, Action::ManageBuckets, Action::ListBuckets];

    fn bucket(name: &str, organization: &str) -> Bucket {
        Bucket {
            name: BucketName::parse(name).unwrap(),
            partition: Partition(1),
            organization: organization.to_owned(),
            created: Timestamp::default(),
            settings: BucketSettings::default(),
            revision: Revision(1),
            taken_in: None,
        }
    }

    fn key(organization: Option<&str>, role: Role, only: Option<&str>) -> AccessKey {
        AccessKey {
            id: "id".to_owned(),
            secret: Secret::new("secret"),
            organization: organization.map(str::to_owned),
            role,
            bucket: only.map(|name| BucketName::parse(name).unwrap()),
            created: Timestamp::default(),
        }
    }

    /// The actions that `key` may do to `bucket`, in the order of `ACTIONS`.
    fn allowed(key: &AccessKey, bucket: Option<&Bucket>) -> [bool; 5] {
        ACTIONS.map(|action| key.may(action, bucket))
    }

    #[test]
    fn rights_are_as_documented() {
        let (ours, other, theirs) = (bucket("ours", "acme"), bucket("other", "acme"), bucket("theirs", "evil"));
        let (all, nothing) = ([true; 5], [false; 5]);
        let (reads, writes) = ([true, true, false, false, true], [true, true, true, false, true]);
        let (lists, lists_and_creates) = ([false, false, false, false, true], [false, false, false, true, true]);
        let cases = [
            ("root", key(None, Role::Reader, None), [all, all, all, all]),
            ("reader", key(Some("acme"), Role::Reader, None), [reads, reads, nothing, lists]),
            ("editor", key(Some("acme"), Role::Editor, None), [writes, writes, nothing, lists]),
            ("admin", key(Some("acme"), Role::Admin, None), [all, all, nothing, lists_and_creates]),
            ("reader of one", key(Some("acme"), Role::Reader, Some("ours")), [reads, nothing, nothing, lists]),
            ("editor of one", key(Some("acme"), Role::Editor, Some("ours")), [writes, nothing, nothing, lists]),
            ("admin of one", key(Some("acme"), Role::Admin, Some("ours")), [all, nothing, nothing, lists]),
            ("scoped to a stranger's", key(Some("acme"), Role::Admin, Some("theirs")), [nothing, nothing, nothing, lists]),
        ];
        for (name, key, [to_ours, to_other, to_theirs, to_none]) in cases {
            assert_eq!(allowed(&key, Some(&ours)), to_ours, "{name}, its bucket");
            assert_eq!(allowed(&key, Some(&other)), to_other, "{name}, its organization's bucket");
            assert_eq!(allowed(&key, Some(&theirs)), to_theirs, "{name}, another organization's bucket");
            assert_eq!(allowed(&key, None), to_none, "{name}, no bucket");
        }
    }

    #[test]
    fn roles_are_called_by_their_names() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.name()).unwrap(), role);
        }
        assert!(Role::parse("Admin").is_err());
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert!(!format!("{:?}", key(None, Role::Admin, None)).contains("secret: \"secret\""));
    }
}
