//! The keys of the root partition, [`Partition::ROOT`].
//!
//! | bytes | what | built by |
//! |---|---|---|
//! | `B/` name | a bucket's name, and which partition it has | [`bucket`] |
//! | `D/` partition:`u64` | a partition whose bucket is gone and whose keys are being destroyed | [`destroying`] |
//! | `T/` name | an organization | [`organization`] |
//! | `A/` id | an access key | [`access_key`] |
//! | `U/store` | the identity of this store | [`store`] |
//! | `U/contents/` region | where the contents of that region are | [`contents`] |
//! | `C/` length:`u8` blob, region | a copy of that blob in that region | [`copy`] |
//! | `Q/` region⁺ partition:`u64` | that partition has copies to be made in that region | [`due_pointer`] |
//! | `Q/` region⁺ partition:`u64` `l` | who makes them | [`due_lease`] |
//! | `g/` due:`u64` blob | bytes of a copy, or of a home that moved, to reclaim, not before `due` | [`super::reclaim`] |
//! | `W/` length:`u8` blob, region | a claim of that region to become the home of that blob | [`claim`] |
//! | `N/` incarnation | a server among those that share the store | [`node`] |
//! | `L/leader` | which of them leads | [`leader`] |
//! | `L/turnstile` | changes as one more of them comes | [`turnstile`] |

use umbra_core::BucketName;

use super::{closed, joined, text_behind};
use crate::{KeyRange, Partition};

const BUCKET: &[u8] = b"B/";
const DESTROYING: &[u8] = b"D/";
const ORGANIZATION: &[u8] = b"T/";
const ACCESS_KEY: &[u8] = b"A/";
const STORE: &[u8] = b"U/store";
const CONTENTS: &[u8] = b"U/contents/";
const COPY: &[u8] = b"C/";
const DUE: &[u8] = b"Q/";
const LEASE: u8 = b'l';
const CLAIM: &[u8] = b"W/";
const NODE: &[u8] = b"N/";
const LEADER: &[u8] = b"L/leader";
const TURNSTILE: &[u8] = b"L/turnstile";

/// The name of a bucket.
pub fn bucket(name: &BucketName) -> Vec<u8> {
    bucket_prefix(name.as_str())
}

/// What the keys of all buckets begin with whose name begins with `prefix`; also a place to go on from.
pub fn bucket_prefix(prefix: &str) -> Vec<u8> {
    joined(BUCKET, prefix.as_bytes())
}

/// All buckets whose name begins with `prefix`.
pub fn bucket_range(prefix: &str) -> KeyRange {
    KeyRange::prefix(&bucket_prefix(prefix))
}

/// The bucket that `bytes` name.
pub fn parse_bucket(bytes: &[u8]) -> Option<BucketName> {
    BucketName::parse(text_behind(BUCKET, bytes)?).ok()
}

/// The destruction of what `partition` holds.
pub fn destroying(partition: Partition) -> Vec<u8> {
    joined(DESTROYING, &partition.0.to_be_bytes())
}

/// All partitions that are being destroyed.
pub fn destroying_range() -> KeyRange {
    KeyRange::prefix(DESTROYING)
}

/// The partition whose destruction `bytes` name.
pub fn parse_destroying(bytes: &[u8]) -> Option<Partition> {
    Some(Partition(u64::from_be_bytes(bytes.strip_prefix(DESTROYING)?.try_into().ok()?)))
}

/// An organization.
pub fn organization(name: &str) -> Vec<u8> {
    joined(ORGANIZATION, name.as_bytes())
}

/// All organizations whose name begins with `prefix`.
pub fn organization_range(prefix: &str) -> KeyRange {
    KeyRange::prefix(&organization(prefix))
}

/// The name of the organization that `bytes` name.
pub fn parse_organization(bytes: &[u8]) -> Option<&str> {
    text_behind(ORGANIZATION, bytes)
}

/// An access key, by its public id.
pub fn access_key(id: &str) -> Vec<u8> {
    joined(ACCESS_KEY, id.as_bytes())
}

/// All access keys whose id begins with `prefix`.
pub fn access_key_range(prefix: &str) -> KeyRange {
    KeyRange::prefix(&access_key(prefix))
}

/// The id of the access key that `bytes` name.
pub fn parse_access_key(bytes: &[u8]) -> Option<&str> {
    text_behind(ACCESS_KEY, bytes)
}

/// The store's own identity.
pub fn store() -> Vec<u8> {
    STORE.to_vec()
}

/// Where the contents of a region are.
pub fn contents(region: &str) -> Vec<u8> {
    joined(CONTENTS, region.as_bytes())
}

