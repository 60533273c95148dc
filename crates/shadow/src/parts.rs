//! The part boundaries of a multipart object, recovered while it is brought in.
//!
//! Almost every client cuts an object into parts of one size. The origin tells the size of the first part; the MD5s of the parts that follow
//! from it, hashed together, are the ETag if and only if the guess is right. That also verifies the content. Where it is wrong the origin is asked for each part.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>

use md5::{Digest, Md5};
use umbra_core::{ETag, PartInfo};

/// Hashes content part by part.
pub(crate) struct PartHashes {
    part_size: u64,
    hash: Md5,
    hashed: u64,
    parts: Vec<(u64, [u8; 16])>,
}

impl PartHashes {
    /// For parts of `part_size` bytes, the last of which may be shorter.
    pub(crate) fn new(part_size: u64) -> Option<Self> {
        (part_size > 0).then(|| Self { part_size, hash: Md5::new(), hashed: 0, parts: Vec::new() })
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(self.part_size - self.hashed).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.hash.update(now);
            self.hashed += now.len() as u64;
            if self.hashed == self.part_size {
                self.end_part();
            }
            bytes = later;
        }
    }

    fn end_part(&mut self) {
        self.parts.push((std::mem::take(&mut self.hashed), std::mem::take(&mut self.hash).finalize().into()));
    }

    /// The parts, if their MD5s make `etag`.
    pub(crate) fn matching(mut self, etag: &ETag) -> Option<Vec<PartInfo>> {
        if self.hashed > 0 {
            self.end_part();
        }
        let whole = self.parts.iter().fold(Md5::new(), |whole, (_, digest)| whole.chain_update(digest));
        let number = |index: usize| u16::try_from(index + 1).ok();
        let info =
            |(index, (size, _)): (usize, &(u64, [u8; 16]))| Some(PartInfo { number: number(index)?, size: *size, checksums: Vec::new() });
        if ETag::from_parts(whole.finalize().into(), self.parts.len()) != *etag {
            return None;
        }
        self.parts.iter().enumerate().map(info).collect()
    }
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};
    use umbra_core::ETag;

    use super::PartHashes;

    fn etag(parts: &[&[u8]]) -> ETag {
        let digests: Vec<u8> = parts.iter().flat_map(Md5::digest).collect();
        ETag::from_parts(Md5::digest(digests).into(), parts.len())
    }

    #[test]
    fn boundaries_are_believed_only_if_they_make_the_etag() {
        type Case = (u64, &'static [&'static [u8]], Option<&'static [u64]>);
        let cases: [Case; 5] = [
            (4, &[b"abcd", b"efgh", b"i"], Some(&[4, 4, 1])),
            (4, &[b"abcd", b"efgh"], Some(&[4, 4])),
            (9, &[b"abc"], Some(&[3])),
            (4, &[b"abcd", b"ef", b"ghi"], None),
            (3, &[b"abcd", b"efgh"], None),
        ];
        for (part_size, parts, expected) in cases {
            for chunk in [1, 2, 5, 100] {
                let mut hashes = PartHashes::new(part_size).unwrap();
                parts.concat().chunks(chunk).for_each(|bytes| hashes.update(bytes));
                let sizes = hashes.matching(&etag(parts)).map(|parts| parts.iter().map(|part| part.size).collect::<Vec<_>>());
                assert_eq!(sizes.as_deref(), expected, "{part_size} {parts:?} {chunk}");
            }
        }
        assert!(PartHashes::new(0).is_none());
    }
}
