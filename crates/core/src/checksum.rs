//! S3's additional checksums.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use crc_fast::{CrcAlgorithm, Digest as Crc};
use md5::Md5;
use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha512};
use xxhash_rust::{xxh3::Xxh3, xxh64::Xxh64};

use crate::{Error, Fault, Result};

/// A checksum algorithm a client may choose.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the algorithms' own")]
pub enum ChecksumAlgorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
    Sha512,
    Md5,
    XxHash64,
    XxHash3,
    XxHash128,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::Md5,
        Self::XxHash64,
        Self::XxHash3,
        Self::XxHash128,
    ];

    /// The name S3 uses in `x-amz-checksum-algorithm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Md5 => "MD5",
            Self::XxHash64 => "XXHASH64",
            Self::XxHash3 => "XXHASH3",
            Self::XxHash128 => "XXHASH128",
        }
    }

    /// The header that carries a value of this algorithm.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
            Self::Sha512 => "x-amz-checksum-sha512",
            Self::Md5 => "x-amz-checksum-md5",
            Self::XxHash64 => "x-amz-checksum-xxhash64",
            Self::XxHash3 => "x-amz-checksum-xxhash3",
            Self::XxHash128 => "x-amz-checksum-xxhash128",
        }
    }

    /// The algorithm that S3 calls `name`.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| Error::invalid(Fault::InvalidRequest, format!("checksum algorithm provided is unsupported: {name}")))
    }

    /// Bytes of a digest.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme | Self::XxHash64 | Self::XxHash3 => 8,
            Self::Md5 | Self::XxHash128 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The type a multipart upload gets when the client names none.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>
    pub const fn default_multipart_type(self) -> ChecksumType {
        match self {
            Self::Crc64Nvme => ChecksumType::FullObject,
            _ => ChecksumType::Composite,
        }
    }

    const fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            _ => None,
        }
    }

    /// Whether S3 has it over these: only CRCs of parts can be joined to one of the whole, and of CRC64NVME there is nothing else.
    pub const fn covers(self, kind: ChecksumType) -> bool {
        match kind {
            ChecksumType::FullObject => self.crc().is_some(),
            ChecksumType::Composite => !matches!(self, Self::Crc64Nvme),
        }
    }
}

/// What a checksum of a multipart object covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumType {
    /// The content.
    FullObject,
    /// The parts' checksums; written with a dash and the number of parts.
    Composite,
}

/// A checksum value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checksum {
    /// Its algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// What it covers.
    pub kind: ChecksumType,
    /// The value as S3 writes it: base64, for composites followed by a dash and the number of parts.
    pub value: String,
}

impl Checksum {
    /// Checks the form of a full-object value a client sends.
    pub fn parse(algorithm: ChecksumAlgorithm, value: &str) -> Result<Self> {
        match BASE64.decode(value) {
            Ok(digest) if digest.len() == algorithm.digest_len() => {
                Ok(Self { algorithm, kind: ChecksumType::FullObject, value: value.to_owned() })
            }
            // A value of another form is no more what was received than a wrong one of this.
            _ => Err(Error::invalid(Fault::BadDigest, format!("value for {} header is invalid", algorithm.header()))),
        }
    }

    /// The checksum of checksums over `parts`, which must all hold full-object values of `algorithm`.
    pub fn composite<'a>(algorithm: ChecksumAlgorithm, parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut hasher = ChecksumHasher::new(algorithm);
        let mut count = 0;
        for part in parts {
            hasher.update(&BASE64.decode(&part.value).unwrap_or_default());
            count += 1;
        }
        let whole = hasher.finish();
        Self { algorithm, kind: ChecksumType::Composite, value: format!("{}-{count}", whole.value) }
    }

    /// The full-object checksum of parts laid end to end, from their own values and sizes; `None` for all but CRCs, which cannot be joined.
    pub fn full_object<'a>(algorithm: ChecksumAlgorithm, parts: impl IntoIterator<Item = (&'a Self, u64)>) -> Option<Self> {
        let crc = algorithm.crc()?;
        let width = algorithm.digest_len();
        let mut whole = 0;
        for (part, size) in parts {
            let digest = BASE64.decode(&part.value).ok()?;
            let mut wide = [0; 8];
            wide[8 - width..].copy_from_slice(digest.get(..width)?);
            whole = crc_fast::checksum_combine(crc, whole, u64::from_be_bytes(wide), size);
        }
        Some(Self { algorithm, kind: ChecksumType::FullObject, value: BASE64.encode(&whole.to_be_bytes()[8 - width..]) })
    }
}

/// Computes one checksum while bytes pass by.
pub struct ChecksumHasher {
    algorithm: ChecksumAlgorithm,
    state: State,
}

enum State {
    Crc(Crc),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
    Md5(Md5),
    XxHash64(Box<Xxh64>),
    XxHash3(Box<Xxh3>),
    XxHash128(Box<Xxh3>),
}

