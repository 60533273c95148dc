//! The web hooks that an operator set, by the names that stand in ARNs.

use std::collections::BTreeMap;

use http::Uri;
use umbra_core::{Error, Fault, Result};

/// Web hooks by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebHooks(BTreeMap<String, Uri>);

impl WebHooks {
    /// Takes them as an operator writes them: `NAME=URL`.
    pub fn parse<'a>(given: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        given.into_iter().map(parse_one).collect::<Result<_>>().map(Self)
    }

    /// The URL of the web hook that `arn` names, if there is one.
    pub(crate) fn url(&self, arn: &str) -> Option<&Uri> {
        self.0.get(name_of(arn)?)
    }
}

fn parse_one(given: &str) -> Result<(String, Uri)> {
    let refused = || {
        Error::invalid(Fault::InvalidArgument, format!("{given:?} is no web hook: write NAME=http://HOST/PATH or NAME=https://HOST/PATH"))
    };
    let (name, url) = given.split_once('=').ok_or_else(refused)?;
    let is_name = !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let url: Uri = url.parse().map_err(|_| refused())?;
    let is_url = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty());
    if is_name && is_url { Ok((name.to_owned(), url)) } else { Err(refused()) }
}

/// The name in an ARN of a web hook: `arn:umbra:sqs::NAME:webhook`. What stands for partition, service and region does not matter.
fn name_of(arn: &str) -> Option<&str> {
    match arn.split(':').collect::<Vec<_>>()[..] {
        ["arn", _, _, _, name, "webhook"] if !name.is_empty() => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{WebHooks, name_of};

    #[test]
    fn hooks_are_found_by_their_arns() {
        let hooks = WebHooks::parse(["a=http://10.0.0.1:8/x?y=z", "b-2=https://b.example"]).unwrap();
        assert_eq!(hooks.url("arn:umbra:sqs::a:webhook").unwrap().to_string(), "http://10.0.0.1:8/x?y=z");
        assert!(hooks.url("arn:minio:sqs:us-east-1:b-2:webhook").is_some());
        assert!(hooks.url("arn:umbra:sqs::c:webhook").is_none());
        for arn in ["", "a", "arn:aws:sqs:us-east-1:123:queue", "arn:umbra:sqs:::webhook"] {
            assert_eq!(name_of(arn), None, "{arn}");
        }
    }

    #[test]
    fn what_is_no_hook_is_refused() {
        for bad in ["", "a", "a=", "=http://a", "a=ftp://a", "a b=http://a", "a=http://", "a=/path"] {
            assert!(WebHooks::parse([bad]).is_err(), "{bad}");
        }
    }
}
