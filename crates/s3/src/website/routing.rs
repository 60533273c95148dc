//! Where readers of a website are sent instead of being answered.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-page-redirect.html>

use http::StatusCode;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use umbra_client::encode_path;
use umbra_store::{RoutingRule, Website, WebsiteRedirect};

/// What cannot stand in a URL. The rest of what an owner writes is meant: `#!/` begins a fragment.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit<'a> {
    /// `http` or `https`.
    pub(super) scheme: &'a str,
    /// The host as it was asked for, with its port.
    pub(super) host: &'a str,
    /// The key that the path names, decoded.
    pub(super) key: &'a str,
    /// The path with its query, as it came.
    pub(super) target: &'a str,
}

/// Where a reader is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) status: StatusCode,
    pub(super) location: String,
}

/// Where everybody is sent, if they are.
pub(super) fn of_all(website: &Website, visit: Visit<'_>) -> Option<Redirect> {
    let all = website.redirect_all.as_ref()?;
    let location = format!("{}{}", base(all, visit), visit.target);
    Some(Redirect { status: StatusCode::MOVED_PERMANENTLY, location })
}

/// Where the first rule that applies sends `visit`: before anything is looked up, or once it failed with `failure`.
pub(super) fn of_rules(website: &Website, visit: Visit<'_>, failure: Option<StatusCode>) -> Option<Redirect> {
    let applies = |rule: &&RoutingRule| {
        let is_of_prefix = rule.prefix.as_deref().is_none_or(|prefix| visit.key.starts_with(prefix));
        is_of_prefix && rule.status == failure.map(|status| status.as_u16())
    };
    let rule = website.rules.iter().find(applies)?;
    let prefix = rule.prefix.as_deref().unwrap_or_default();
    let path = match (&rule.redirect.key, &rule.redirect.prefix) {
        (Some(key), _) => written(key),
        (None, Some(replacement)) => written(replacement) + &encode_path(&visit.key[prefix.len()..]),
        (None, None) => encode_path(visit.key),
    };
    let status = rule.redirect.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::MOVED_PERMANENTLY);
    Some(Redirect { status, location: format!("{}/{path}", base(&rule.redirect, visit)) })
}

fn base(redirect: &WebsiteRedirect, visit: Visit<'_>) -> String {
    let scheme = redirect.protocol.as_deref().unwrap_or(visit.scheme);
    format!("{scheme}://{}", written(redirect.host.as_deref().unwrap_or(visit.host)))
}

fn written(text: &str) -> String {
    utf8_percent_encode(text, UNSAFE).to_string()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use umbra_store::{RoutingRule, Website, WebsiteRedirect};

    use super::{Redirect, Visit, of_all, of_rules};

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn visit(key: &str) -> Visit<'_> {
        Visit { scheme: "http", host: "site.test:8080", key, target: "/a%20b?c=d" }
    }

    #[test]
    fn everybody_is_sent_with_path_and_query() {
        let to = |protocol: Option<&str>| Website {
            redirect_all: Some(WebsiteRedirect {
                host: some("b.example"),
                protocol: protocol.map(str::to_owned),
                ..WebsiteRedirect::default()
            }),
            ..Website::default()
        };
        let location = |website: Website| of_all(&website, visit("a b")).unwrap().location;
        assert_eq!(location(to(None)), "http://b.example/a%20b?c=d");
        assert_eq!(location(to(Some("https"))), "https://b.example/a%20b?c=d");
        assert_eq!(of_all(&Website::default(), visit("a")), None);
    }

    #[test]
    fn rules_send_as_s3_documents_it() {
        let none = WebsiteRedirect::default;
        let rule = |prefix: &str, status: Option<u16>, redirect| RoutingRule {
            prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
            status,
            redirect,
        };
        let website = Website {
            rules: vec![
                rule("docs/", None, WebsiteRedirect { prefix: some("documents/"), ..none() }),
                rule("images/", None, WebsiteRedirect { key: some("folder deleted.html"), status: Some(302), ..none() }),
                rule("app/", Some(404), WebsiteRedirect { prefix: some("#!/"), ..none() }),
                rule(
                    "",
                    Some(404),
                    WebsiteRedirect { host: some("b.example"), protocol: some("https"), prefix: some("report-404/"), ..none() },
                ),
                rule("", Some(403), WebsiteRedirect { host: some("b.example"), status: Some(307), ..none() }),
            ],
            ..Website::default()
        };
        let cases = [
            ("docs/a b", None, Some((301, "http://site.test:8080/documents/a%20b"))),
            ("docs/", Some(404), Some((301, "https://b.example/report-404/docs/"))),
            ("images/a", None, Some((302, "http://site.test:8080/folder%20deleted.html"))),
            ("app/x/é", Some(404), Some((301, "http://site.test:8080/#!/x/%C3%A9"))),
            ("x\r\ny", Some(403), Some((307, "http://b.example/x%0D%0Ay"))),
            ("x", None, None),
            ("x", Some(500), None),
        ];
        for (key, failure, expected) in cases {
            let failure = failure.map(|status| StatusCode::from_u16(status).unwrap());
            let expected = expected
                .map(|(status, location)| Redirect { status: StatusCode::from_u16(status).unwrap(), location: location.to_owned() });
            assert_eq!(of_rules(&website, visit(key), failure), expected, "{key:?} {failure:?}");
        }
    }
}
