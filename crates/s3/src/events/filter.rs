//! Filters of Tigris's clients: a `WHERE` clause over `key` and `size`.

use regex::Regex;
use umbra_core::{Error, Fault, Result};

/// Bytes that a compiled expression may take.
const EXPRESSION_BYTES_MAX: usize = 64 * 1024;
/// Conditions of one filter.
const CONDITIONS_MAX: usize = 16;

/// A filter: all its conditions must hold.
#[derive(Debug, Default)]
pub(crate) struct Filter(Vec<Condition>);

#[derive(Debug)]
enum Condition {
    Matches(Regex),
    Key { text: String, equal: bool },
    Size(Compared, u64),
}

#[derive(Clone, Copy, Debug)]
enum Compared {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Filter {
    /// Parses a filter; an empty one lets everything pass.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut rest = text.trim();
        if rest.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("where ")) {
            rest = rest[6..].trim_start();
        }
        let mut conditions = Vec::new();
        while !rest.is_empty() {
            let (condition, behind) = condition(rest).ok_or_else(|| refused(text))?;
            conditions.push(condition);
            rest = behind.trim_start();
            if rest.is_empty() {
                break;
            }
            rest = rest
                .get(..4)
                .filter(|word| word.eq_ignore_ascii_case("and "))
                .and(rest.get(4..))
                .ok_or_else(|| refused(text))?
                .trim_start();
            if rest.is_empty() || conditions.len() == CONDITIONS_MAX {
                return Err(refused(text));
            }
        }
        Ok(Self(conditions))
    }

    /// Whether an object passes. What has no size has none to speak of.
    pub(crate) fn passes(&self, key: &str, size: Option<u64>) -> bool {
        self.0.iter().all(|condition| match condition {
            Condition::Matches(expression) => expression.is_match(key),
            Condition::Key { text, equal } => (text == key) == *equal,
            Condition::Size(compared, bytes) => size.is_none_or(|size| match compared {
                Compared::Less => size < *bytes,
                Compared::AtMost => size <= *bytes,
                Compared::Equal => size == *bytes,
                Compared::AtLeast => size >= *bytes,
                Compared::More => size > *bytes,
            }),
        })
    }
}

/// The condition that `text` begins with, and what follows it.
fn condition(text: &str) -> Option<(Condition, &str)> {
    let (field, rest) = field(text)?;
    let rest = rest.trim_start();
    if field.eq_ignore_ascii_case("size") {
        let signs =
            [(">=", Compared::AtLeast), ("<=", Compared::AtMost), (">", Compared::More), ("<", Compared::Less), ("=", Compared::Equal)];
        let (rest, compared) = signs.iter().find_map(|(sign, compared)| Some((rest.strip_prefix(sign)?, *compared)))?;
        let rest = rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        return Some((Condition::Size(compared, rest[..end].parse().ok()?), &rest[end..]));
    }
    if !field.eq_ignore_ascii_case("key") {
        return None;
    }
    if rest.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("regexp")) {
        let (expression, rest) = quoted(rest[6..].trim_start())?;
        let expression = regex::RegexBuilder::new(&expression).size_limit(EXPRESSION_BYTES_MAX).build().ok()?;
        return Some((Condition::Matches(expression), rest));
    }
    let (equal, rest) = match rest.strip_prefix("!=").or_else(|| rest.strip_prefix("<>")) {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix('=')?),
    };
    let (text, rest) = quoted(rest.trim_start())?;
    Some((Condition::Key { text, equal }, rest))
}

/// A field's name, perhaps in backticks.
fn field(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('`') {
        return rest.split_once('`');
    }
    let end = text.find(|c: char| !c.is_ascii_alphabetic())?;
    Some(text.split_at(end))
}

/// A text in quotes of either kind; a quote within it is written twice.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (mut taken, mut rest) = (String::new(), &text[1..]);
    loop {
        let end = rest.find(quote)?;
        taken.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(quote) {
            Some(more) => {
                taken.push(quote);
                rest = more;
            }
            None => return Some((taken, rest)),
        }
    }
}

fn refused(text: &str) -> Error {
    let message =
        format!("the filter {text:?} is not understood: write `key` REGEXP \"…\", `key` = \"…\" or size > N, several joined by AND");
    Error::invalid(Fault::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn filters_let_pass_what_they_say() {
        let cases = [
            ("", "a", 1, true),
            ("WHERE `key` REGEXP \"^images\"", "images/a", 1, true),
            ("WHERE `key` REGEXP \"^images\"", "my-images/a", 1, false),
            ("where key = 'a''b'", "a'b", 1, true),
            ("key != \"a\"", "a", 1, false),
            ("size > 1000000", "a", 1_000_001, true),
            ("size > 1000000", "a", 1_000_000, false),
            ("size>=10 AND size<=20 and key regexp 'x$'", "ax", 20, true),
            ("size>=10 AND size<=20 and key regexp 'x$'", "ay", 20, false),
        ];
        for (filter, key, size, expected) in cases {
            assert_eq!(Filter::parse(filter).unwrap().passes(key, Some(size)), expected, "{filter} {key} {size}");
        }
        assert!(Filter::parse("size > 5").unwrap().passes("deleted", None));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let many = vec!["size > 1"; 17].join(" AND ");
        for filter in [
            "f",
            "WHERE",
            "key",
            "key = a",
            "size > x",
            "owner = 'a'",
            "key REGEXP '('",
            "key = 'a' OR key = 'b'",
            "size > 1 AND",
            "é",
            &many,
        ] {
            assert!(Filter::parse(filter).is_err(), "{filter}");
        }
    }
}
