//! Computes MD5, CRC64NVME and what the client asked for over a body on its way in, off the request's thread when it is long.

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
};
use umbra_core::{Checksum, ChecksumAlgorithm, ChecksumHasher, Error, Md5Chain, Result};

use crate::Md5Pool;

/// Blocks are hashed in batches of this: half a millisecond of MD5.
const BATCH_BYTES: usize = 256 * 1024;
/// Up to this the hop to another thread costs more than it saves.
const HERE_BYTES_MAX: usize = 128 * 1024;

/// Digests over a content.
pub(super) struct Digests {
    pub(super) md5: [u8; 16],
    /// First what was asked for, if anything, then CRC64NVME.
    pub(super) checksums: Vec<Checksum>,
}

/// Hashes while bytes pass by. At most one batch is being hashed while the next one gathers.
pub(super) struct Digester {
    md5s: Md5Pool,
    hashes: Hashes,
    batch: Vec<Bytes>,
    batch_bytes: usize,
}

enum Hashes {
    Here(Box<State>),
    /// The MD5 side by side with those of others, the checksums by this very thread.
    Away(oneshot::Receiver<Md5Chain>, JoinHandle<Checksums>),
    /// A batch was lost: the runtime is stopping.
    Lost,
}

struct State {
    md5: Md5Chain,
    checksums: Checksums,
}

struct Checksums {
    crc: ChecksumHasher,
    asked: Option<ChecksumHasher>,
}

impl Digester {
    /// Begins; `asked` is the client's choice of checksum.
    pub(super) fn new(md5s: &Md5Pool, asked: Option<ChecksumAlgorithm>) -> Self {
        let asked = asked.filter(|algorithm| *algorithm != ChecksumAlgorithm::Crc64Nvme).map(ChecksumHasher::new);
        let checksums = Checksums { crc: ChecksumHasher::new(ChecksumAlgorithm::Crc64Nvme), asked };
        let state = State { md5: Md5Chain::default(), checksums };
        Self { md5s: md5s.clone(), hashes: Hashes::Here(Box::new(state)), batch: Vec::new(), batch_bytes: 0 }
    }

    /// Takes the next bytes. Waits when hashing falls behind by more than a batch.
    pub(super) async fn update(&mut self, block: Bytes) -> Result<()> {
        self.batch_bytes += block.len();
        self.batch.push(block);
        if self.batch_bytes >= BATCH_BYTES {
            self.send_away().await?;
        }
        Ok(())
    }

    /// The digests over everything taken.
    pub(super) async fn finish(mut self) -> Result<Digests> {
        if self.batch_bytes > HERE_BYTES_MAX {
            self.send_away().await?;
        }
        let mut state = self.recall().await?;
        self.batch.iter().for_each(|block| state.md5.update(block));
        state.checksums.update(&self.batch);
        Ok(state.finish())
    }

    async fn send_away(&mut self) -> Result<()> {
        let State { md5, mut checksums } = *self.recall().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let (place, hashed) = self.md5s.lay_down(md5, batch.clone());
        let summing = spawn_blocking(move || {
            place.take_turn();
            checksums.update(&batch);
            checksums
        });
        self.hashes = Hashes::Away(hashed, summing);
        Ok(())
    }

    async fn recall(&mut self) -> Result<Box<State>> {
        let interrupted = || Error::internal("hashing was interrupted");
        match std::mem::replace(&mut self.hashes, Hashes::Lost) {
            Hashes::Here(state) => Ok(state),
            Hashes::Away(hashed, summing) => {
                let checksums = summing.await.map_err(|error| interrupted().because(error))?;
                let md5 = hashed.await.map_err(|error| interrupted().because(error))?;
                Ok(Box::new(State { md5, checksums }))
            }
            Hashes::Lost => Err(interrupted()),
        }
    }
}

impl Checksums {
    fn update(&mut self, batch: &[Bytes]) {
        for block in batch {
            self.crc.update(block);
            if let Some(asked) = &mut self.asked {
                asked.update(block);
            }
        }
    }
}

impl State {
    fn finish(self) -> Digests {
        let Checksums { crc, asked } = self.checksums;
        Digests { md5: self.md5.finish(), checksums: asked.into_iter().chain([crc]).map(ChecksumHasher::finish).collect() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use md5::{Digest as _, Md5};
    use umbra_core::{ChecksumAlgorithm, ChecksumHasher};

    use super::Digester;
    use crate::Md5Pool;

    #[tokio::test]
    async fn digests_do_not_depend_on_how_the_bytes_arrive() {
        let content: Vec<u8> = (0..700_001_u32).map(|i| (i % 251) as u8).collect();
        for block in [1_000, 100_000, 262_144, 700_001] {
            for asked in [None, Some(ChecksumAlgorithm::Sha256), Some(ChecksumAlgorithm::Crc64Nvme)] {
                let mut digester = Digester::new(&Md5Pool::default(), asked);
                for block in content.chunks(block) {
                    digester.update(Bytes::copy_from_slice(block)).await.unwrap();
                }
                let digests = digester.finish().await.unwrap();
                assert_eq!(digests.md5, <[u8; 16]>::from(Md5::digest(&content)));
                let algorithms = match asked {
                    Some(ChecksumAlgorithm::Sha256) => vec![ChecksumAlgorithm::Sha256, ChecksumAlgorithm::Crc64Nvme],
                    _ => vec![ChecksumAlgorithm::Crc64Nvme],
                };
                let expected: Vec<_> = algorithms
                    .into_iter()
                    .map(|algorithm| {
                        let mut hasher = ChecksumHasher::new(algorithm);
                        hasher.update(&content);
                        hasher.finish()
                    })
                    .collect();
                assert_eq!(digests.checksums, expected, "{block} {asked:?}");
            }
        }
    }
}
