//! A line of a log, in the order of S3's fields.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html>

use std::net::IpAddr;

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use umbra_core::Timestamp;

use super::text;

const TIME: &[BorrowedFormatItem<'_>] = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// What is told of a request. What is absent, empty or zero is told as `-`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line<'a> {
    pub(super) owner: &'a str,
    pub(super) bucket: &'a str,
    /// When it came.
    pub(super) at: Timestamp,
    pub(super) remote: Option<IpAddr>,
    /// Who signed it.
    pub(super) requester: Option<&'a str>,
    pub(super) request_id: &'a str,
    pub(super) operation: &'a str,
    pub(super) key: Option<&'a str>,
    /// Its first line.
    pub(super) request: Option<&'a str>,
    pub(super) status: u16,
    /// S3's word for what went wrong.
    pub(super) code: Option<&'a str>,
    /// Bytes of the answer's body.
    pub(super) sent: u64,
    /// Bytes of the whole object.
    pub(super) size: Option<u64>,
    /// From when it came to the end of its answer, in milliseconds.
    pub(super) total: Option<u64>,
    /// From its own end to the beginning of its answer, in milliseconds.
    pub(super) turn_around: Option<u64>,
    pub(super) referer: Option<&'a str>,
    pub(super) user_agent: Option<&'a str>,
    pub(super) version: Option<&'a str>,
    pub(super) host_id: &'a str,
    /// Which signature it has: `SigV2`, `SigV4`.
    pub(super) signature: Option<&'a str>,
    pub(super) cipher: Option<&'a str>,
    /// Where its signature stands: `AuthHeader`, `QueryString`.
    pub(super) authentication: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) tls: Option<&'a str>,
    /// Whether only an ACL allowed it.
    pub(super) by_acl: bool,
}

impl Line<'_> {
    /// As it is written, with its end.
    pub(super) fn written(&self) -> String {
        let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |number| number.to_string().into());
        // Readers split it at spaces, quotes or not.
        let referer = self.referer.map(|referer| referer.replace(' ', "%20"));
        let fields = [
            text::field(Some(self.owner)),
            text::field(Some(self.bucket)),
            format!("[{}]", time_of(self.at)).into(),
            self.remote.map_or_else(|| "-".into(), |remote| remote.to_canonical().to_string().into()),
            text::field(self.requester),
            text::field(Some(self.request_id)),
            text::field(Some(self.operation)),
            text::key(self.key),
            text::quoted(self.request).into(),
            number(Some(self.status.into())),
            text::field(self.code),
            number(Some(self.sent).filter(|sent| *sent > 0)),
            number(self.size),
            number(self.total),
            number(self.turn_around),
            text::quoted(Some(referer.as_deref().unwrap_or("-"))).into(),
            text::quoted(Some(self.user_agent.unwrap_or("-"))).into(),
            text::field(self.version),
            text::field(Some(self.host_id)),
            text::field(self.signature),
            text::field(self.cipher),
            text::field(self.authentication),
            text::field(self.host),
            text::field(self.tls),
            // The access point: there are none here.
            text::field(None),
            text::field(self.by_acl.then_some("Yes")),
        ];
        let mut line = fields.join(" ");
        line.push('\n');
        line
    }
}

fn time_of(at: Timestamp) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at.as_secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(TIME).expect("every part of the format is one of a date")
}

#[cfg(test)]
mod tests {
    use umbra_core::Timestamp;

    use super::Line;

    #[test]
    fn lines_are_as_s3_documents_them() {
        let whole = Line {
            owner: "acme",
            bucket: "photos",
            at: Timestamp::from_millis(1_549_411_238_999),
            remote: Some("192.0.2.3".parse().unwrap()),
            requester: Some("arn:aws:iam::acme:user/KEY"),
            request_id: "3E57427F33A59F07",
            operation: "REST.GET.OBJECT",
            key: Some("2019/08/a puppy.jpg"),
            request: Some("GET /photos/2019/08/a%20puppy.jpg?x=\"y HTTP/1.1"),
            status: 206,
            code: None,
            sent: 2662,
            size: Some(3462),
            total: Some(70),
            turn_around: Some(10),
            referer: Some("http://www.example.com/a b"),
            user_agent: Some("curl/7.15.1 \"x\\"),
            version: Some("3HL4kqtJvjVBH40Nrjfkd"),
            host_id: "s9lzHYrFp76Z=",
            signature: Some("SigV4"),
            cipher: Some("ECDHE-RSA-AES128-GCM-SHA256"),
            authentication: Some("AuthHeader"),
            host: Some("s3.test:9000"),
            tls: Some("TLSv1.2"),
            by_acl: true,
        };
        let bare = Line {
            owner: "acme",
            bucket: "photos",
            request_id: "0A",
            operation: "BATCH.DELETE.OBJECT",
            status: 204,
            host_id: "h",
            ..Line::default()
        };
        let refused =
            Line { status: 403, code: Some("AccessDenied"), size: Some(0), remote: Some("::ffff:10.0.0.1".parse().unwrap()), ..bare };
        let cases = [
            (
                whole,
                "acme photos [06/Feb/2019:00:00:38 +0000] 192.0.2.3 arn:aws:iam::acme:user/KEY 3E57427F33A59F07 REST.GET.OBJECT \
                 2019/08/a%20puppy.jpg \"GET /photos/2019/08/a%20puppy.jpg?x=%22y HTTP/1.1\" 206 - 2662 3462 70 10 \
                 \"http://www.example.com/a%20b\" \"curl/7.15.1 %22x%5C\" 3HL4kqtJvjVBH40Nrjfkd s9lzHYrFp76Z= SigV4 \
                 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader s3.test:9000 TLSv1.2 - Yes\n",
            ),
            (bare, "acme photos [01/Jan/1970:00:00:00 +0000] - - 0A BATCH.DELETE.OBJECT - - 204 - - - - - \"-\" \"-\" - h - - - - - - -\n"),
            (
                refused,
                "acme photos [01/Jan/1970:00:00:00 +0000] 10.0.0.1 - 0A BATCH.DELETE.OBJECT - - 403 AccessDenied - 0 - - \"-\" \"-\" - h - - - - - - -\n",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(line.written(), expected);
        }
    }
}
