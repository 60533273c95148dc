//! Which bucket a host name is the website of.

use std::net::IpAddr;

/// The buckets that `host` may be the website of, the likeliest first.
///
/// Below `domain` it is `BUCKET.domain`; any other name is that of its bucket itself, as S3 has it for names of one's own. Without a
/// domain the first label may be the bucket as well.
pub(super) fn buckets(domain: Option<&str>, host: &str) -> Vec<String> {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(name, _)| name);
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name.parse::<IpAddr>().is_ok() || name.starts_with('[') {
        return Vec::new();
    }
    let below = |domain: &str| name.strip_suffix(&domain.to_ascii_lowercase())?.strip_suffix('.').map(str::to_owned);
    match domain {
        Some(domain) => vec![below(domain).unwrap_or(name)],
        None => {
            let first = name.split_once('.').map(|(first, _)| first.to_owned());
            std::iter::once(name).chain(first).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::buckets;

    #[test]
    fn hosts_name_buckets() {
        let cases: [(Option<&str>, &str, &[&str]); 10] = [
            (Some("web.test"), "site.web.test", &["site"]),
            (Some("web.test"), "Site.Web.Test.:8080", &["site"]),
            (Some("web.test"), "a.b.web.test:80", &["a.b"]),
            (Some("web.test"), "www.example.com", &["www.example.com"]),
            (Some("web.test"), "notweb.test", &["notweb.test"]),
            (None, "www.example.com:8080", &["www.example.com", "www"]),
            (None, "site.localhost", &["site.localhost", "site"]),
            (None, "site", &["site"]),
            (None, "127.0.0.1:80", &[]),
            (None, "[::1]:80", &[]),
        ];
        for (domain, host, expected) in cases {
            assert_eq!(buckets(domain, host), expected, "{domain:?} {host}");
        }
    }
}
