//! The hashes of a cold object's content, computed while it comes in from the beginning to the end.

use bytes::Bytes;
use tokio::task::JoinHandle;
use umbra_core::{Checksum, ChecksumAlgorithm, ChecksumHasher, ChecksumType, Error, ErrorKind, ObjectInfo, PartInfo, Result};
use umbra_store::{Md5Pool, PooledMd5};

use crate::parts::PartHashes;

/// How many bytes wait at most for the origin to tell the size of the first part.
const WAITING_BYTES_MAX: u64 = 1024 * 1024;

/// Hashes of the content so far.
pub(crate) struct Hashes {
    /// Bytes taken.
    position: u64,
    /// Where the ETag may be the MD5 of the content, which is then checked whatever else the origin announces: its other checksums may be as
    /// weak as a CRC32.
    md5: Option<PooledMd5>,
    crc: ChecksumHasher,
    /// The checksum the origin announced over the whole, when it did.
    announced: Option<(Checksum, ChecksumHasher)>,
    parts: Parts,
}

/// The hashes of the parts.
enum Parts {
    /// The size of the first part is being asked for; the bytes wait.
    Asking(JoinHandle<Option<u64>>, Vec<Bytes>, u64),
    /// Cut at the boundaries that follow from it, if it is known.
    Known(Option<u64>, Option<PartHashes>),
}

/// What the hashes of the whole came to.
#[derive(Debug)]
pub(crate) struct Sums {
    /// The CRC-64/NVME.
    pub(crate) crc: Checksum,
    /// The parts, where their boundaries could be proven.
    pub(crate) parts: Vec<PartInfo>,
    /// The size of the first part, where the origin tells it.
    pub(crate) first_part: Option<u64>,
}

impl Hashes {
    /// Hashes of what `info` tells of. `part_size` asks for the size of the first part.
    pub(crate) fn new(info: &ObjectInfo, etag_is_md5: bool, md5s: &Md5Pool, part_size: Option<JoinHandle<Option<u64>>>) -> Self {
        let full = info.checksums.iter().find(|checksum| checksum.kind == ChecksumType::FullObject);
        Self {
            position: 0,
            md5: (etag_is_md5 && info.etag.as_md5().is_some()).then(|| md5s.md5()),
            crc: ChecksumHasher::new(ChecksumAlgorithm::Crc64Nvme),
            announced: full.map(|checksum| (checksum.clone(), ChecksumHasher::new(checksum.algorithm))),
            parts: part_size.map_or(Parts::Known(None, None), |asking| Parts::Asking(asking, Vec::new(), 0)),
        }
    }

    /// How many bytes have been taken.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Takes the next bytes.
    pub(crate) async fn update(&mut self, bytes: &Bytes) {
        self.position += bytes.len() as u64;
        self.crc.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes).await;
        }
        if let Some((_, hasher)) = &mut self.announced {
            hasher.update(bytes);
        }
        match &mut self.parts {
            Parts::Known(_, parts) => {
                if let Some(parts) = parts {
                    parts.update(bytes);
                }
            }
            Parts::Asking(asking, waiting, size) => {
                waiting.push(bytes.clone());
                *size += bytes.len() as u64;
                if *size >= WAITING_BYTES_MAX || asking.is_finished() {
                    self.learn_part_size().await;
                }
            }
        }
    }

    async fn learn_part_size(&mut self) {
        if let Parts::Asking(asking, waiting, _) = &mut self.parts {
            // Torn down is as good as not told.
            let size = asking.await.unwrap_or(None);
            let mut parts = size.and_then(PartHashes::new);
            if let Some(parts) = &mut parts {
                waiting.iter().for_each(|bytes| parts.update(bytes));
            }
            self.parts = Parts::Known(size, parts);
        }
    }

    /// Compares with what the origin tells of the whole.
    pub(crate) async fn verify(mut self, info: &ObjectInfo) -> Result<Sums> {
        let damaged = |what: &str| {
            Error::new(ErrorKind::OriginUnavailable, format!("the origin's bytes do not match its own {what}; please try again"))
        };
        self.learn_part_size().await;
        if let Some((announced, hasher)) = self.announced
            && hasher.finish() != announced
        {
            return Err(damaged("checksum"));
        }
        if let Some(md5) = self.md5
            && let Some(etag) = info.etag.as_md5()
            && md5.finish().await? != etag
        {
            return Err(damaged("ETag"));
        }
        let Parts::Known(first_part, parts) = self.parts else { unreachable!("it was just learnt") };
        let parts = parts.and_then(|parts| parts.matching(&info.etag)).unwrap_or_default();
        Ok(Sums { crc: self.crc.finish(), parts, first_part })
    }
}

impl std::fmt::Debug for Hashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hashes").field("position", &self.position).finish_non_exhaustive()
    }
}
