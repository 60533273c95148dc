//! Where clients reach a region.

use http::{Uri, uri::Scheme};

use super::Coordinates;

/// A region as clients reach it.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionAddress {
    name: String,
    url: String,
    /// What clients that follow the URL call its host: without a port that goes without saying.
    host: String,
    at: Option<Coordinates>,
}

impl RegionAddress {
    /// The region `name`, reached by `url`, at a place on earth if that is known. Says what is wrong with the URL.
    pub fn parse(name: &str, url: &str, at: Option<Coordinates>) -> Result<Self, &'static str> {
        const FORM: &str = "must be of the form https://HOST or http://HOST:PORT";
        let uri: Uri = url.parse().map_err(|_| FORM)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(FORM) };
        let is_plain = uri.path_and_query().is_none_or(|rest| rest == "/") && !authority.as_str().contains('@');
        if !is_plain || ![Scheme::HTTP, Scheme::HTTPS].contains(scheme) {
            return Err(FORM);
        }
        let host = spelt(authority.as_str(), scheme == &Scheme::HTTPS);
        Ok(Self { name: name.to_owned(), url: format!("{scheme}://{host}"), host, at })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its host, as clients that follow its URL say it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Where on earth it is.
    pub(super) const fn at(&self) -> Option<Coordinates> {
        self.at
    }

    /// Whether its URL is what clients that say `host` were told.
    pub(super) fn is_at(&self, host: &str) -> bool {
        spelt(host, self.url.starts_with("https:")) == self.host
    }
}

/// `host` in the one way that it is compared in.
fn spelt(host: &str, is_https: bool) -> String {
    let port = if is_https { ":443" } else { ":80" };
    host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::RegionAddress;

    #[test]
    fn an_address_is_a_scheme_and_a_host() {
        let parse = |url| RegionAddress::parse("fra", url, None);
        for (url, whole, host) in [
            ("https://Fra.S3.test/", "https://fra.s3.test", "fra.s3.test"),
            ("https://fra.s3.test:443", "https://fra.s3.test", "fra.s3.test"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("http://[::1]:9000", "http://[::1]:9000", "[::1]:9000"),
        ] {
            let address = parse(url).unwrap();
            assert_eq!((address.url(), address.host()), (whole, host));
            assert!(address.is_at(host) && address.is_at(&host.to_uppercase()) && !address.is_at("s3.test"));
        }
        for url in
            ["fra.s3.test", "ftp://fra.s3.test", "https://u@fra.s3.test", "https://fra.s3.test/a", "https://fra.s3.test?a", "", "https://"]
        {
            assert!(parse(url).is_err(), "{url}");
        }
        assert!(!parse("http://fra.s3.test").unwrap().is_at("fra.s3.test:443"));
    }
}
