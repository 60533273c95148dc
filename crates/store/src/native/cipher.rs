//! Content as it is encrypted: in segments, so that it streams both ways and a range costs the segments it touches.
//!
//! ```text
//! content    │ 65,520 bytes  │ 65,520 bytes  │ … │ the rest, 1 to 65,520 bytes │
//! stored     │ 64 KiB        │ 64 KiB        │ … │ the rest + 16               │     each with its tag at the end
//! ```
//!
//! The cipher is AES-256-GCM under a data key that no other content has. A segment's nonce is its number, from 0, with a mark on the last
//! one: `00 00 00 last number:u64`, big-endian. Segments that were exchanged, dropped or cut off do not open, nor does a content that was
//! cut between two segments. A segment with its tag fills one block of the blob store, so reading one reads one.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use umbra_core::{ByteRange, Error, ErrorKind, Result};

use crate::keyring::DataKey;

/// Bytes of a segment as it is stored.
const STORED_BYTES: usize = 64 * 1024;
/// Bytes by which a segment grows.
pub(super) const TAG_BYTES: usize = 16;
/// Bytes of content in a segment.
pub(super) const SEGMENT_BYTES: usize = STORED_BYTES - TAG_BYTES;

/// What content is bound to besides its place.
const ASSOCIATED: &[u8] = b"umbra/content/1";

/// Bytes that `size` bytes of content take encrypted.
pub(super) const fn sealed_size(size: u64) -> u64 {
    size + size.div_ceil(SEGMENT_BYTES as u64) * TAG_BYTES as u64
}

/// Encrypts content that passes by.
pub(super) struct Encryptor {
    key: LessSafeKey,
    number: u64,
    gathered: BytesMut,
}

impl Encryptor {
    pub(super) fn new(key: &DataKey) -> Self {
        Self { key: key.ready(), number: 0, gathered: BytesMut::new() }
    }

    /// Takes the next bytes; gives the segments that are complete, and not the last.
    pub(super) fn update(&mut self, mut bytes: &[u8]) -> Vec<Bytes> {
        let mut sealed = Vec::new();
        while !bytes.is_empty() {
            // A full segment waits until it is known that something follows: the last one is marked.
            if self.gathered.len() == SEGMENT_BYTES {
                sealed.push(self.seal(false));
            }
            if self.gathered.capacity() == 0 {
                self.gathered.reserve(STORED_BYTES);
            }
            let (now, later) = bytes.split_at(bytes.len().min(SEGMENT_BYTES - self.gathered.len()));
            self.gathered.extend_from_slice(now);
            bytes = later;
        }
        sealed
    }

    /// The last segment; nothing of empty content.
    pub(super) fn finish(mut self) -> Option<Bytes> {
        (!self.gathered.is_empty()).then(|| self.seal(true))
    }

    fn seal(&mut self, is_last: bool) -> Bytes {
        let mut segment = std::mem::take(&mut self.gathered);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(self.number, is_last), Aad::from(ASSOCIATED), &mut segment)
            .expect("a segment is shorter than the cipher's limit of 64 GiB");
        segment.extend_from_slice(tag.as_ref());
        self.number += 1;
        segment.freeze()
    }
}

/// Encrypts content that is in memory.
pub(super) fn encrypt(key: &DataKey, blocks: &[Bytes]) -> Vec<Bytes> {
    let mut encryptor = Encryptor::new(key);
    let mut sealed: Vec<_> = blocks.iter().flat_map(|block| encryptor.update(block)).collect();
    sealed.extend(encryptor.finish());
    sealed
}

/// Where `range` of a content of `size` bytes lies in what is stored.
pub(super) fn stored_range(range: ByteRange, size: u64) -> ByteRange {
    let first = range.start / SEGMENT_BYTES as u64;
    let end = range.end.div_ceil(SEGMENT_BYTES as u64);
    ByteRange::new(first * STORED_BYTES as u64, (end * STORED_BYTES as u64).min(sealed_size(size)))
}

/// `range` of a content of `size` bytes, from `stored`, which is what lies at [`stored_range`]. Segments are passed on as they are opened.
pub(super) fn decrypted<S>(stored: S, key: &DataKey, range: ByteRange, size: u64) -> impl Stream<Item = Result<Bytes>> + Send + use<S>
where
    S: Stream<Item = Result<Bytes>> + Send + Unpin,
{
    let decryptor =
        Decryptor { stored, key: key.ready(), range, size, number: range.start / SEGMENT_BYTES as u64, gathered: BytesMut::new() };
    stream::try_unfold(decryptor, Decryptor::next)
}

struct Decryptor<S> {
    stored: S,
    key: LessSafeKey,
    range: ByteRange,
    size: u64,
    number: u64,
    gathered: BytesMut,
}

impl<S: Stream<Item = Result<Bytes>> + Send + Unpin> Decryptor<S> {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        let start = self.number * SEGMENT_BYTES as u64;
        if start >= self.range.end {
            return Ok(None);
        }
        let length = (self.size - start).min(SEGMENT_BYTES as u64);
        let is_last = start + length == self.size;
        let length = usize::try_from(length).expect("a segment is small");
        while self.gathered.len() < length + TAG_BYTES {
            let chunk = self.stored.next().await.ok_or_else(|| damaged("it is shorter than it should be"))??;
            self.gathered.extend_from_slice(&chunk);
        }
        let mut segment = self.gathered.split_to(length + TAG_BYTES);
        self.key
            .open_in_place(nonce(self.number, is_last), Aad::from(ASSOCIATED), &mut segment)
            .map_err(|_| damaged("a segment is not what was stored in its place"))?;
        segment.truncate(length);
        self.number += 1;
        let within = |at: u64| usize::try_from(at.saturating_sub(start)).map_or(length, |at| at.min(length));
        let wanted = segment.freeze().slice(within(self.range.start)..within(self.range.end));
        Ok(Some((wanted, self)))
    }
}

fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[3] = u8::from(is_last);
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn damaged(why: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "encrypted content is damaged").because(why)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use futures::{TryStreamExt, stream};
    use umbra_core::{ByteRange, Encryption, Error, ErrorKind, SeededRandom};

    use super::{SEGMENT_BYTES, STORED_BYTES, decrypted, encrypt, sealed_size, stored_range};
    use crate::keyring::{DataKey, Keyring, Sealing};

    fn key(seed: u64) -> DataKey {
        Keyring::new([1; 32], [], Arc::new(SeededRandom::new(seed))).seal(&Sealing::Ours(Encryption::Managed)).unwrap().1
    }

    fn content(size: usize) -> Bytes {
        (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    async fn read(sealed: &[u8], key: &DataKey, range: ByteRange, size: u64) -> Result<Vec<u8>, Error> {
        let stored = stored_range(range, size);
        let (start, end) = (usize::try_from(stored.start).unwrap(), usize::try_from(stored.end).unwrap().min(sealed.len()));
        // In chunks that are no segments.
        let chunks: Vec<_> = sealed[start.min(end)..end].chunks(10_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let chunks: Vec<Bytes> = decrypted(stream::iter(chunks), key, range, size).try_collect().await?;
        Ok(chunks.concat())
    }

    #[tokio::test]
    async fn every_range_comes_back() {
        for size in [1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES, 3 * SEGMENT_BYTES + 7] {
            let (plain, key) = (content(size), key(1));
            let blocks = [plain.slice(..size / 3), plain.slice(size / 3..)];
            let sealed = encrypt(&key, &blocks).concat();
            assert_eq!(sealed.len() as u64, sealed_size(size as u64), "{size}");
            assert!(!sealed.windows(16.min(size)).any(|window| window == &plain[..16.min(size)]) || size < 4, "{size}");
            let places = [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES, size - 1, size];
            for start in places.into_iter().filter(|at| *at < size) {
                for end in places.into_iter().filter(|at| *at > start && *at <= size) {
                    let range = ByteRange::new(start as u64, end as u64);
                    let got = read(&sealed, &key, range, size as u64).await.unwrap();
                    assert!(got == plain[start..end], "{start}..{end} of {size}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_was_changed_moved_or_cut_off_does_not_open() {
        let (size, key) = (2 * SEGMENT_BYTES as u64 + 5, key(1));
        let sealed = encrypt(&key, &[content(size.try_into().unwrap())]).concat();
        let whole = ByteRange::new(0, size);
        assert!(read(&sealed, &key, whole, size).await.is_ok());
        let mut flipped = sealed.clone();
        flipped[STORED_BYTES + 3] ^= 1;
        let exchanged = [&sealed[STORED_BYTES..2 * STORED_BYTES], &sealed[..STORED_BYTES], &sealed[2 * STORED_BYTES..]].concat();
        let cases = [
            ("a bit", flipped, size),
            ("exchanged", exchanged, size),
            ("shorter", sealed[..sealed.len() - 1].to_vec(), size),
            ("cut between segments", sealed[..STORED_BYTES].to_vec(), SEGMENT_BYTES as u64),
            ("without the last segment", sealed[..2 * STORED_BYTES].to_vec(), 2 * SEGMENT_BYTES as u64),
        ];
        for (name, changed, size) in cases {
            let error = read(&changed, &key, ByteRange::new(0, size), size).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}");
        }
        assert!(read(&sealed, &self::key(2), whole, size).await.is_err());
    }

    #[tokio::test]
    async fn what_was_encrypted_once_is_read_for_ever() {
        let key = DataKey::fixed([5; 32]);
        let plain = content(SEGMENT_BYTES + 10);
        let golden =
            crate::record::golden::check("content/v1", Some(&encrypt(&key, std::slice::from_ref(&plain)).concat()[STORED_BYTES..]));
        // The first segment is left out of the file, for its size.
        let range = ByteRange::new(SEGMENT_BYTES as u64, SEGMENT_BYTES as u64 + 10);
        let chunks = stream::iter([Ok(Bytes::from(golden))]);
        let read: Vec<Bytes> = decrypted(chunks, &key, range, plain.len() as u64).try_collect().await.unwrap();
        assert_eq!(read.concat(), plain[SEGMENT_BYTES..]);
    }

    #[test]
    fn a_range_costs_the_segments_it_touches() {
        let (segment, stored) = (SEGMENT_BYTES as u64, STORED_BYTES as u64);
        let size = 3 * segment + 10;
        for ((start, end), (from, to)) in [
            ((0, 1), (0, stored)),
            ((segment - 1, segment + 1), (0, 2 * stored)),
            ((segment, 2 * segment), (stored, 2 * stored)),
            ((3 * segment, size), (3 * stored, 3 * stored + 26)),
        ] {
            assert_eq!(stored_range(ByteRange::new(start, end), size), ByteRange::new(from, to), "{start}..{end}");
        }
    }
}
