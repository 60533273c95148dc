//! How S3 writes keys and query values into a request target.
//!
//! Nothing is normalized: `//`, `.` and `..` are keys like any other.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>, `UriEncode`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// A key, or a bucket, as a path spells it.
pub fn path(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

/// Parameters as a query spells them. One without a value has no equals sign.
pub(crate) fn query(parameters: &[(&str, Option<String>)]) -> String {
    let spell = |(name, value): &(&str, Option<String>)| match value {
        Some(value) => format!("{}={}", utf8_percent_encode(name, QUERY), utf8_percent_encode(value, QUERY)),
        None => utf8_percent_encode(name, QUERY).to_string(),
    };
    parameters.iter().map(spell).collect::<Vec<_>>().join("&")
}

/// A key or prefix out of a listing with `encoding-type=url`, where a plus sign stands for a space; `None` when it is no UTF-8.
pub(crate) fn decode_listed(text: &str) -> Option<String> {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::{decode_listed, path, query};

    proptest! {
        #[test]
        fn any_key_comes_back(key in ".*") {
            let spelled = path(&key);
            prop_assert!(spelled.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/%".contains(&b)));
            prop_assert_eq!(spelled.matches('/').count(), key.matches('/').count());
            prop_assert_eq!(decode_listed(&spelled), Some(key));
        }
    }

    #[test]
    fn paths_keep_their_shape() {
        for (key, expected) in [
            ("plain/key-1_2.txt~", "plain/key-1_2.txt~"),
            ("//a//../b/./", "//a//../b/./"),
            ("a b+c%20d", "a%20b%2Bc%2520d"),
            ("ü/🦀", "%C3%BC/%F0%9F%A6%80"),
            ("\u{1}\n\u{7f}\0", "%01%0A%7F%00"),
            ("?#&=;:@!$'()*,[]\\^`{|}\"<>", "%3F%23%26%3D%3B%3A%40%21%24%27%28%29%2A%2C%5B%5D%5C%5E%60%7B%7C%7D%22%3C%3E"),
        ] {
            assert_eq!(path(key), expected, "{key:?}");
        }
    }

    #[test]
    fn queries_are_spelled() {
        let parameters =
            [("list-type", Some("2".into())), ("uploads", None), ("prefix", Some("a/b +&".into())), ("marker", Some(String::new()))];
        assert_eq!(query(&parameters), "list-type=2&uploads&prefix=a%2Fb%20%2B%26&marker=");
    }

    #[test]
    fn listed_keys_are_decoded() {
        assert_eq!(decode_listed("a+b%20c%2Bd/%F0%9F%A6%80").unwrap(), "a b c+d/🦀");
        assert_eq!(decode_listed("%25"), Some("%".into()));
        assert_eq!(decode_listed("100%"), Some("100%".into()));
        assert_eq!(decode_listed("%ff"), None);
    }
}
