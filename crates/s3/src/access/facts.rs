//! What a request says of itself, for the conditions of policies.

use std::{borrow::Cow, net::IpAddr};

use http::{Extensions, HeaderMap, Uri, header};
use percent_encoding::percent_decode_str;
use time::{OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc3339, macros::format_description};
use tokio_rustls::rustls::{CipherSuite, ProtocolVersion};
use umbra_core::{Tags, Timestamp, VersionId};
use umbra_store::{AccessKey, Bucket};

use crate::{convert::tags, layer::Scheme, lenient::Verified, policy::Facts, post::FormFile};

/// The versions of TLS, as policies write them.
pub(crate) const TLS_VERSIONS: [(ProtocolVersion, &str); 2] = [(ProtocolVersion::TLSv1_2, "1.2"), (ProtocolVersion::TLSv1_3, "1.3")];
/// The cipher suites, as OpenSSL calls them.
pub(crate) const CIPHERS: [(CipherSuite, &str); 9] = [
    (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
    (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305"),
];

/// The word for `what` in a table of ours.
pub(crate) fn word<T: PartialEq>(table: &[(T, &'static str)], what: T) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == what).map(|(_, word)| *word)
}

/// Who is at the other end of the connection. A proxy in between is who is there: what it says of others could be said by anyone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: IpAddr,
    /// The version of TLS it speaks.
    pub(crate) tls: Option<&'static str>,
    /// The cipher suite of that, as OpenSSL calls it.
    pub(crate) cipher: Option<&'static str>,
}

impl Peer {
    /// As one node tells another of it.
    pub(crate) fn told(&self) -> String {
        format!("{},{},{}", self.address, self.tls.unwrap_or("-"), self.cipher.unwrap_or("-"))
    }

    /// What another node has told.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(',');
        let (address, tls, cipher) = (words.next()?, words.next()?, words.next()?);
        let cipher = CIPHERS.iter().map(|(_, word)| *word).find(|word| *word == cipher);
        // Empty for a version that has no word.
        let tls = TLS_VERSIONS.iter().map(|(_, word)| *word).chain([""]).find(|word| *word == tls);
        Some(Self { address: address.parse().ok()?, tls, cipher })
    }
}

/// How a request came here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    peer: Option<Peer>,
    is_encrypted: bool,
    /// Whether its signature was verified before s3s saw it, and taken off.
    is_verified: bool,
    /// Whether that signature was one of version 2.
    is_v2: bool,
    /// Whether it came as a form.
    is_form: bool,
}

impl Way {
    /// What was noted of it.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        Self {
            peer: extensions.get().copied(),
            is_encrypted: extensions.get() == Some(&Scheme::Https),
            is_verified: extensions.get::<Verified>().is_some(),
            is_v2: extensions.get::<Verified>().is_some_and(|verified| verified.is_v2),
            is_form: extensions.get::<FormFile>().is_some(),
        }
    }
}

/// A request as it came.
#[derive(Clone, Copy)]
pub(crate) struct Stated<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: &'a str,
    pub(crate) way: Way,
}

impl<'a> Stated<'a> {
    /// What came with `uri` and `headers`.
    pub(crate) fn new(uri: &'a Uri, headers: &'a HeaderMap, way: Way) -> Self {
        Self { headers, query: uri.query().unwrap_or_default(), way }
    }

    /// The version that the query names.
    pub(crate) fn version(&self) -> Option<VersionId> {
        VersionId::parse(&self.parameter("versionId")?).ok()
    }

    /// The header `name`.
    pub(crate) fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// The parameter `name` of the query. Those of operations are spelled in one way; those of signatures are in any case.
    pub(crate) fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        let folds = name.get(..6).is_some_and(|prefix| prefix.eq_ignore_ascii_case("x-amz-"));
        let is_named = |given: &str| if folds { given.eq_ignore_ascii_case(name) } else { given == name };
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut named = pairs.filter(|(given, _)| is_named(&decode(given)));
        named.next().map(|(_, value)| decode(value))
    }

    fn says(&self, header: header::HeaderName) -> Option<Cow<'a, str>> {
        self.header(header.as_str())
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        return Cow::Owned(percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

/// Everything that conditions can ask for.
pub(super) struct RequestFacts<'a> {
    pub(super) stated: Stated<'a>,
    pub(super) key: Option<&'a AccessKey>,
    pub(super) bucket: &'a Bucket,
    pub(super) region: &'a str,
    pub(super) now: Timestamp,
    /// The prefix that a listing would have, where none is asked for.
    pub(super) prefix: Option<&'a str>,
    /// The tags that the object has, where a condition asks for them.
    pub(super) existing_tags: Option<Tags>,
    /// The tags that a document gives the object.
    pub(super) given_tags: Option<&'a Tags>,
}

impl Facts for RequestFacts<'_> {
    fn values(&self, key: &str) -> Vec<String> {
        if let Some(name) = key.strip_prefix("s3:existingobjecttag/") {
            return tag(self.existing_tags.as_ref(), name);
        }
        let requested = || self.given_tags.cloned().or_else(|| tags::from_header(self.stated.header("x-amz-tagging").as_deref()).ok());
        if let Some(name) = key.strip_prefix("s3:requestobjecttag/") {
            return tag(requested().as_ref(), name);
        }
        if key == "s3:requestobjecttagkeys" {
            return requested().iter().flat_map(Tags::iter).map(|(key, _)| key.to_owned()).collect();
        }
        self.value(key).into_iter().collect()
    }
}

