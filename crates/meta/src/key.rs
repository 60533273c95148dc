//! The key space: which bytes name which record.
//!
//! This module holds the keys of a bucket's partition, [`root`] those of [`Partition::ROOT`](crate::Partition::ROOT).
//! Every family has a builder, a range or prefix to scan it by, and a parser that gives back what the builder was given.
//! The values behind the keys are described where the records are, in the `store` crate.
//!
//! # A bucket's partition
//!
//! | bytes | what | built by |
//! |---|---|---|
//! | `b` | the bucket's settings and fence | [`settings`] |
//! | `o/` key | the current object of a key | [`object`] |
//! | `s/` key | a tombstone: gone here, so the origin must not bring it back | [`tombstone`] |
//! | `w/` key | the intent of a write-through or a copy back | [`write_intent`] |
//! | `k/` key | what the origin was known to hold of a key when it was written here or there | [`ancestor`] |
//! | `h/` key⁺ | a hydration that is not complete | [`hydration`] |
//! | `h/` key⁺ piece:`u64` | one of its pieces | [`piece`] |
//! | `m/` upload⁺ | a multipart upload | [`upload`] |
//! | `m/` upload⁺ `p` number:`u16` | one of its parts | [`part`] |
//! | `M/` key⁺ upload | an upload found by its key | [`upload_index`] |
//! | `u/` upload | an upload at the origin that mirrors ours of this name, and is not known to have ended | [`origin_upload`] |
//! | `u/copy-` 32 hex | the same of one that a copy back began and left: no upload of ours has such a name | [`origin_upload`] |
//! | `a/` key | an order: an object that a client asked to be brought here | [`order`] |
//! | `n/` key | a note of what of the origin's object could not be carried over | [`uncarried`] |
//! | `c/` name | a counter | [`counter`] |
//! | `g/` due:`u64` blob | a blob to reclaim, not before `due` (milliseconds since 1970) | [`reclaim`] |
//! | `i/` key | the inventory: a key that lives only at the origin | [`inventory`] |
//! | `e/` receiver⁺ at:`u64` salt:`u64` | an event that waits for its receiver | [`event`] |
//! | `l` | where the pass of the lifecycle rules has got to | [`lifecycle`] |
//! | `p` | where the audit of the placement has got to, and what the last one found | [`audit`] |
//! | `r/` region⁺ at:`u64` blob | a copy of that blob that has to be made in that region, not before `at` (milliseconds since 1970) | [`due_copy`] |
//! | `q/` kind:`u8` | a job: one of each kind | [`job::record`] |
//! | `q/` kind:`u8` `n` run:`u64` key | what a run of a job noted of a key | [`job::note`] |
//! | `v/` key⁺ | the history of a key: it has versions besides its current object | [`history`] |
//! | `v/` key⁺ !sequence:`u64` | an older version, or a delete marker; inverted, so that the newest comes first | [`version`] |
//!
//! Integers are big-endian, so that byte order is their order. Where a variable-length field is the last one it stands
//! as it is. Where something follows it, it is *closed* (⁺): a key may hold any byte, and `h/a` with a piece behind it
//! must never be taken for a piece of another key that happens to begin with `a`.
//!
//! # Closed fields
//!
//! Every `00` of the field becomes `00 ff`, and `00 01` ends it. No closed field is a prefix of another, and closed fields
//! sort as the fields themselves do: `00 01` is below `00 ff` and below every other byte that could follow.
//!
//! ```text
//! piece 7 of "a"       68 2f | 61       | 00 01 | 00 00 00 00 00 00 00 07      h / a
//! piece 7 of "a\0b"    68 2f | 61 00 ff 62 | 00 01 | 00 00 00 00 00 00 00 07   h / a \0 b
//! part 2 of upload "u" 6d 2f | 75       | 00 01 | 70 | 00 02       m / u     p
//! upload "u" of "k"    4d 2f | 6b       | 00 01 | 75               M / k     u
//! ```

mod closed;
pub mod job;
pub mod root;

use umbra_core::{ObjectKey, PartNumber, UploadId};

use crate::KeyRange;

