//! Checksum values: s3s spreads them over one field per algorithm in a dozen types.

use s3s::{S3Error, S3ErrorCode, dto};
use umbra_core::{Checksum, ChecksumAlgorithm, ChecksumType, Error, Fault, ObjectInfo, PartNumber, Result};

/// The one value in the checksum fields of `$input`, with its algorithm.
macro_rules! given {
    ($input:expr) => {{
        use umbra_core::ChecksumAlgorithm;
        let fields = [
            (ChecksumAlgorithm::Crc32, $input.checksum_crc32.as_deref()),
            (ChecksumAlgorithm::Crc32c, $input.checksum_crc32c.as_deref()),
            (ChecksumAlgorithm::Crc64Nvme, $input.checksum_crc64nvme.as_deref()),
            (ChecksumAlgorithm::Sha1, $input.checksum_sha1.as_deref()),
            (ChecksumAlgorithm::Sha256, $input.checksum_sha256.as_deref()),
            (ChecksumAlgorithm::Sha512, $input.checksum_sha512.as_deref()),
            (ChecksumAlgorithm::Md5, $input.checksum_md5.as_deref()),
            (ChecksumAlgorithm::XxHash64, $input.checksum_xxhash64.as_deref()),
            (ChecksumAlgorithm::XxHash3, $input.checksum_xxhash3.as_deref()),
            (ChecksumAlgorithm::XxHash128, $input.checksum_xxhash128.as_deref()),
        ];
        $crate::convert::checksum::single(fields)
    }};
}

/// Puts a checksum, if there is one, into the field of its algorithm in `$output`.
macro_rules! show {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            use umbra_core::ChecksumAlgorithm;
            let value = Some(checksum.value.clone());
            match checksum.algorithm {
                ChecksumAlgorithm::Crc32 => $output.checksum_crc32 = value,
                ChecksumAlgorithm::Crc32c => $output.checksum_crc32c = value,
                ChecksumAlgorithm::Crc64Nvme => $output.checksum_crc64nvme = value,
                ChecksumAlgorithm::Sha1 => $output.checksum_sha1 = value,
                ChecksumAlgorithm::Sha256 => $output.checksum_sha256 = value,
                ChecksumAlgorithm::Sha512 => $output.checksum_sha512 = value,
                ChecksumAlgorithm::Md5 => $output.checksum_md5 = value,
                ChecksumAlgorithm::XxHash64 => $output.checksum_xxhash64 = value,
                ChecksumAlgorithm::XxHash3 => $output.checksum_xxhash3 = value,
                ChecksumAlgorithm::XxHash128 => $output.checksum_xxhash128 = value,
            }
        }
    };
}

/// Like [`show`], for types that tell what the checksum covers too.
macro_rules! show_with_type {
    ($output:expr, $checksum:expr) => {{
        let checksum: Option<&umbra_core::Checksum> = $checksum;
        $output.checksum_type = checksum.map(|checksum| $crate::convert::checksum::kind(checksum.kind));
        $crate::convert::checksum::show!($output, checksum);
    }};
}

pub(crate) use {given, show, show_with_type};

const FIELDS: usize = ChecksumAlgorithm::ALL.len();

/// The one value among `fields`; more than one is refused, as S3 does.
pub(crate) fn single(fields: [(ChecksumAlgorithm, Option<&str>); FIELDS]) -> Result<Option<(ChecksumAlgorithm, String)>, S3Error> {
    let mut values = fields.into_iter().filter_map(|(algorithm, value)| value.map(|value| (algorithm, value.to_owned())));
    let first = values.next();
    if values.next().is_some() {
        let message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
    }
    Ok(first)
}

/// The checksum S3 shows of an object or part: the one its writer chose, else the one always computed.
pub(crate) fn shown(checksums: &[Checksum]) -> Option<&Checksum> {
    checksums.iter().find(|checksum| checksum.algorithm != ChecksumAlgorithm::Crc64Nvme).or_else(|| checksums.first())
}

/// The checksum of what an answer carries, in whole or of one part, and the type that S3 tells of both: that of the whole.
///
/// Clients check the bytes they get against it, so it must speak of just these: a range that is no part has none.
pub(crate) fn of_answer(info: &ObjectInfo, is_range: bool, part: Option<PartNumber>) -> Option<Checksum> {
    let whole = shown(&info.checksums)?;
    let Some(number) = part.filter(|_| !info.parts.is_empty()) else {
        return (!is_range || part.is_some()).then(|| whole.clone());
    };
    let part = info.parts.iter().find(|part| part.number == number.get())?;
    shown(&part.checksums).map(|checksum| Checksum { kind: whole.kind, ..checksum.clone() })
}

/// Checks a value that may be composite: base64, perhaps a dash and a number of parts.
pub(crate) fn of_whole(algorithm: ChecksumAlgorithm, value: &str) -> Result<Checksum> {
    match value.rsplit_once('-') {
        None => Checksum::parse(algorithm, value),
        Some((digest, parts)) if parts.parse::<u16>().is_ok() => {
            let checksum = Checksum::parse(algorithm, digest)?;
            Ok(Checksum { kind: ChecksumType::Composite, value: value.to_owned(), ..checksum })
        }
        Some(_) => Err(Error::invalid(Fault::BadDigest, format!("value for {} header is invalid", algorithm.header()))),
    }
}