/// The places of contents of all regions.
pub fn contents_range() -> KeyRange {
    KeyRange::prefix(CONTENTS)
}

/// The region that `bytes` name, whose contents are somewhere.
pub fn parse_contents(bytes: &[u8]) -> Option<&str> {
    text_behind(CONTENTS, bytes)
}

/// The copy of `blob` in `region`.
pub fn copy(blob: &[u8], region: &str) -> Vec<u8> {
    joined(&blob_prefix(COPY, blob), region.as_bytes())
}

/// The copies of `blob` in all regions.
pub fn copies_range(blob: &[u8]) -> KeyRange {
    KeyRange::prefix(&blob_prefix(COPY, blob))
}

/// The region of the copy of `blob` that `bytes` name.
pub fn parse_copy<'a>(blob: &[u8], bytes: &'a [u8]) -> Option<&'a str> {
    text_behind(&blob_prefix(COPY, blob), bytes)
}

/// All copies of all blobs.
pub fn all_copies_range() -> KeyRange {
    KeyRange::prefix(COPY)
}

/// The blob and the region of the copy that `bytes` name.
pub fn parse_any_copy(bytes: &[u8]) -> Option<(&[u8], &str)> {
    parse_blob(COPY, bytes)
}

/// The claim of `region` to `blob`.
pub fn claim(blob: &[u8], region: &str) -> Vec<u8> {
    joined(&blob_prefix(CLAIM, blob), region.as_bytes())
}

/// All claims to all blobs: those to one blob lie together.
pub fn claims_range() -> KeyRange {
    KeyRange::prefix(CLAIM)
}

/// The blob and the region of the claim that `bytes` name.
pub fn parse_claim(bytes: &[u8]) -> Option<(&[u8], &str)> {
    parse_blob(CLAIM, bytes)
}

fn blob_prefix(family: &[u8], blob: &[u8]) -> Vec<u8> {
    let length = u8::try_from(blob.len()).expect("identifiers of blobs are short");
    [family, &[length], blob].concat()
}

fn parse_blob<'a>(family: &[u8], bytes: &'a [u8]) -> Option<(&'a [u8], &'a str)> {
    let (length, rest) = bytes.strip_prefix(family)?.split_first()?;
    let (blob, region) = rest.split_at_checked(usize::from(*length))?;
    Some((blob, std::str::from_utf8(region).ok()?))
}

/// Says that `partition` has copies to be made in `region`.
pub fn due_pointer(region: &str, partition: Partition) -> Vec<u8> {
    [&closed::joined(DUE, region.as_bytes())[..], &partition.0.to_be_bytes()].concat()
}

/// Says who makes the copies of `partition` in `region`.
pub fn due_lease(region: &str, partition: Partition) -> Vec<u8> {
    joined(&due_pointer(region, partition), &[LEASE])
}

/// Which partitions have copies to be made in `region`, each followed by who makes them.
pub fn due_range(region: &str) -> KeyRange {
    KeyRange::prefix(&closed::joined(DUE, region.as_bytes()))
}

/// The partition that `bytes` name, which has copies to be made, and whether they say who makes them.
pub fn parse_due(bytes: &[u8]) -> Option<(Partition, bool)> {
    let (_, rest) = closed::split(bytes.strip_prefix(DUE)?)?;
    let (partition, rest) = rest.split_first_chunk()?;
    let is_lease = match rest {
        [] => false,
        [LEASE] => true,
        _ => return None,
    };
    Some((Partition(u64::from_be_bytes(*partition)), is_lease))
}

/// A server among those that share the store, by its incarnation.
pub fn node(incarnation: &str) -> Vec<u8> {
    joined(NODE, incarnation.as_bytes())
}

/// All servers that share the store.
pub fn node_range() -> KeyRange {
    KeyRange::prefix(NODE)
}

/// The incarnation that `bytes` name.
pub fn parse_node(bytes: &[u8]) -> Option<&str> {
    text_behind(NODE, bytes)
}

/// Which server leads.
pub fn leader() -> Vec<u8> {
    LEADER.to_vec()
}

/// What each server writes that comes among those that share the store: of several that come at once each knows of the one before it.
pub fn turnstile() -> Vec<u8> {
    TURNSTILE.to_vec()
}

/// Whether `bytes` name a row that says who of the servers that run does what: it means nothing in a copy of the store.
pub fn is_of_the_running(bytes: &[u8]) -> bool {
    bytes == LEADER || bytes == TURNSTILE || bytes.starts_with(NODE) || parse_due(bytes).is_some_and(|(_, is_lease)| is_lease)
}
