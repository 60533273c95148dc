//! The keys that content is encrypted with at rest.
//!
//! Every stretch of content has a data key of its own, drawn at random and kept beside it *wrapped*: encrypted with a key that is derived
//! from a root key. The root is the store's own for SSE-S3, a named one for SSE-KMS, and the client's for SSE-C, which is never kept.
//!
//! ```text
//!  0         1                  33                       65               81
//!  ├ version ┼ salt (32 bytes) ─┼ encrypted data key ────┼ tag (16 bytes) ┤
//!
//!  wrapping key    = HKDF-SHA256(root key, salt, info = purpose), 32 bytes, used once: the nonce is zero
//!  associated data = version ‖ purpose
//!  purpose         = "umbra/content/sse-s3", "umbra/content/sse-kms" or "umbra/content/sse-c"
//!  root of SSE-S3  = HKDF-SHA256(key-encryption key, no salt, info = "umbra/root/sse-s3")
//!  root of a name  = HKDF-SHA256(key-encryption key, no salt, info = "umbra/root/sse-kms/" ‖ name), or 32 bytes of the operator's
//! ```

mod customer_key;
mod sealing;

use std::{collections::BTreeMap, fmt, sync::Arc};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    hmac,
};
use umbra_core::{Encryption, Error, ErrorKind, Fault, Random, Result};
use zeroize::{Zeroize, Zeroizing};

pub(crate) use self::customer_key::{check_part, check_read};
pub use self::{
    customer_key::CustomerKey,
    sealing::{Seal, Sealing, Wrapping},
};

/// The key of SSE-KMS where the client names none.
pub const DEFAULT_KMS_KEY: &str = "aws/s3";
/// Bytes of a wrapped data key.
pub(crate) const WRAPPED_LEN: usize = KEY_START + KEY_LEN + TAG_LEN;

const VERSION: u8 = 1;
const SALT_START: usize = 1;
const KEY_START: usize = SALT_START + 32;
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

type Root = Zeroizing<[u8; KEY_LEN]>;

/// A key that encrypts one stretch of content.
pub(crate) struct DataKey(Zeroizing<[u8; KEY_LEN]>);

impl DataKey {
    #[cfg(test)]
    pub(crate) fn fixed(key: [u8; KEY_LEN]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The key, ready for use.
    pub(crate) fn ready(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0[..]).expect("the key is as long as AES-256 wants it"))
    }
}

/// The root keys, and what is done with them.
pub struct Keyring {
    managed: Root,
    named: BTreeMap<String, Root>,
    random: Arc<dyn Random>,
}

impl Keyring {
    /// The keys that are derived from the key-encryption key: the store's own, [`DEFAULT_KMS_KEY`], and one for each of `names`; a name
    /// that comes with 32 bytes gets those instead.
    pub fn new(mut kek: [u8; 32], names: impl IntoIterator<Item = (String, Option<[u8; 32]>)>, random: Arc<dyn Random>) -> Self {
        let mut named = BTreeMap::from([(DEFAULT_KMS_KEY.to_owned(), derived(&kek, &root_of(DEFAULT_KMS_KEY)))]);
        for (name, material) in names {
            let root = material.map_or_else(|| derived(&kek, &root_of(&name)), Zeroizing::new);
            named.insert(name, root);
        }
        let managed = derived(&kek, "umbra/root/sse-s3");
        kek.zeroize();
        Self { managed, named, random }
    }

    /// Refuses a key that is not here: by its name, an alias, or an ARN that ends in either.
    pub fn check(&self, id: &str) -> Result<()> {
        self.named(id).map(drop)
    }

    /// Draws a data key, and wraps it as `sealing` says.
    pub(crate) fn seal(&self, sealing: &Sealing) -> Result<(Seal, DataKey)> {
        let wrapping = Self::wrapping(sealing)?;
        let customer = if let Sealing::Customer(key) = sealing { Some(key) } else { None };
        let data_key = DataKey(Zeroizing::new(self.random.array()));
        let salt = self.random.array::<32>();
        let purpose = wrapping.purpose();
        let mut text = *data_key.0;
        let tag = wrapping_key(self.root(&wrapping, customer)?, &salt, purpose)
            .seal_in_place_separate_tag(zero_nonce(), associated_data(purpose), &mut text)
            .expect("a key is shorter than the cipher's limit of 64 GiB");
        let wrapped = [&[VERSION], &salt[..], &text, tag.as_ref()].concat();
        Ok((Seal { wrapping, wrapped: wrapped.try_into().expect("the pieces are as long as the whole") }, data_key))
    }