const SETTINGS: &[u8] = b"b";
const EVENT: &[u8] = b"e/";
const LIFECYCLE: &[u8] = b"l";
const OBJECT: &[u8] = b"o/";
const TOMBSTONE: &[u8] = b"s/";
const WRITE_INTENT: &[u8] = b"w/";
const ANCESTOR: &[u8] = b"k/";
const INVENTORY: &[u8] = b"i/";
const PIECE: &[u8] = b"h/";
const ORDER: &[u8] = b"a/";
const UNCARRIED: &[u8] = b"n/";
const UPLOAD: &[u8] = b"m/";
const PART: u8 = b'p';
const UPLOAD_INDEX: &[u8] = b"M/";
const ORIGIN_UPLOAD: &[u8] = b"u/";
const COUNTER: &[u8] = b"c/";
const RECLAIM: &[u8] = b"g/";
const AUDIT: &[u8] = b"p";
const DUE_COPY: &[u8] = b"r/";
const VERSION: &[u8] = b"v/";

/// The bucket's settings and fence.
pub fn settings() -> Vec<u8> {
    SETTINGS.to_vec()
}

/// An event of `at_ms` (milliseconds since 1970) that waits for `receiver`.
pub fn event(receiver: &str, at_ms: u64, salt: u64) -> Vec<u8> {
    [&closed::joined(EVENT, receiver.as_bytes())[..], &at_ms.to_be_bytes(), &salt.to_be_bytes()].concat()
}

/// All events that wait for `receiver`, the oldest first.
pub fn event_range(receiver: &str) -> KeyRange {
    KeyRange::prefix(&closed::joined(EVENT, receiver.as_bytes()))
}

/// All events that wait, by receiver.
pub fn all_events() -> KeyRange {
    KeyRange::prefix(EVENT)
}

/// What the key of an event's row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPlace {
    /// Whom it waits for.
    pub receiver: String,
    /// When it was, in milliseconds since 1970.
    pub at_ms: u64,
    /// What tells it from others of that moment.
    pub salt: u64,
}

/// The place of the event that `bytes` name.
pub fn parse_event(bytes: &[u8]) -> Option<EventPlace> {
    let (receiver, rest) = closed::split(bytes.strip_prefix(EVENT)?)?;
    let (at, salt) = rest.split_first_chunk()?;
    let (receiver, salt) = (String::from_utf8(receiver).ok()?, u64::from_be_bytes(salt.try_into().ok()?));
    Some(EventPlace { receiver, at_ms: u64::from_be_bytes(*at), salt })
}

/// Where the pass of the lifecycle rules has got to.
pub fn lifecycle() -> Vec<u8> {
    LIFECYCLE.to_vec()
}

/// The current object of `key`.
pub fn object(key: &ObjectKey) -> Vec<u8> {
    object_prefix(key.as_str())
}

/// What the keys of all objects begin with whose key begins with `prefix`.
///
/// It also places a listing: `after` may be any text, not only a key.
pub fn object_prefix(prefix: &str) -> Vec<u8> {
    joined(OBJECT, prefix.as_bytes())
}

/// All objects whose key begins with `prefix`.
pub fn object_range(prefix: &str) -> KeyRange {
    KeyRange::prefix(&object_prefix(prefix))
}

/// The key of the object, or the common prefix, that `bytes` name.
pub fn parse_object(bytes: &[u8]) -> Option<&str> {
    text_behind(OBJECT, bytes)
}

/// The tombstone of `key`.
pub fn tombstone(key: &ObjectKey) -> Vec<u8> {
    tombstone_prefix(key.as_str())
}

/// What the keys of all tombstones begin with whose key begins with `prefix`.
pub fn tombstone_prefix(prefix: &str) -> Vec<u8> {
    joined(TOMBSTONE, prefix.as_bytes())
}

/// All tombstones whose key begins with `prefix`.
pub fn tombstone_range(prefix: &str) -> KeyRange {
    KeyRange::prefix(&tombstone_prefix(prefix))
}

/// The key whose tombstone `bytes` name.
pub fn parse_tombstone(bytes: &[u8]) -> Option<&str> {
    text_behind(TOMBSTONE, bytes)
}

/// The write-through intent of `key`.
pub fn write_intent(key: &ObjectKey) -> Vec<u8> {
    write_intent_prefix(key.as_str())
}

/// What the keys of all write-through intents begin with whose key begins with `prefix`.
pub fn write_intent_prefix(prefix: &str) -> Vec<u8> {
    joined(WRITE_INTENT, prefix.as_bytes())
}

/// All write-through intents whose key begins with `prefix`.
pub fn write_intent_range(prefix: &str) -> KeyRange {
    KeyRange::prefix(&write_intent_prefix(prefix))
}

