//! Access keys: created, looked up for every request, deleted.

use std::sync::Arc;

use umbra_core::{BucketName, Entity, Error, ErrorKind, Fault, Random, Result};
use umbra_meta::{Batch, Error as MetaError, Expect, Partition, key::root};

use super::{
    ATTEMPTS_MAX, Catalog, Pages, Shared,
    buckets::no_bucket,
    cache::{Ages, Answer},
    conflict, finish,
};
use crate::{AccessKey, Role, Secret, record::access_key::AccessKeyRecord};

const ID_PREFIX: &str = "UMBR";
const ID_RANDOM_CHARS: usize = 16;
/// RFC 4648, section 6.
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_CHARS: usize = 40;
/// Nothing that a shell, a URL or an option parser takes for something else.
const SECRET_ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const ID_LENGTHS: std::ops::RangeInclusive<usize> = 3..=128;
const SECRET_CHARS_MIN: usize = 8;

/// A key never changes, but another may get its id.
impl Ages for AccessKey {
    fn is_older_than(&self, other: &Self) -> bool {
        self.created < other.created
    }
}

/// The access key to create.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The organization it is to belong to, which must exist; `None` makes a root key.
    pub organization: Option<String>,
    /// What it may do. A root key may do everything.
    pub role: Role,
    /// The only bucket it is to reach, which must be the organization's.
    pub bucket: Option<BucketName>,
    /// Its id and secret, when they are not to be drawn.
    pub fixed: Option<(String, Secret)>,
}

impl Catalog {
    /// Creates an access key.
    pub async fn create_key(&self, request: NewKey) -> Result<AccessKey> {
        if request.organization.is_none() && request.bucket.is_some() {
            return Err(Error::invalid(Fault::InvalidArgument, "a root key reaches every bucket"));
        }
        if let Some((id, secret)) = &request.fixed {
            check_fixed(id, secret)?;
        }
        self.check_scope(&request).await?;
        let shared = Arc::clone(&self.shared);
        finish(async move { shared.create_key(request).await }).await
    }

    /// The access key `access_key`; `None` when there is none. Every request asks, so it is answered from memory.
    pub async fn key(&self, access_key: &str) -> Result<Option<Arc<AccessKey>>> {
        match self.shared.keys.get(access_key, self.shared.age_max()) {
            Answer::Known(key) => return Ok(Some(key)),
            Answer::Absent => return Ok(None),
            Answer::Unknown if !is_id(access_key) => return Ok(None),
            Answer::Unknown => {}
        }
        let epoch = self.shared.keys.epoch();
        let row = root::access_key(access_key);
        let nearby = match self.shared.nearby() {
            Some(nearby) => nearby.get(Partition::ROOT, &row).await?,
            None => None,
        };
        let found = match nearby {
            Some(entry) => Some(entry),
            None => self.shared.meta.get(Partition::ROOT, &row).await?,
        };
        let found = match found {
            Some(entry) => Some(Arc::new(self.shared.open_key(access_key, &entry.body)?)),
            None => None,
        };
        self.shared.keys.learn(epoch, access_key, found.clone());
        Ok(found)
    }

    /// The access keys of `organization`, or all of them, by id.
    pub async fn keys(&self, organization: Option<&str>) -> Result<Vec<Arc<AccessKey>>> {
        let mut keys = Vec::new();
        let mut pages = Pages::new(&*self.shared.meta, root::access_key_range(""));
        while let Some(page) = pages.next().await? {
            for entry in page {
                let Some(id) = root::parse_access_key(&entry.key) else { continue };
                let record = AccessKeyRecord::decode(&entry.body)?;
                if organization.is_none() || record.organization.as_deref() == organization {
                    keys.push(Arc::new(record.open(id, &self.shared.sealer)?));
                }
            }
        }
        Ok(keys)
    }

    /// Deletes an access key. Requests that come with it from now on are refused.
    pub async fn delete_key(&self, access_key: &str) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let id = access_key.to_owned();
        finish(async move {
            let deleted = shared.delete_key(&id).await;
            shared.spread().await;
            deleted
        })
        .await
    }

    /// Checks that the only bucket a key is to reach is its organization's. Another's is as good as none.
    async fn check_scope(&self, request: &NewKey) -> Result<()> {
        let Some(name) = &request.bucket else { return Ok(()) };
        let bucket = self.bucket(name).await?;
        if Some(&bucket.organization) == request.organization.as_ref() { Ok(()) } else { Err(Error::not_found(Entity::Bucket)) }
    }
}

