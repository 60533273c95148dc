//! One request to make, and what answers it well.

use std::sync::Arc;

use http::{Method, StatusCode};

use super::content::{self, Content, Pool};

/// As many keys as a page of a listing holds.
pub(super) const PAGE_LEN: usize = 1000;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) bucket: Arc<str>,
    pub(super) action: Action,
}

/// What a request does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Stores an object of so many bytes.
    Put(Key, u64),
    /// Reads one.
    Get(Key, u64),
    /// Reads the headers of one.
    Head(Key, u64),
    /// Deletes one.
    Delete(Key),
    /// Lists a page of so many entries.
    List {
        /// Whether common prefixes are listed instead of keys.
        delimiter: bool,
        /// After which key; empty for the start.
        after: String,
        /// How many entries it must hold.
        entries: usize,
    },
    /// Creates the bucket.
    CreateBucket,
    /// Deletes the bucket.
    DeleteBucket,
}

/// A key: letters, digits and slashes only, so that nothing needs escaping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) text: String,
    /// What its content is made of.
    pub(super) number: u64,
}

impl Key {
    /// The key below `prefix` that ends in the stamp of `number`.
    pub(super) fn stamped(prefix: &str, number: u64) -> Self {
        Self { text: format!("{prefix}{}", content::stamp(number)), number }
    }
}

impl Task {
    pub(super) const fn method(&self) -> Method {
        match self.action {
            Action::Put(..) | Action::CreateBucket => Method::PUT,
            Action::Get(..) | Action::List { .. } => Method::GET,
            Action::Head(..) => Method::HEAD,
            Action::Delete(_) | Action::DeleteBucket => Method::DELETE,
        }
    }

    pub(super) fn path(&self) -> String {
        match &self.action {
            Action::Put(key, _) | Action::Get(key, _) | Action::Head(key, _) | Action::Delete(key) => {
                format!("/{}/{}", self.bucket, key.text)
            }
            _ => format!("/{}", self.bucket),
        }
    }

    /// The query, in the order that signatures want.
    pub(super) fn query(&self) -> String {
        let Action::List { delimiter, after, .. } = &self.action else { return String::new() };
        let mut query = if *delimiter { "delimiter=%2F&".to_owned() } else { String::new() };
        query.push_str(&format!("list-type=2&max-keys={PAGE_LEN}"));
        if !after.is_empty() {
            query.push_str("&start-after=");
            query.push_str(after);
        }
        query
    }

    pub(super) fn body(&self, pool: &Pool) -> Content {
        match &self.action {
            Action::Put(key, size) => pool.content(key.number, *size),
            _ => Content::default(),
        }
    }

    /// The bytes of content that go one way or the other.
    pub(super) const fn bytes(&self) -> u64 {
        match self.action {
            Action::Put(_, size) | Action::Get(_, size) => size,
            _ => 0,
        }
    }

    /// Whether the answer is to be kept whole.
    pub(super) const fn wants_document(&self) -> bool {
        matches!(self.action, Action::List { .. })
    }

    /// Says what is wrong with an answer, if anything is.
    pub(super) fn judge(&self, answer: &Answer) -> Result<(), String> {
        let length =
            |expected: u64, found: u64| if expected == found { Ok(()) } else { Err(format!("{found} bytes instead of {expected}")) };
        match &self.action {
            Action::Get(key, size) => {
                length(*size, answer.len)?;
                let stamped = answer.start.starts_with(content::stamp(key.number).as_bytes());
                if stamped { Ok(()) } else { Err("the content of another object".to_owned()) }
            }
            Action::Head(_, size) => length(*size, answer.announced.unwrap_or(0)),
            Action::List { delimiter, entries, .. } => {
                let element = if *delimiter { "<CommonPrefixes>" } else { "<Contents>" };
                let found = std::str::from_utf8(&answer.start).map_err(|_| "no text".to_owned())?.matches(element).count();
                if found == *entries { Ok(()) } else { Err(format!("a page of {found} entries instead of {entries}")) }
            }
            _ => Ok(()),
        }
    }
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The length that the headers announce.
    pub(super) announced: Option<u64>,
    /// The length of the body.
    pub(super) len: u64,
    /// How the body begins; all of it where that is asked for.
    pub(super) start: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::{Action, Answer, Key, Task};

    fn task(action: Action) -> Task {
        Task { bucket: "b".into(), action }
    }

    #[test]
    fn requests_are_spelled() {
        let get = task(Action::Get(Key::stamped("put/", 255), 16));
        assert_eq!((get.method().as_str(), get.path(), get.query()), ("GET", "/b/put/00000000000000ff".into(), String::new()));
        let list = |delimiter, after: &str| task(Action::List { delimiter, after: after.into(), entries: 1 });
        assert_eq!(list(false, "").query(), "list-type=2&max-keys=1000");
        assert_eq!(list(true, "d1~").query(), "delimiter=%2F&list-type=2&max-keys=1000&start-after=d1~");
        assert_eq!(list(true, "d1~").path(), "/b");
    }

    #[test]
    fn answers_are_judged() {
        let key = Key::stamped("", 10);
        let body = |text: &str| Answer { len: text.len() as u64, start: text.as_bytes().to_vec(), ..Answer::default() };
        let page = |delimiter, entries| Action::List { delimiter, after: String::new(), entries };
        let listed = "<Contents>a</Contents><Contents>b</Contents><CommonPrefixes>c/</CommonPrefixes>";
        for (name, action, answer, good) in [
            ("content", Action::Get(key.clone(), 16), body("000000000000000a"), true),
            ("other content", Action::Get(key.clone(), 16), body("000000000000000b"), false),
            ("less content", Action::Get(key.clone(), 17), body("000000000000000a"), false),
            ("headers", Action::Head(key.clone(), 16), Answer { announced: Some(16), ..Answer::default() }, true),
            ("headers of another", Action::Head(key, 16), Answer::default(), false),
            ("a page", page(false, 2), body(listed), true),
            ("prefixes", page(true, 1), body(listed), true),
            ("a short page", page(false, 3), body(listed), false),
        ] {
            assert_eq!(task(action).judge(&answer).is_ok(), good, "{name}");
        }
    }
}
