//! What a client announced of a body.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::HeaderMap;
use s3s::TrailingHeaders;
use umbra_core::{Checksum, ChecksumAlgorithm, Error, Fault, Result};
use umbra_store::{Expected, ExpectedChecksum, Integrity};

const SDK_ALGORITHM: &str = "x-amz-sdk-checksum-algorithm";

/// Gathers what `headers`, the checksum `given` in a header of its own, and a trailer to come announce.
pub(crate) fn announced(
    content_md5: Option<&str>,
    given: Option<(ChecksumAlgorithm, String)>,
    headers: &HeaderMap,
    trailers: Option<TrailingHeaders>,
) -> Result<Integrity> {
    let content_md5 = content_md5.map(md5).transpose()?;
    let trailer = trailer(headers)?;
    let checksum = match (given, trailer) {
        (Some(_), Some(_)) => return Err(invalid("expecting a single x-amz-checksum- header or trailer")),
        (Some((algorithm, value)), None) => {
            let value = Checksum::parse(algorithm, &value)?.value;
            Some(ExpectedChecksum { algorithm, value: Expected::Value(value) })
        }
        (None, Some(algorithm)) => Some(ExpectedChecksum { algorithm, value: in_trailer(algorithm, trailers)? }),
        (None, None) => None,
    };
    agree(headers, checksum.as_ref())?;
    Ok(Integrity { content_md5, checksum, sealing: None })
}

fn invalid(message: &'static str) -> Error {
    Error::invalid(Fault::InvalidRequest, message)
}

fn md5(text: &str) -> Result<[u8; 16]> {
    let digest = BASE64.decode(text.trim()).ok().and_then(|digest| digest.try_into().ok());
    digest.ok_or_else(|| Error::invalid(Fault::InvalidDigest, "the Content-MD5 you specified is not valid"))
}

/// The checksum that `x-amz-trailer` promises. Other trailers are none of our business.
fn trailer(headers: &HeaderMap) -> Result<Option<ChecksumAlgorithm>> {
    let Some(names) = headers.get("x-amz-trailer") else { return Ok(None) };
    let names = names.to_str().map_err(|_| invalid("the value specified in the x-amz-trailer header is not supported"))?;
    let mut algorithms = names
        .split(',')
        .filter_map(|name| ChecksumAlgorithm::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name.trim())));
    let first = algorithms.next();
    if algorithms.next().is_some() {
        return Err(invalid("expecting a single x-amz-checksum- trailer"));
    }
    let is_checksum = |name: &str| name.trim().to_ascii_lowercase().starts_with("x-amz-checksum-");
    if first.is_none() && names.split(',').any(is_checksum) {
        return Err(invalid("the value specified in the x-amz-trailer header is not supported"));
    }
    Ok(first)
}

fn in_trailer(algorithm: ChecksumAlgorithm, trailers: Option<TrailingHeaders>) -> Result<Expected> {
    let trailers = trailers.ok_or_else(|| invalid("the x-amz-trailer header needs a body that is sent in chunks with trailers"))?;
    Ok(Expected::Trailer(Box::new(move || trailers.read(|trailers| value(trailers, algorithm)).flatten())))
}

fn value(trailers: &HeaderMap, algorithm: ChecksumAlgorithm) -> Option<String> {
    trailers.get(algorithm.header()).and_then(|value| value.to_str().ok()).map(|value| value.trim().to_owned())
}

/// A client that says which algorithm it uses must then use it.
fn agree(headers: &HeaderMap, checksum: Option<&ExpectedChecksum>) -> Result<()> {
    let Some(name) = headers.get(SDK_ALGORITHM) else { return Ok(()) };
    let named = name
        .to_str()
        .ok()
        .and_then(|name| ChecksumAlgorithm::parse(name).ok())
        .ok_or_else(|| invalid("value for x-amz-sdk-checksum-algorithm header is invalid"))?;
    match checksum {
        None => Err(invalid(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found",
        )),
        Some(checksum) if checksum.algorithm != named => Err(invalid("value for x-amz-sdk-checksum-algorithm header is invalid")),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use umbra_core::{ChecksumAlgorithm, ErrorKind, Fault};
    use umbra_store::Expected;

    use super::announced;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_value_in_a_header_is_expected() {
        let given = Some((ChecksumAlgorithm::Crc32, "AAAAAA==".to_owned()));
        let sdk = headers(&[("x-amz-sdk-checksum-algorithm", "CRC32")]);
        let integrity = announced(Some("1B2M2Y8AsgTpgAmY7PhCfg=="), given, &sdk, None).unwrap();
        assert_eq!(integrity.content_md5.unwrap()[0], 0xd4);
        assert!(matches!(integrity.checksum.unwrap().value, Expected::Value(value) if value == "AAAAAA=="));
        assert!(announced(None, None, &headers(&[]), None).unwrap().checksum.is_none());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let crc = || Some((ChecksumAlgorithm::Crc32, "AAAAAA==".to_owned()));
        let cases = [
            ("short MD5", Some("AAAA"), None, vec![], Fault::InvalidDigest),
            ("MD5 in hexadecimal", Some("d41d8cd98f00b204e9800998ecf8427e"), None, vec![], Fault::InvalidDigest),
            ("short checksum", None, Some((ChecksumAlgorithm::Sha1, "AAAA".to_owned())), vec![], Fault::BadDigest),
            ("header and trailer", None, crc(), vec![("x-amz-trailer", "x-amz-checksum-crc32")], Fault::InvalidRequest),
            ("trailer without chunks", None, None, vec![("x-amz-trailer", "x-amz-checksum-crc32")], Fault::InvalidRequest),
            ("unknown trailer", None, None, vec![("x-amz-trailer", "x-amz-checksum-foo")], Fault::InvalidRequest),
            ("two trailers", None, None, vec![("x-amz-trailer", "x-amz-checksum-crc32, x-amz-checksum-sha1")], Fault::InvalidRequest),
            ("another algorithm", None, crc(), vec![("x-amz-sdk-checksum-algorithm", "SHA1")], Fault::InvalidRequest),
            ("algorithm without value", None, None, vec![("x-amz-sdk-checksum-algorithm", "SHA1")], Fault::InvalidRequest),
            ("unknown algorithm", None, crc(), vec![("x-amz-sdk-checksum-algorithm", "FOO")], Fault::InvalidRequest),
        ];
        for (name, md5, given, pairs, fault) in cases {
            assert_eq!(announced(md5, given, &headers(&pairs), None).unwrap_err().kind(), ErrorKind::Invalid(fault), "{name}");
        }
    }
}
