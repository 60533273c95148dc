//! Who calls, and what they may do.

use std::sync::Arc;

use umbra_core::{Entity, Error};
use umbra_store::{AccessKey, Action, Bucket};

use crate::error::{ApiError, ApiResult};

/// The key that signed a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<AccessKey>);

impl Caller {
    pub(crate) const fn new(key: Arc<AccessKey>) -> Self {
        Self(key)
    }

    /// Whether this is the root key.
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_root()
    }

    /// Whether the caller runs `organization`: its buckets and its keys.
    pub(crate) fn manages(&self, organization: &str) -> bool {
        let own = self.0.organization.as_deref().is_none_or(|own| own == organization);
        own && self.0.may(Action::ManageBuckets, None)
    }

    /// Whether the caller may know of `bucket`.
    pub(crate) fn sees(&self, bucket: &Bucket) -> bool {
        self.0.may(Action::ListBuckets, Some(bucket))
    }

    /// Whether the caller may change `bucket`.
    pub(crate) fn manages_bucket(&self, bucket: &Bucket) -> bool {
        self.0.may(Action::ManageBuckets, Some(bucket))
    }

    /// Refuses all but the root key.
    pub(crate) fn require_root(&self) -> ApiResult<()> {
        if self.is_root() { Ok(()) } else { Err(ApiError::denied("this needs the root key")) }
    }

    /// The organization a request is about: the one it names, else the caller's own; none only for root.
    ///
    /// Another organization than the caller's is answered as if it did not exist.
    pub(crate) fn organization(&self, asked: Option<&str>) -> ApiResult<Option<String>> {
        let Some(own) = self.0.organization.as_deref() else { return Ok(asked.map(str::to_owned)) };
        if let Some(asked) = asked.filter(|asked| *asked != own) {
            return Err(Error::no_such(Entity::Organization, asked).into());
        }
        if !self.manages(own) {
            return Err(ApiError::denied("this needs an admin key of the whole organization"));
        }
        Ok(Some(own.to_owned()))
    }

    /// The same where one is needed.
    pub(crate) fn one_organization(&self, asked: Option<&str>) -> ApiResult<String> {
        self.organization(asked)?.ok_or_else(|| ApiError::invalid("name an organization: the root key belongs to none"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use umbra_core::{BucketName, Timestamp};
    use umbra_meta::{Partition, Revision};
    use umbra_store::{AccessKey, Bucket, BucketSettings, Role, Secret};

    use super::Caller;

    fn caller(organization: Option<&str>, role: Role, bucket: Option<&str>) -> Caller {
        Caller::new(Arc::new(AccessKey {
            id: "UMBRATEST".to_owned(),
            secret: Secret::new("secret"),
            organization: organization.map(str::to_owned),
            role,
            bucket: bucket.map(|name| BucketName::parse(name).unwrap()),
            created: Timestamp::default(),
        }))
    }

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

    #[test]
    fn rights_follow_the_organization_the_role_and_the_bucket() {
        let (mine, twin, other) = (bucket("mine", "acme"), bucket("twin", "acme"), bucket("other", "rival"));
        // For each caller: sees mine, twin, other; manages mine, twin, other; manages acme, rival.
        let table = [
            ("root", caller(None, Role::Admin, None), [true, true, true, true, true, true, true, true]),
            ("admin", caller(Some("acme"), Role::Admin, None), [true, true, false, true, true, false, true, false]),
            ("admin of one", caller(Some("acme"), Role::Admin, Some("mine")), [true, false, false, true, false, false, false, false]),
            ("editor", caller(Some("acme"), Role::Editor, None), [true, true, false, false, false, false, false, false]),
            ("editor of one", caller(Some("acme"), Role::Editor, Some("mine")), [true, false, false, false, false, false, false, false]),
            ("reader of a name elsewhere", caller(Some("acme"), Role::Reader, Some("other")), [false; 8]),
        ];
        for (name, caller, expected) in table {
            let sees = [&mine, &twin, &other].map(|bucket| caller.sees(bucket));
            let manages = [&mine, &twin, &other].map(|bucket| caller.manages_bucket(bucket));
            let runs = ["acme", "rival"].map(|organization| caller.manages(organization));
            assert_eq!([&sees[..], &manages[..], &runs[..]].concat(), expected, "{name}");
        }
    }

    #[test]
    fn a_request_is_about_the_callers_organization() {
        let admin = caller(Some("acme"), Role::Admin, None);
        assert_eq!(admin.organization(None).unwrap().as_deref(), Some("acme"));
        assert_eq!(admin.organization(Some("acme")).unwrap().as_deref(), Some("acme"));
        assert!(admin.organization(Some("rival")).is_err());
        assert!(caller(Some("acme"), Role::Editor, None).organization(None).is_err());
        assert!(caller(Some("acme"), Role::Admin, Some("mine")).organization(None).is_err());
        let root = caller(None, Role::Admin, None);
        assert_eq!(root.organization(None).unwrap(), None);
        assert_eq!(root.one_organization(Some("new")).unwrap(), "new");
        assert!(root.one_organization(None).is_err());
    }
}