    /// What stands for the MD5 of a content that is encrypted as `sealing` says, where an ETag is not to tell it; `None` where it may.
    ///
    /// The same content gets the same under the same root key, so that a part that is sent once more stays the one it was.
    pub(crate) fn tag(&self, sealing: &Sealing, md5: &[u8; 16]) -> Result<Option<[u8; 16]>> {
        if !sealing.hides_md5() {
            return Ok(None);
        }
        let customer = if let Sealing::Customer(key) = sealing { Some(key) } else { None };
        let key = derived(self.root(&Self::wrapping(sealing)?, customer)?, "umbra/etag");
        let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key[..]), md5);
        Ok(Some(code.as_ref()[..16].try_into().expect("the code is longer")))
    }

    fn wrapping(sealing: &Sealing) -> Result<Wrapping> {
        match sealing {
            Sealing::Ours(Encryption::Managed) => Ok(Wrapping::Managed),
            Sealing::Ours(Encryption::Kms { key, .. }) => Ok(Wrapping::Named(name_of(key).to_owned())),
            Sealing::Ours(Encryption::Customer { .. }) => Err(Error::internal("a customer's key is not ours")),
            Sealing::Customer(_) => Ok(Wrapping::Customer),
        }
    }

    /// The data key of `seal`; `customer` is the client's key, where one came.
    pub(crate) fn unseal(&self, seal: &Seal, customer: Option<&CustomerKey>) -> Result<DataKey> {
        let Seal { wrapping, wrapped } = seal;
        let unopened = |why| Err(Error::new(ErrorKind::Corrupt, "encrypted content cannot be opened").because(why));
        if wrapped[0] != VERSION {
            return unopened("its form is not known to this release");
        }
        let root = self.root(wrapping, customer)?;
        let purpose = wrapping.purpose();
        let mut text = Zeroizing::new([0; KEY_LEN + TAG_LEN]);
        text.copy_from_slice(&wrapped[KEY_START..]);
        let opened = wrapping_key(root, &wrapped[SALT_START..KEY_START], purpose).open_in_place(
            zero_nonce(),
            associated_data(purpose),
            &mut text[..],
        );
        match opened {
            Ok(key) => Ok(DataKey(Zeroizing::new((&*key).try_into().expect("what was sealed is a key")))),
            Err(_) if *wrapping == Wrapping::Customer => Err(customer_key::wrong()),
            Err(_) => unopened("its key was changed, or wrapped with another key-encryption key"),
        }
    }

    fn root<'a>(&'a self, wrapping: &Wrapping, customer: Option<&'a CustomerKey>) -> Result<&'a [u8; KEY_LEN]> {
        match wrapping {
            Wrapping::Managed => Ok(&self.managed),
            Wrapping::Named(name) => self.named(name),
            Wrapping::Customer => customer.map(CustomerKey::expose).ok_or_else(customer_key::missing),
        }
    }

    fn named(&self, id: &str) -> Result<&[u8; KEY_LEN]> {
        let name = name_of(id);
        self.named
            .get(name)
            .map(|root| &**root)
            .ok_or_else(|| Error::invalid(Fault::KmsKeyNotFound, format!("the key '{name}' does not exist")))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("named", &self.named.keys()).finish_non_exhaustive()
    }
}

/// The name within what a client calls a key: a name, `alias/NAME`, or `arn:aws:kms:REGION:ACCOUNT:key/NAME` or `:alias/NAME`.
fn name_of(id: &str) -> &str {
    let resource = match id.strip_prefix("arn:") {
        // Partition, service, region, account, and then the resource.
        Some(arn) => arn.splitn(5, ':').nth(4).map_or(id, |resource| resource.strip_prefix("key/").unwrap_or(resource)),
        None => id,
    };
    resource.strip_prefix("alias/").unwrap_or(resource)
}

fn root_of(name: &str) -> String {
    format!("umbra/root/sse-kms/{name}")
}

/// A length for HKDF that is none of ring's ciphers'.
struct RootLen;

impl KeyType for RootLen {
    fn len(&self) -> usize {
        KEY_LEN
    }
}

fn derived(kek: &[u8; 32], info: &str) -> Root {
    let mut root = Zeroizing::new([0; KEY_LEN]);
    let info = [info.as_bytes()];
    let pseudorandom = Salt::new(HKDF_SHA256, &[]).extract(kek);
    pseudorandom.expand(&info, RootLen).and_then(|key| key.fill(&mut root[..])).expect("HKDF-SHA256 gives up to 8,160 bytes");
    root
}

fn wrapping_key(root: &[u8; KEY_LEN], salt: &[u8], purpose: &str) -> LessSafeKey {
    let info = [purpose.as_bytes()];
    let pseudorandom = Salt::new(HKDF_SHA256, salt).extract(root);
    let key = pseudorandom.expand(&info, &AES_256_GCM).expect("HKDF-SHA256 gives up to 8,160 bytes");
    LessSafeKey::new(UnboundKey::from(key))
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn associated_data(purpose: &str) -> Aad<Vec<u8>> {
    Aad::from([&[VERSION], purpose.as_bytes()].concat())
}

#[cfg(test)]
mod tests;