impl Shared {
    async fn create_key(&self, request: NewKey) -> Result<AccessKey> {
        let _changing = self.begin_change().await?;
        let NewKey { organization, role, bucket, fixed } = request;
        if let Some(name) = &bucket
            && self.name_owner(name).await?.is_none()
        {
            return Err(no_bucket()); // deleted since the scope was checked
        }
        let is_fixed = fixed.is_some();
        let (id, secret) = fixed.unwrap_or_else(|| (random_id(&*self.random), random_secret(&*self.random)));
        let mut key = AccessKey { id, secret, organization, role, bucket, created: self.clock.now() };
        for _ in 0..ATTEMPTS_MAX {
            // If only the answer is lost, the key is there all the same.
            if self.put_key(&key).await.inspect_err(|_| self.keys.forget(&key.id))? {
                self.keys.change(&key.id, Some(Arc::new(key.clone())));
                return Ok(key);
            }
            if is_fixed {
                return Err(Error::new(ErrorKind::AlreadyExists(Entity::AccessKey), "the access key's id is not available"));
            }
            key.id = random_id(&*self.random);
        }
        Err(conflict())
    }

    /// Stores `key`. `false`: there is one of that id.
    async fn put_key(&self, key: &AccessKey) -> Result<bool> {
        let row = root::access_key(&key.id);
        let record = AccessKeyRecord::seal(key, &self.sealer).encode();
        let batch = Batch::new(Partition::ROOT).check(row.clone(), Expect::Absent).put(row, "", record);
        if let Some(organization) = &key.organization {
            return Ok(self.commit_for(organization, batch).await?.is_some());
        }
        match self.meta.commit(batch).await {
            Ok(_) => Ok(true),
            Err(MetaError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete_key(&self, id: &str) -> Result<()> {
        let _changing = self.begin_change().await?;
        let row = root::access_key(id);
        let batch = Batch::new(Partition::ROOT).check(row.clone(), Expect::Exists).delete(row);
        let committed = self.meta.commit(batch).await;
        if !matches!(committed, Err(MetaError::Conflict { .. })) {
            self.note_stored();
        }
        match committed {
            Ok(_) => {
                self.keys.change(id, None);
                Ok(())
            }
            Err(error) => {
                self.keys.forget(id);
                match error {
                    MetaError::Conflict { .. } => Err(Error::no_such(Entity::AccessKey, id)),
                    error => Err(error.into()),
                }
            }
        }
    }

    fn open_key(&self, id: &str, body: &[u8]) -> Result<AccessKey> {
        AccessKeyRecord::decode(body)?.open(id, &self.sealer)
    }
}

/// Whether `id` can be an access key's: it stands unquoted in headers, URLs and on command lines.
pub(super) fn is_id(id: &str) -> bool {
    ID_LENGTHS.contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn check_fixed(id: &str, secret: &Secret) -> Result<()> {
    if !is_id(id) {
        return Err(Error::invalid(Fault::InvalidArgument, "an access key's id has 3 to 128 letters, digits, and characters of -_."));
    }
    if secret.expose().chars().count() < SECRET_CHARS_MIN {
        return Err(Error::invalid(Fault::InvalidArgument, "a secret key has at least 8 characters"));
    }
    Ok(())
}

fn random_id(random: &dyn Random) -> String {
    let chars = random.array::<ID_RANDOM_CHARS>().map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)]));
    ID_PREFIX.chars().chain(chars).collect()
}

fn random_secret(random: &dyn Random) -> Secret {
    // With its final capacity from the start, so that no part of it is left behind by a reallocation.
    let mut secret = String::with_capacity(SECRET_CHARS);
    while secret.len() < SECRET_CHARS {
        // Six bits that name no character are thrown away: every character is equally likely.
        let drawn = random.array::<1>()[0] >> 2;
        if let Some(char) = SECRET_ALPHABET.get(usize::from(drawn)) {
            secret.push(char::from(*char));
        }
    }
    Secret::new(secret)
}
