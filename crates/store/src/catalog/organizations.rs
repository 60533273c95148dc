//! Organizations: who buckets and access keys belong to.

use umbra_core::{Entity, Error, ErrorKind, Fault, Result, Timestamp};
use umbra_meta::{Batch, Error as MetaError, Expect, Partition, Revision, key::root};

use super::{ATTEMPTS_MAX, Catalog, Pages, Shared, conflict};
use crate::record::{self, access_key::AccessKeyRecord, bucket_name::BucketNameRecord};

/// Who buckets and access keys belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
}

impl Catalog {
    /// Creates an organization.
    ///
    /// Its name has 1 to 63 characters of `a` to `z`, `0` to `9`, `-` and `_`.
    pub async fn create_organization(&self, name: &str) -> Result<()> {
        if self.ensure_organization(name).await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::AlreadyExists(Entity::Organization), "the organization exists already"))
    }

    /// Creates an organization unless it exists. Tells whether it did.
    pub async fn ensure_organization(&self, name: &str) -> Result<bool> {
        check_name(name)?;
        let key = root::organization(name);
        let record = record::organization::encode(self.shared.clock.now());
        let batch = Batch::new(Partition::ROOT).check(key.clone(), Expect::Absent).put(key, "", record);
        match self.shared.meta.commit(batch).await {
            Ok(_) => Ok(true),
            Err(MetaError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is an organization of this name.
    pub async fn has_organization(&self, name: &str) -> Result<bool> {
        // What is no name would be no key either.
        Ok(check_name(name).is_ok() && self.shared.meta.get(Partition::ROOT, &root::organization(name)).await?.is_some())
    }

    /// All organizations, by name.
    pub async fn organizations(&self) -> Result<Vec<Organization>> {
        let mut all = Vec::new();
        let mut pages = Pages::new(&*self.shared.meta, root::organization_range(""));
        while let Some(page) = pages.next().await? {
            for entry in page {
                let Some(name) = root::parse_organization(&entry.key) else { continue };
                all.push(Organization { name: name.to_owned(), created: record::organization::decode(&entry.body)? });
            }
        }
        Ok(all)
    }

    /// Deletes an organization, which must have neither buckets nor access keys.
    pub async fn delete_organization(&self, name: &str) -> Result<()> {
        let key = root::organization(name);
        for _ in 0..ATTEMPTS_MAX {
            let entry = self.shared.meta.get(Partition::ROOT, &key).await?.ok_or_else(|| no_organization(name))?;
            if self.shared.is_used(name).await? {
                return Err(Error::invalid(Fault::InvalidRequest, "the organization still has buckets or access keys"));
            }
            // What was created since we looked has given the organization a new revision.
            let batch = Batch::new(Partition::ROOT).check(key.clone(), Expect::Revision(entry.revision)).delete(key.clone());
            match self.shared.meta.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(MetaError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(conflict())
    }
}

fn no_organization(name: &str) -> Error {
    Error::no_such(Entity::Organization, name)
}

impl Shared {
    /// Commits `batch`, which puts something of `organization` into the root partition.
    ///
    /// The organization's own record is put again as it is. Its new revision tells whoever is deleting it meanwhile. `None`: one
    /// of the batch's own checks failed.
    pub(super) async fn commit_for(&self, organization: &str, batch: Batch) -> Result<Option<Revision>> {
        let key = root::organization(organization);
        for _ in 0..ATTEMPTS_MAX {
            let entry = self.meta.get(Partition::ROOT, &key).await?.ok_or_else(|| no_organization(organization))?;
            let batch = batch.clone().check(key.clone(), Expect::Revision(entry.revision)).put(key.clone(), entry.head, entry.body);
            match self.meta.commit(batch).await {
                Ok(committed) => return Ok(Some(committed.revision)),
                Err(MetaError::Conflict { key: changed, .. }) if changed == key => {}
                Err(MetaError::Conflict { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Err(conflict())
    }

    /// Whether anything belongs to `organization`.
    async fn is_used(&self, organization: &str) -> Result<bool> {
        let mut buckets = Pages::new(&*self.meta, root::bucket_range(""));
        while let Some(page) = buckets.next().await? {
            for entry in page {
                if BucketNameRecord::decode(&entry.body)?.organization == organization {
                    return Ok(true);
                }
            }
        }
        let mut keys = Pages::new(&*self.meta, root::access_key_range(""));
        while let Some(page) = keys.next().await? {
            for entry in page {
                if AccessKeyRecord::decode(&entry.body)?.organization.as_deref() == Some(organization) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn check_name(name: &str) -> Result<()> {
    let valid = (1..=63).contains(&name.len()) && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    let wrong = || Error::invalid(Fault::InvalidArgument, "an organization's name has 1 to 63 characters of a to z, 0 to 9, - and _");
    valid.then_some(()).ok_or_else(wrong)
}
