//! Listings: what a page holds, and where the next one begins.

use umbra_core::{ErrorKind, Fault};

use super::fixture::{Fixture, content, invalid, kind};
use crate::{ListOptions, ListPage, ListSource, ListStart};

pub(super) async fn run(fixture: &Fixture) {
    nothing(fixture).await;
    for name in ["a", "a/1", "a/2", "a/b/3", "b", "c/", "c/4", "d"] {
        fixture.put(name, content(name.len(), 1)).await;
    }
    entries(fixture).await;
    delimiters(fixture).await;
    pages(fixture).await;
    starts(fixture).await;
    tokens(fixture).await;
}

fn names(page: &ListPage) -> (Vec<&str>, Vec<&str>) {
    (page.objects.iter().map(|object| object.key.as_str()).collect(), page.common_prefixes.iter().map(String::as_str).collect())
}

async fn nothing(fixture: &Fixture) {
    for delimiter in ["", "/"] {
        assert_eq!(fixture.list("", delimiter, ListStart::First, 10).await, ListPage::default());
        assert_eq!(fixture.list("", delimiter, ListStart::First, 0).await, ListPage::default());
        assert_eq!(fixture.list("x", delimiter, ListStart::After("y".to_owned()), 10).await, ListPage::default());
    }
}

async fn entries(fixture: &Fixture) {
    let page = fixture.list("a", "", ListStart::First, 10).await;
    assert_eq!(names(&page).0, ["a", "a/1", "a/2", "a/b/3"]);
    for object in page.objects {
        let info = fixture.head(object.key.as_str()).await.expect("it is there");
        assert_eq!((object.size, object.etag, object.last_modified), (info.size, info.etag, info.last_modified), "{}", object.key);
        assert_eq!(object.storage_class, None);
    }
    assert_eq!(fixture.list("", "", ListStart::First, 0).await, ListPage::default(), "an empty page is not truncated");
}

async fn delimiters(fixture: &Fixture) {
    type Expected = (&'static [&'static str], &'static [&'static str]);
    let cases: [(&str, &str, Expected); 8] = [
        ("", "/", (&["a", "b", "d"], &["a/", "c/"])),
        ("a", "/", (&["a"], &["a/"])),
        ("a/", "/", (&["a/1", "a/2"], &["a/b/"])),
        ("c/", "/", (&["c/", "c/4"], &[])),
        ("", "b", (&["a", "a/1", "a/2", "c/", "c/4", "d"], &["a/b", "b"])),
        ("", "/b/", (&["a", "a/1", "a/2", "b", "c/", "c/4", "d"], &["a/b/"])),
        ("x", "/", (&[], &[])),
        ("", "x", (&["a", "a/1", "a/2", "a/b/3", "b", "c/", "c/4", "d"], &[])),
    ];
    for (prefix, delimiter, (keys, prefixes)) in cases {
        let page = fixture.list(prefix, delimiter, ListStart::First, 100).await;
        assert_eq!(names(&page), (keys.to_vec(), prefixes.to_vec()), "{prefix:?} {delimiter:?}");
        assert_eq!(page.next, None, "{prefix:?} {delimiter:?}");
        assert_eq!(page.last.as_deref(), keys.last().max(prefixes.last()).copied(), "{prefix:?} {delimiter:?}");
    }
}

async fn pages(fixture: &Fixture) {
    for (limit, truncated) in [(1, true), (4, true), (5, false), (6, false)] {
        let page = fixture.list("", "/", ListStart::First, limit).await;
        assert_eq!(page.next.is_some(), truncated, "five entries by {limit}");
        assert_eq!(page.objects.len() + page.common_prefixes.len(), limit.min(5));
    }
    for (limit, truncated) in [(7, true), (8, false)] {
        assert_eq!(fixture.list("", "", ListStart::First, limit).await.next.is_some(), truncated, "eight keys by {limit}");
    }
    // What a page has shown does not move the next one, whatever happens to it meanwhile.
    let page = fixture.list("", "", ListStart::First, 2).await;
    fixture.delete("a/1").await;
    fixture.put("a/0", "before the place").await;
    let next = fixture.list("", "", ListStart::Continue(page.next.expect("there is more")), 2).await;
    assert_eq!(names(&next).0, ["a/2", "a/b/3"]);
    fixture.delete("a/0").await;
    fixture.put("a/1", content(3, 1)).await;
}

async fn starts(fixture: &Fixture) {
    type Expected = (&'static [&'static str], &'static [&'static str]);
    let cases: [(&str, &str, &str, Expected); 8] = [
        ("", "", "", (&["a", "a/1", "a/2", "a/b/3", "b", "c/", "c/4", "d"], &[])),
        ("", "", "a/2", (&["a/b/3", "b", "c/", "c/4", "d"], &[])),
        ("", "", "a/20", (&["a/b/3", "b", "c/", "c/4", "d"], &[])),
        ("a", "", "0", (&["a", "a/1", "a/2", "a/b/3"], &[])),
        ("a", "", "b", (&[], &[])),
        ("", "/", "a/1", (&["b", "d"], &["c/"])),
        ("", "/", "a/", (&["b", "d"], &["c/"])),
        ("", "/", "a", (&["b", "d"], &["a/", "c/"])),
    ];
    for (prefix, delimiter, after, (keys, prefixes)) in cases {
        let page = fixture.list(prefix, delimiter, ListStart::After(after.to_owned()), 100).await;
        assert_eq!(names(&page), (keys.to_vec(), prefixes.to_vec()), "{prefix:?} {delimiter:?} after {after:?}");
    }
}

async fn tokens(fixture: &Fixture) {
    let token = fixture.list("", "", ListStart::First, 1).await.next.expect("there is more");
    for garbage in ["", "garbage", "a", &token[1..], &format!("{token}{token}")] {
        let options = ListOptions {
            prefix: String::new(),
            delimiter: String::new(),
            start: ListStart::Continue(garbage.to_owned()),
            limit: 1,
            source: ListSource::Merged,
        };
        let refused: ErrorKind = kind("token", fixture.try_list(options).await);
        assert_eq!(refused, invalid(Fault::InvalidArgument), "{garbage:?}");
    }
}