/// What a checksum covers, in S3's words.
pub(crate) fn kind(kind: ChecksumType) -> dto::ChecksumType {
    dto::ChecksumType::from_static(match kind {
        ChecksumType::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumType::Composite => dto::ChecksumType::COMPOSITE,
    })
}

/// An algorithm, in S3's words.
pub(crate) fn algorithm(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from_static(algorithm.name())
}

/// Takes what a client says a checksum is to cover.
pub(crate) fn parse_kind(kind: &dto::ChecksumType) -> Result<ChecksumType> {
    match kind.as_str() {
        dto::ChecksumType::FULL_OBJECT => Ok(ChecksumType::FullObject),
        dto::ChecksumType::COMPOSITE => Ok(ChecksumType::Composite),
        _ => Err(Error::invalid(Fault::InvalidRequest, "value for x-amz-checksum-type header is invalid")),
    }
}

/// Takes the checksum an upload is to have, and whether S3 allows the combination.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>
pub(crate) fn of_upload(
    algorithm: Option<&dto::ChecksumAlgorithm>,
    kind: Option<&dto::ChecksumType>,
) -> Result<Option<(ChecksumAlgorithm, ChecksumType)>> {
    let kind = kind.map(parse_kind).transpose()?;
    let Some(algorithm) = algorithm else {
        let refused = |_| {
            Err(Error::invalid(
                Fault::InvalidRequest,
                "the x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header",
            ))
        };
        return kind.map_or(Ok(None), refused);
    };
    let algorithm = ChecksumAlgorithm::parse(algorithm.as_str())?;
    let kind = kind.unwrap_or(algorithm.default_multipart_type());
    if !algorithm.covers(kind) {
        let message = format!("the {kind:?} checksum type cannot be used with the {} checksum algorithm", algorithm.name());
        return Err(Error::invalid(Fault::InvalidRequest, message));
    }
    Ok(Some((algorithm, kind)))
}

#[cfg(test)]
mod tests {
    use s3s::dto;
    use umbra_core::{Checksum, ChecksumAlgorithm, ChecksumType};

    use super::{FIELDS, of_upload, of_whole, shown, single};

    #[test]
    fn at_most_one_checksum_is_given() {
        let none: [(ChecksumAlgorithm, Option<&str>); FIELDS] = ChecksumAlgorithm::ALL.map(|algorithm| (algorithm, None));
        let (mut one, mut two) = (none, none);
        one[3].1 = Some("x");
        (two[0].1, two[3].1) = (Some("x"), Some("y"));
        assert_eq!(single(none).unwrap(), None);
        assert_eq!(single(one).unwrap(), Some((ChecksumAlgorithm::Sha1, "x".to_owned())));
        assert!(single(two).is_err());
    }

    #[test]
    fn uploads_take_the_combinations_s3_takes() {
        use ChecksumType::{Composite, FullObject};
        let cases = [
            (None, None, Some(None)),
            (Some("CRC32"), None, Some(Some((ChecksumAlgorithm::Crc32, Composite)))),
            (Some("CRC32"), Some("FULL_OBJECT"), Some(Some((ChecksumAlgorithm::Crc32, FullObject)))),
            (Some("CRC64NVME"), None, Some(Some((ChecksumAlgorithm::Crc64Nvme, FullObject)))),
            (Some("CRC64NVME"), Some("COMPOSITE"), None),
            (Some("SHA256"), Some("FULL_OBJECT"), None),
            (Some("XXHASH3"), None, Some(Some((ChecksumAlgorithm::XxHash3, Composite)))),
            (Some("MD5"), Some("FULL_OBJECT"), None),
            (Some("SHA256"), Some("COMPOSITE"), Some(Some((ChecksumAlgorithm::Sha256, Composite)))),
            (Some("ADLER"), None, None),
            (None, Some("COMPOSITE"), None),
            (Some("CRC32"), Some("HALF"), None),
        ];
        for (algorithm, kind, expected) in cases {
            let algorithm_dto = algorithm.map(dto::ChecksumAlgorithm::from_static);
            let kind_dto = kind.map(dto::ChecksumType::from_static);
            assert_eq!(of_upload(algorithm_dto.as_ref(), kind_dto.as_ref()).ok(), expected, "{algorithm:?} {kind:?}");
        }
    }

    #[test]
    fn values_of_the_whole_may_be_composite() {
        assert_eq!(of_whole(ChecksumAlgorithm::Crc32, "AAAAAA==").unwrap().kind, ChecksumType::FullObject);
        let composite = of_whole(ChecksumAlgorithm::Crc32, "AAAAAA==-3").unwrap();
        assert_eq!((composite.kind, composite.value.as_str()), (ChecksumType::Composite, "AAAAAA==-3"));
        for bad in ["AAAA", "AAAAAA==-x", "-3", ""] {
            assert!(of_whole(ChecksumAlgorithm::Crc32, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_chosen_checksum_is_shown() {
        let checksum = |algorithm| Checksum { algorithm, kind: ChecksumType::FullObject, value: String::new() };
        let (crc64, sha) = (checksum(ChecksumAlgorithm::Crc64Nvme), checksum(ChecksumAlgorithm::Sha1));
        assert_eq!(shown(&[crc64.clone(), sha.clone()]), Some(&sha));
        assert_eq!(shown(std::slice::from_ref(&crc64)), Some(&crc64));
        assert_eq!(shown(&[]), None);
    }
}