/// The key whose write-through intent `bytes` name.
pub fn parse_write_intent(bytes: &[u8]) -> Option<&str> {
    text_behind(WRITE_INTENT, bytes)
}

/// What the inventory holds of `key`.
pub fn inventory(key: &ObjectKey) -> Vec<u8> {
    inventory_prefix(key.as_str())
}

/// What the keys of the inventory begin with whose key begins with `prefix`.
pub fn inventory_prefix(prefix: &str) -> Vec<u8> {
    joined(INVENTORY, prefix.as_bytes())
}

/// The inventory of all keys that begin with `prefix`.
pub fn inventory_range(prefix: &str) -> KeyRange {
    KeyRange::prefix(&inventory_prefix(prefix))
}

/// The key whose place in the inventory `bytes` name.
pub fn parse_inventory(bytes: &[u8]) -> Option<&str> {
    text_behind(INVENTORY, bytes)
}

/// The hydration of `key`, followed by its pieces.
pub fn hydration(key: &ObjectKey) -> Vec<u8> {
    closed::joined(PIECE, key.as_bytes())
}

/// The key whose hydration `bytes` name, when they name a hydration and not a piece.
pub fn parse_hydration(bytes: &[u8]) -> Option<ObjectKey> {
    let (key, rest) = closed::split(bytes.strip_prefix(PIECE)?)?;
    if rest.is_empty() { object_key(key) } else { None }
}

/// Piece number `piece` of the hydration of `key`.
pub fn piece(key: &ObjectKey, piece: u64) -> Vec<u8> {
    let mut bytes = hydration(key);
    bytes.extend_from_slice(&piece.to_be_bytes());
    bytes
}

/// The hydration of `key` and, behind it, all its pieces in order.
pub fn piece_range(key: &ObjectKey) -> KeyRange {
    KeyRange::prefix(&hydration(key))
}

/// All hydrations, each followed by its pieces, by key and number.
pub fn all_pieces() -> KeyRange {
    KeyRange::prefix(PIECE)
}

/// The key and the number of the piece that `bytes` name.
pub fn parse_piece(bytes: &[u8]) -> Option<(ObjectKey, u64)> {
    let (key, rest) = closed::split(bytes.strip_prefix(PIECE)?)?;
    Some((object_key(key)?, u64::from_be_bytes(rest.try_into().ok()?)))
}

/// The order to bring `key` here.
pub fn order(key: &ObjectKey) -> Vec<u8> {
    joined(ORDER, key.as_str().as_bytes())
}

/// All orders, by key.
pub fn all_orders() -> KeyRange {
    KeyRange::prefix(ORDER)
}

/// The key whose order `bytes` name.
pub fn parse_order(bytes: &[u8]) -> Option<ObjectKey> {
    ObjectKey::parse(text_behind(ORDER, bytes)?).ok()
}

/// The note of what of `key` could not be carried over.
pub fn uncarried(key: &ObjectKey) -> Vec<u8> {
    uncarried_prefix(key.as_str())
}

/// What the keys of all such notes begin with whose key begins with `prefix`. `prefix` may be any text, to go on behind it.
pub fn uncarried_prefix(prefix: &str) -> Vec<u8> {
    joined(UNCARRIED, prefix.as_bytes())
}

/// All such notes whose key begins with `prefix`.
pub fn uncarried_range(prefix: &str) -> KeyRange {
    KeyRange::prefix(&uncarried_prefix(prefix))
}

/// The key of whose note `bytes` are the key.
pub fn parse_uncarried(bytes: &[u8]) -> Option<&str> {
    text_behind(UNCARRIED, bytes)
}

/// What the origin was known to hold of `key`.
pub fn ancestor(key: &ObjectKey) -> Vec<u8> {
    joined(ANCESTOR, key.as_bytes())
}

/// What the origin was known to hold of every key.
pub fn all_ancestors() -> KeyRange {
    KeyRange::prefix(ANCESTOR)
}

/// A multipart upload.
pub fn upload(upload: &UploadId) -> Vec<u8> {
    closed::joined(UPLOAD, upload.as_str().as_bytes())
}

/// An upload and, behind it, its parts in order.
pub fn upload_range(id: &UploadId) -> KeyRange {
    KeyRange::prefix(&upload(id))
}