impl RequestFacts<'_> {
    fn value(&self, key: &str) -> Option<String> {
        let stated = &self.stated;
        let peer = stated.way.peer.as_ref();
        match key.strip_prefix("s3:") {
            Some("prefix") => self.prefix.map(str::to_owned).or_else(|| stated.parameter("prefix").map(Cow::into_owned)),
            Some(name @ ("delimiter" | "max-keys")) => stated.parameter(name).map(Cow::into_owned),
            Some("versionid") => stated.parameter("versionId").map(Cow::into_owned),
            Some("x-amz-copy-source") => {
                let source = decode_path(&stated.header("x-amz-copy-source")?);
                Some(source.strip_prefix('/').map_or_else(|| source.clone(), str::to_owned))
            }
            Some("object-lock-mode") => stated.header("x-amz-object-lock-mode").map(Cow::into_owned),
            Some("object-lock-legal-hold") => stated.header("x-amz-object-lock-legal-hold").map(Cow::into_owned),
            Some("object-lock-retain-until-date") => stated.header("x-amz-object-lock-retain-until-date").map(Cow::into_owned),
            Some("object-lock-remaining-retention-days") => {
                let until = OffsetDateTime::parse(&stated.header("x-amz-object-lock-retain-until-date")?, &Rfc3339).ok()?;
                Some((until - self.time()).whole_days().to_string())
            }
            Some(name @ ("if-match" | "if-none-match")) => {
                stated.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            }
            Some("tlsversion") => peer.and_then(|peer| peer.tls).map(str::to_owned),
            Some("authtype") => self.signature().map(|(kind, _)| kind.to_owned()),
            Some("signatureversion") => self.signature().map(|(_, version)| version.to_owned()),
            Some("signatureage") => self.signature_age(),
            Some("resourceaccount") => Some(self.bucket.organization.clone()),
            Some(name) if name.starts_with("x-amz-") => stated.header(name).map(Cow::into_owned),
            Some(_) => None,
            None => self.global(key, peer),
        }
    }

    /// Keys of every service's.
    fn global(&self, key: &str, peer: Option<&Peer>) -> Option<String> {
        let organization = || self.key.and_then(|key| key.organization.clone());
        let id = || self.key.map(|key| key.id.clone());
        match key {
            "aws:sourceip" => peer.map(|peer| peer.address.to_canonical().to_string()),
            "aws:securetransport" => Some(self.stated.way.is_encrypted.to_string()),
            "aws:referer" => self.stated.says(header::REFERER).map(Cow::into_owned),
            "aws:useragent" => self.stated.says(header::USER_AGENT).map(Cow::into_owned),
            "aws:currenttime" => self.time().format(&Rfc3339).ok(),
            "aws:epochtime" => Some(self.now.as_secs().to_string()),
            "aws:principalaccount" => organization(),
            "aws:principalarn" => Some(format!("arn:aws:iam::{}:user/{}", organization()?, id()?)),
            "aws:principaltype" => Some(if self.key.is_some() { "User" } else { "Anonymous" }.to_owned()),
            "aws:userid" | "aws:username" => id(),
            "aws:principalisawsservice" | "aws:viaawsservice" => Some(false.to_string()),
            "aws:requestedregion" => Some(self.region.to_owned()),
            "aws:resourceaccount" => Some(self.bucket.organization.clone()),
            _ => None,
        }
    }

    fn time(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.now.as_secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// How the request is signed: where the signature stands, and which it is.
    fn signature(&self) -> Option<(&'static str, &'static str)> {
        const V2: &str = "AWS";
        const V4: &str = "AWS4-HMAC-SHA256";
        self.key?;
        let stated = &self.stated;
        let verified = if stated.way.is_v2 { V2 } else { V4 };
        Some(if let Some(authorization) = stated.says(header::AUTHORIZATION) {
            ("REST-HEADER", if authorization.starts_with("AWS ") { V2 } else { V4 })
        } else if stated.way.is_form {
            ("POST", verified)
        } else if stated.parameter("AWSAccessKeyId").is_some() {
            ("REST-QUERY-STRING", V2)
        } else if stated.way.is_verified && stated.parameter("X-Amz-Algorithm").is_none() {
            ("REST-HEADER", verified)
        } else {
            ("REST-QUERY-STRING", V4)
        })
    }

    /// For how many milliseconds a presigned URL has been one.
    fn signature_age(&self) -> Option<String> {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let signed = PrimitiveDateTime::parse(&self.stated.parameter("X-Amz-Date")?, &format).ok()?.assume_utc();
        Some((self.now.as_millis() - signed.unix_timestamp() * 1000).to_string())
    }
}

fn tag(tags: Option<&Tags>, name: &str) -> Vec<String> {
    let mut tags = tags.into_iter().flat_map(Tags::iter);
    tags.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).into_iter().collect()
}

/// A copy source is a path: its `+` is a plus.
fn decode_path(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::Peer;

    #[test]
    fn what_is_told_of_a_peer_is_understood() {
        for (tls, cipher) in [(None, None), (Some("1.3"), Some("TLS_AES_128_GCM_SHA256")), (Some(""), None)] {
            let peer = Peer { address: "2001:db8::1".parse().unwrap(), tls, cipher };
            let told = peer.told();
            let understood = Peer::parse(&told).unwrap();
            assert_eq!((understood.address, understood.tls, understood.cipher), (peer.address, tls, cipher), "{told}");
            assert!(!told.contains(' '), "{told}");
        }
        for odd in ["", "-", "192.0.2.1", "nobody,-,-"] {
            assert!(Peer::parse(odd).is_none(), "{odd}");
        }
        let unknown = Peer::parse("192.0.2.1,9.9,NULL").unwrap();
        assert_eq!((unknown.tls, unknown.cipher), (None, None));
    }
}