impl ChecksumHasher {
    /// Starts a checksum.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        let state = match algorithm {
            ChecksumAlgorithm::Crc32 => State::Crc(Crc::new(CrcAlgorithm::Crc32IsoHdlc)),
            ChecksumAlgorithm::Crc32c => State::Crc(Crc::new(CrcAlgorithm::Crc32Iscsi)),
            ChecksumAlgorithm::Crc64Nvme => State::Crc(Crc::new(CrcAlgorithm::Crc64Nvme)),
            ChecksumAlgorithm::Sha1 => State::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            ChecksumAlgorithm::Sha512 => State::Sha512(Box::default()),
            ChecksumAlgorithm::Md5 => State::Md5(Md5::new()),
            ChecksumAlgorithm::XxHash64 => State::XxHash64(Box::new(Xxh64::new(0))),
            ChecksumAlgorithm::XxHash3 => State::XxHash3(Box::default()),
            ChecksumAlgorithm::XxHash128 => State::XxHash128(Box::default()),
        };
        Self { algorithm, state }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(crc) => crc.update(bytes),
            State::Sha1(sha) => sha.update(bytes),
            State::Sha256(sha) => sha.update(bytes),
            State::Sha512(sha) => sha.update(bytes),
            State::Md5(md5) => md5.update(bytes),
            State::XxHash64(hash) => hash.update(bytes),
            State::XxHash3(hash) | State::XxHash128(hash) => hash.update(bytes),
        }
    }

    /// The value over everything taken.
    pub fn finish(self) -> Checksum {
        let value = match self.state {
            State::Crc(crc) => BASE64.encode(&crc.finalize().to_be_bytes()[8 - self.algorithm.digest_len()..]),
            State::Sha1(sha) => BASE64.encode(sha.finalize()),
            State::Sha256(sha) => BASE64.encode(sha.finalize()),
            State::Sha512(sha) => BASE64.encode(sha.finalize()),
            State::Md5(md5) => BASE64.encode(md5.finalize()),
            State::XxHash64(hash) => BASE64.encode(hash.digest().to_be_bytes()),
            State::XxHash3(hash) => BASE64.encode(hash.digest().to_be_bytes()),
            State::XxHash128(hash) => BASE64.encode(hash.digest128().to_be_bytes()),
        };
        Checksum { algorithm: self.algorithm, kind: ChecksumType::FullObject, value }
    }
}

impl fmt::Debug for ChecksumHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChecksumHasher").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Checksum, ChecksumAlgorithm, ChecksumHasher};

    fn checksum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
        let mut hasher = ChecksumHasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn values_are_those_of_the_published_check_string() {
        let expected = [
            (ChecksumAlgorithm::Crc32, "y/Q5Jg=="),
            (ChecksumAlgorithm::Crc32c, "4waSgw=="),
            (ChecksumAlgorithm::Crc64Nvme, "rosUhgp5mIg="),
            (ChecksumAlgorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
            (ChecksumAlgorithm::Sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
            (ChecksumAlgorithm::Sha512, "2eZ2LdHI6vbWGzxhkvxAjU1tXxF20MKRabwk5xw/J0rSf81YEbMT1oH35V7ALXPUmclUVba1u1A6z1dPuo/+hQ=="),
            (ChecksumAlgorithm::Md5, "JfnnlDI7RTiF9RgfG2JNCw=="),
            (ChecksumAlgorithm::XxHash64, "jLhB20DmroM="),
        ];
        for (algorithm, value) in expected {
            assert_eq!(checksum(algorithm, b"123456789").value, value, "{algorithm:?}");
            assert!(Checksum::parse(algorithm, value).is_ok(), "{algorithm:?}");
        }
    }

    #[test]
    fn values_of_nothing_are_the_published_ones() {
        let expected = [
            (ChecksumAlgorithm::XxHash64, "70bbN1HY6Zk="),
            (ChecksumAlgorithm::XxHash3, "LQaABTjTlMI="),
            (ChecksumAlgorithm::XxHash128, "maoG0wFHmNhgAcMkRo1Jfw=="),
        ];
        for (algorithm, value) in expected {
            assert_eq!(checksum(algorithm, b"").value, value, "{algorithm:?}");
        }
    }

    #[test]
    fn crcs_of_parts_join_to_the_crc_of_the_whole() {
        let (left, right) = (vec![7; 70_000], b"the rest".to_vec());
        let whole = [left.clone(), right.clone()].concat();
        for algorithm in ChecksumAlgorithm::ALL {
            let parts = [(checksum(algorithm, &left), left.len() as u64), (checksum(algorithm, &right), right.len() as u64)];
            let joined = Checksum::full_object(algorithm, parts.iter().map(|(part, size)| (part, *size)));
            match algorithm {
                ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c | ChecksumAlgorithm::Crc64Nvme => {
                    assert_eq!(joined, Some(checksum(algorithm, &whole)), "{algorithm:?}");
                }
                _ => assert_eq!(joined, None, "{algorithm:?}"),
            }
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        assert!(Checksum::parse(ChecksumAlgorithm::Crc32, "AAAA").is_err());
        assert!(Checksum::parse(ChecksumAlgorithm::Sha256, "not base64!").is_err());
    }
}