/// All uploads, each followed by its parts.
pub fn all_uploads() -> KeyRange {
    KeyRange::prefix(UPLOAD)
}

/// The upload that `bytes` name, when they name an upload and not a part.
pub fn parse_upload(bytes: &[u8]) -> Option<UploadId> {
    let (id, rest) = closed::split(bytes.strip_prefix(UPLOAD)?)?;
    if rest.is_empty() { upload_id(&id) } else { None }
}

/// Part `number` of `upload`.
pub fn part(upload: &UploadId, number: PartNumber) -> Vec<u8> {
    let mut bytes = part_prefix(upload);
    bytes.extend_from_slice(&number.get().to_be_bytes());
    bytes
}

/// All parts of `upload`, by number.
pub fn part_range(upload: &UploadId) -> KeyRange {
    KeyRange::prefix(&part_prefix(upload))
}

/// The upload and the number of the part that `bytes` name.
pub fn parse_part(bytes: &[u8]) -> Option<(UploadId, PartNumber)> {
    let (id, rest) = closed::split(bytes.strip_prefix(UPLOAD)?)?;
    let number = u16::from_be_bytes(rest.strip_prefix(&[PART])?.try_into().ok()?);
    Some((upload_id(&id)?, PartNumber::new(number.into()).ok()?))
}

fn part_prefix(id: &UploadId) -> Vec<u8> {
    let mut bytes = upload(id);
    bytes.push(PART);
    bytes
}

/// The place of `upload` in the index by key: ordered by key, then by upload.
pub fn upload_index(key: &ObjectKey, upload: &UploadId) -> Vec<u8> {
    upload_index_after(key.as_str(), upload.as_str())
}

/// The index of all uploads whose key begins with `prefix`.
///
/// It is not for `scan_delim`: a delimiter could be found within the upload's id, which is no part of the key.
pub fn upload_index_range(prefix: &str) -> KeyRange {
    KeyRange::prefix(&closed::open_joined(UPLOAD_INDEX, prefix.as_bytes()))
}

/// The index of the uploads of `key` alone, by upload. `key` may be any text: the end of it is the place behind a key marker.
pub fn upload_index_of(key: &str) -> KeyRange {
    KeyRange::prefix(&closed::joined(UPLOAD_INDEX, key.as_bytes()))
}

/// The place in the index of an upload and key that need not exist nor be valid: where a listing goes on.
pub fn upload_index_after(key: &str, upload: &str) -> Vec<u8> {
    let mut bytes = closed::joined(UPLOAD_INDEX, key.as_bytes());
    bytes.extend_from_slice(upload.as_bytes());
    bytes
}

/// The key and the upload that `bytes`, a place in the index, name.
pub fn parse_upload_index(bytes: &[u8]) -> Option<(ObjectKey, UploadId)> {
    let (key, rest) = closed::split(bytes.strip_prefix(UPLOAD_INDEX)?)?;
    Some((object_key(key)?, upload_id(rest)?))
}

/// The upload at the origin that mirrors `upload`, or that a copy back left, under a name made for it.
pub fn origin_upload(upload: &UploadId) -> Vec<u8> {
    joined(ORIGIN_UPLOAD, upload.as_str().as_bytes())
}

/// All uploads at the origin, by the upload they mirror.
pub fn all_origin_uploads() -> KeyRange {
    KeyRange::prefix(ORIGIN_UPLOAD)
}

/// The upload of ours whose mirror `bytes` name.
pub fn parse_origin_upload(bytes: &[u8]) -> Option<UploadId> {
    upload_id(bytes.strip_prefix(ORIGIN_UPLOAD)?)
}

/// The history of `key`, followed by its versions.
pub fn history(key: &ObjectKey) -> Vec<u8> {
    closed::joined(VERSION, key.as_bytes())
}

/// The key whose history `bytes` name, when they name a history and not a version.
pub fn parse_history(bytes: &[u8]) -> Option<ObjectKey> {
    let (key, rest) = closed::split(bytes.strip_prefix(VERSION)?)?;
    if rest.is_empty() { object_key(key) } else { None }
}

/// The version of `key` at the place `sequence`.
pub fn version(key: &ObjectKey, sequence: u64) -> Vec<u8> {
    let mut bytes = history(key);
    bytes.extend_from_slice(&(!sequence).to_be_bytes());
    bytes
}

/// The key and the sequence of the version that `bytes` name.
pub fn parse_version(bytes: &[u8]) -> Option<(ObjectKey, u64)> {
    let (key, rest) = closed::split(bytes.strip_prefix(VERSION)?)?;
    Some((object_key(key)?, !u64::from_be_bytes(rest.try_into().ok()?)))
}

/// The versions of all keys that begin with `prefix`, each key's behind its history and the newest first.
///
/// It is not for `scan_delim`: a delimiter could be found within a sequence, which is no part of the key.
pub fn version_range(prefix: &str) -> KeyRange {
    KeyRange::prefix(&closed::open_joined(VERSION, prefix.as_bytes()))
}

/// The history and the versions of `key` alone. `key` may be any text: the end of it is the place behind a key marker.
pub fn versions_of(key: &str) -> KeyRange {
    KeyRange::prefix(&closed::joined(VERSION, key.as_bytes()))
}

/// The counter called `name`.
pub fn counter(name: &str) -> Vec<u8> {
    joined(COUNTER, name.as_bytes())
}

/// All counters whose name begins with `prefix`.
pub fn counter_range(prefix: &str) -> KeyRange {
    KeyRange::prefix(&counter(prefix))
}

/// The name of the counter that `bytes` name.
pub fn parse_counter(bytes: &[u8]) -> Option<&str> {
    text_behind(COUNTER, bytes)
}

/// The reclamation of `blob`, not before `due_ms`. `blob` is the blob's id in its own bytes.
pub fn reclaim(due_ms: u64, blob: &[u8]) -> Vec<u8> {
    [RECLAIM, &due_ms.to_be_bytes(), blob].concat()
}

/// All reclamations that are due at `now_ms`, the longest due first.
pub fn reclaim_due(now_ms: u64) -> KeyRange {
    let all = reclaim_range();
    let end = now_ms.checked_add(1).map(|next| reclaim(next, b""));
    KeyRange { end: end.or(all.end), start: all.start }
}

/// All reclamations, the longest due first.
pub fn reclaim_range() -> KeyRange {
    KeyRange::prefix(RECLAIM)
}

/// When the reclamation that `bytes` name is due, and of which blob it is.
pub fn parse_reclaim(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (due, blob) = bytes.strip_prefix(RECLAIM)?.split_first_chunk()?;
    Some((u64::from_be_bytes(*due), blob))
}

/// Where the audit of the placement has got to.
pub fn audit() -> Vec<u8> {
    AUDIT.to_vec()
}

/// The copy of `blob` that has to be made in `region`, not before `at_ms`. `blob` is the blob's id in its own bytes.
pub fn due_copy(region: &str, at_ms: u64, blob: &[u8]) -> Vec<u8> {
    [&closed::joined(DUE_COPY, region.as_bytes())[..], &at_ms.to_be_bytes(), blob].concat()
}

/// All copies that have to be made in `region`, the longest due first.
pub fn due_copies_of(region: &str) -> KeyRange {
    KeyRange::prefix(&closed::joined(DUE_COPY, region.as_bytes()))
}

/// All copies that have to be made, by region.
pub fn due_copies() -> KeyRange {
    KeyRange::prefix(DUE_COPY)
}

/// What the key of a copy that has to be made says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueCopy {
    /// Where it has to be made.
    pub region: String,
    /// Not before when, in milliseconds since 1970.
    pub at_ms: u64,
    /// The blob's id in its own bytes.
    pub blob: Vec<u8>,
}

/// The copy to be made that `bytes` name.
pub fn parse_due_copy(bytes: &[u8]) -> Option<DueCopy> {
    let (region, rest) = closed::split(bytes.strip_prefix(DUE_COPY)?)?;
    let (at, blob) = rest.split_first_chunk()?;
    Some(DueCopy { region: String::from_utf8(region).ok()?, at_ms: u64::from_be_bytes(*at), blob: blob.to_vec() })
}

fn joined(family: &[u8], rest: &[u8]) -> Vec<u8> {
    [family, rest].concat()
}

fn text_behind<'a>(family: &[u8], bytes: &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(bytes.strip_prefix(family)?).ok()
}

fn object_key(bytes: Vec<u8>) -> Option<ObjectKey> {
    ObjectKey::parse(&String::from_utf8(bytes).ok()?).ok()
}

fn upload_id(bytes: &[u8]) -> Option<UploadId> {
    std::str::from_utf8(bytes).ok().map(UploadId::parse)
}

#[cfg(test)]
mod tests;
