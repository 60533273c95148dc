//! Versions against a model of a few lines, and many writers of one key.
//!
//! A check says how versioning stands by the bucket it hands in: the settings in it are what a request would have seen.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use bytes::Bytes;
use futures::future::join_all;
use umbra_core::{Body, Entity, ErrorKind, Fault, Random, SeededRandom, Tags, VersionId};

use super::fixture::{Fixture, NO_OBJECT, content, good, invalid, key, kind};
use crate::{Bucket, DeleteOptions, Deleted, GetOptions, ListVersions, ListedVersion, PutOptions, Versioning, VersionsPage};

/// How many random histories are made.
pub(super) const CASES: u64 = 6;
const STEPS: usize = 80;
const KEYS: [&str; 4] = ["a", "a/b", "a/c", "b\0"];
const NO_VERSION: ErrorKind = ErrorKind::NotFound(Entity::Version);

/// What a version holds; `None`: it is a delete marker.
type Content = Option<Bytes>;

/// The versions of each key, the newest first.
type Model = BTreeMap<&'static str, Vec<(VersionId, Content)>>;

fn versioned(fixture: &Fixture, versioning: Versioning) -> Fixture {
    let mut bucket: Bucket = fixture.bucket.clone();
    bucket.settings.versioning = versioning;
    Fixture::new(fixture.objects.clone(), bucket)
}

struct Dice(SeededRandom);

impl Dice {
    fn below(&self, bound: usize) -> usize {
        usize::from(u16::from_le_bytes((&self.0 as &dyn Random).array())) % bound
    }
}

/// A random history of a few keys.
pub(super) async fn run(fixture: &Fixture, seed: u64) {
    let dice = Dice(SeededRandom::new(seed));
    let mut model = Model::new();
    // Written before versions were: each is the null version.
    for name in &KEYS[..2] {
        fixture.put(name, "first").await;
        model.insert(name, vec![(VersionId::Null, Some("first".into()))]);
    }
    for step in 0..STEPS {
        let status = if dice.below(3) == 0 { Versioning::Suspended } else { Versioning::Enabled };
        let fixture = versioned(fixture, status);
        let name = KEYS[dice.below(KEYS.len())];
        let versions = model.entry(name).or_default();
        match dice.below(6) {
            0..=2 => put(&fixture, &dice, name, versions, status, step).await,
            3 => delete(&fixture, name, versions, status).await,
            _ => delete_version(&fixture, &dice, name, versions).await,
        }
        check_key(&fixture, name, versions).await;
        check_listing(&fixture, &model, &dice).await;
    }
}

async fn put(fixture: &Fixture, dice: &Dice, name: &str, versions: &mut Vec<(VersionId, Content)>, status: Versioning, step: usize) {
    // Some of it inline, some in blobs.
    let content = content(10 + dice.below(2) * 6_000, u8::try_from(step).unwrap_or(0));
    let put = fixture.put(name, content.clone()).await;
    replace_null(versions, status);
    assert_eq!(put.version == VersionId::Null, status == Versioning::Suspended, "{name}");
    versions.insert(0, (put.version, Some(content)));
}

async fn delete(fixture: &Fixture, name: &str, versions: &mut Vec<(VersionId, Content)>, status: Versioning) {
    let deleted = good(name, fixture.objects.delete(&fixture.cx, &fixture.bucket, &key(name), DeleteOptions::default()).await);
    replace_null(versions, status);
    let marker = deleted.version.expect("a delete marker is made");
    assert!(deleted.is_marker && (marker == VersionId::Null) == (status == Versioning::Suspended), "{deleted:?}");
    versions.insert(0, (marker, None));
}

fn replace_null(versions: &mut Vec<(VersionId, Content)>, status: Versioning) {
    if status == Versioning::Suspended {
        versions.retain(|(version, _)| *version != VersionId::Null);
    }
}

async fn delete_version(fixture: &Fixture, dice: &Dice, name: &str, versions: &mut Vec<(VersionId, Content)>) {
    let unknown = [VersionId::Null, VersionId::Named { sequence: 7, nonce: 7 }];
    let known = versions.iter().map(|(version, _)| *version);
    let all: Vec<_> = known.chain(unknown).collect();
    let version = all[dice.below(all.len())];
    let is_marker = versions.iter().any(|(other, content)| *other == version && content.is_none());
    let options = DeleteOptions { version: Some(version), ..DeleteOptions::default() };
    let deleted = good(name, fixture.objects.delete(&fixture.cx, &fixture.bucket, &key(name), options).await);
    assert_eq!(deleted, Deleted { version: Some(version), is_marker }, "{name}");
    versions.retain(|(other, _)| *other != version);
}

/// Every version is read, and tagged, as what it is.
async fn check_key(fixture: &Fixture, name: &str, versions: &[(VersionId, Content)]) {
    match versions.first() {
        Some((_, Some(content))) => assert_eq!(fixture.get(name).await, content, "{name}"),
        _ => assert_eq!(kind(name, fixture.read(name, GetOptions::default()).await), NO_OBJECT, "{name}"),
    }
    for (version, content) in versions {
        let options = GetOptions { version: Some(*version), ..GetOptions::default() };
        let read = fixture.read(name, options).await;
        let (objects, cx, bucket) = (&fixture.objects, &fixture.cx, &fixture.bucket);
        let tags = Tags::new([("of".to_owned(), version.to_string())]);
        let tagged = objects.put_tags(cx, bucket, &key(name), Some(*version), tags.clone()).await;
        match content {
            Some(content) => {
                let (info, bytes) = good(name, read);
                assert_eq!((info.version, &bytes), (*version, content), "{name}");
                assert_eq!(good(name, tagged), *version);
                assert_eq!(good(name, objects.tags(cx, bucket, &key(name), Some(*version)).await), (tags, *version));
            }
            None => {
                assert_eq!(kind(name, read), invalid(Fault::MethodNotAllowed));
                assert_eq!(kind(name, tagged), invalid(Fault::MethodNotAllowed));
            }
        }
    }
    let other = GetOptions { version: Some(VersionId::Named { sequence: 1, nonce: 2 }), ..GetOptions::default() };
    assert_eq!(kind(name, fixture.read(name, other).await), NO_VERSION);
}

/// A listing shows the model, whatever its pages, prefixes and delimiters are.
async fn check_listing(fixture: &Fixture, model: &Model, dice: &Dice) {
    let (prefix, delimiter) = (["", "a", "a/", "b"][dice.below(4)], ["", "", "/", "\0"][dice.below(4)]);
    let limit = [1, 2, 3, 1000][dice.below(4)];
    let (mut shown, mut prefixes) = (Vec::new(), BTreeSet::new());
    let mut options = ListVersions { prefix: prefix.to_owned(), delimiter: delimiter.to_owned(), limit, ..ListVersions::default() };
    loop {
        let listed = fixture.objects.list_versions(&fixture.cx, &fixture.bucket, options.clone()).await;
        let VersionsPage { versions, common_prefixes, next } = good("list_versions", listed);
        assert!(versions.len() + common_prefixes.len() <= limit, "a page is no longer than asked for");
        shown.extend(versions);
        for prefix in common_prefixes {
            assert!(prefixes.insert(prefix.clone()), "{prefix} is shown twice");
        }
        let Some((key, version)) = next else { break };
        (options.key_marker, options.version_marker) = (Some(key), version);
    }
    let (mut expected, mut expected_prefixes) = (Vec::new(), BTreeSet::new());
    for (name, versions) in model.iter().filter(|(name, versions)| name.starts_with(prefix) && !versions.is_empty()) {
        let cut = name[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty());
        match cut {
            Some(at) => drop(expected_prefixes.insert(name[..prefix.len() + at + delimiter.len()].to_owned())),
            None => {
                expected.extend(versions.iter().enumerate().map(|(at, (version, content))| (*name, *version, at == 0, content.is_none())))
            }
        }
    }
    let shown: Vec<_> = shown.iter().map(named).collect();
    assert_eq!((shown, prefixes), (expected, expected_prefixes), "prefix {prefix:?}, delimiter {delimiter:?}, limit {limit}");
}

fn named(listed: &ListedVersion) -> (&str, VersionId, bool, bool) {
    (listed.object.key.as_str(), listed.version, listed.is_latest, listed.is_marker)
}

/// Many who write, delete and take away versions of one key: every version that was acknowledged is there or was taken away by name, and the
/// newest is current.
pub(super) async fn races(fixture: &Fixture) {
    let fixture = &versioned(fixture, Versioning::Enabled);
    let write = |writer: u8| async move {
        let mut own = Vec::new();
        for round in 0..8_u8 {
            let put = fixture.put("raced", content(6_000, writer * 8 + round)).await;
            own.push(put.version);
            if round % 3 == 2 {
                let gone = own.remove(usize::from(round) % own.len());
                let options = DeleteOptions { version: Some(gone), ..DeleteOptions::default() };
                good("delete", fixture.objects.delete(&fixture.cx, &fixture.bucket, &key("raced"), options).await);
            }
            if round % 4 == 3 {
                fixture.delete("raced").await;
            }
        }
        own
    };
    let kept: Vec<VersionId> = join_all((0..4).map(write)).await.concat();
    let options = ListVersions { limit: 1000, ..ListVersions::default() };
    let page = good("list_versions", fixture.objects.list_versions(&fixture.cx, &fixture.bucket, options).await);
    let objects: BTreeSet<_> = page.versions.iter().filter(|listed| !listed.is_marker).map(|listed| listed.version.to_string()).collect();
    assert_eq!(objects, kept.iter().map(VersionId::to_string).collect(), "no acknowledged version is lost, and none comes back");
    let newest = page.versions.first().expect("there are some");
    match fixture.head("raced").await {
        Ok(info) => assert_eq!((info.version, newest.is_marker), (newest.version, false)),
        Err(error) => assert_eq!((error.kind(), newest.is_marker), (NO_OBJECT, true)),
    }
}

/// Pages that are listed while versions come, go and move show of each key what it held at one moment.
pub(super) async fn listed_while_changing(fixture: &Fixture) {
    let fixture = &versioned(fixture, Versioning::Enabled);
    let acknowledged = Acknowledged::default();
    let change = |name: &'static str| {
        let acknowledged = &acknowledged;
        async move {
            for round in 0..40_u8 {
                match (round % 5, acknowledged.newest(name)) {
                    (3, _) => {
                        let put = fixture.objects.delete(&fixture.cx, &fixture.bucket, &key(name), DeleteOptions::default()).await;
                        acknowledged.add(name, good(name, put).version.expect("a delete marker is made"));
                    }
                    // What is current goes, and the one behind it takes its place.
                    (2 | 4, Some(newest)) => {
                        acknowledged.end(name, newest);
                        let options = DeleteOptions { version: Some(newest), ..DeleteOptions::default() };
                        good(name, fixture.objects.delete(&fixture.cx, &fixture.bucket, &key(name), options).await);
                        acknowledged.ended(name, newest);
                    }
                    _ => acknowledged.add(name, fixture.put(name, vec![round]).await.version),
                }
            }
            acknowledged.0.borrow_mut().writers_done += 1;
        }
    };
    let names = ["x", "y", "z"];
    let list = |limit: usize| {
        let acknowledged = &acknowledged;
        async move {
            while acknowledged.0.borrow().writers_done < names.len() {
                check_pages(fixture, acknowledged, limit).await;
                // Where nothing is ever waited for, this gives the others their turn.
                tokio::task::yield_now().await;
            }
            check_pages(fixture, acknowledged, limit).await;
        }
    };
    futures::join!(join_all(names.map(change)), join_all([1, 3, 5, 1000].map(list)));
}

/// What was acknowledged of versions, those that nobody is taking away and those that are gone.
#[derive(Default)]
struct Acknowledged(RefCell<Versions>);

#[derive(Default)]
struct Versions {
    kept: BTreeMap<&'static str, Vec<VersionId>>,
    gone: BTreeSet<(&'static str, String)>,
    writers_done: usize,
}

impl Acknowledged {
    fn newest(&self, name: &str) -> Option<VersionId> {
        self.0.borrow().kept.get(name)?.last().copied()
    }

    fn add(&self, name: &'static str, version: VersionId) {
        self.0.borrow_mut().kept.entry(name).or_default().push(version);
    }

    fn end(&self, name: &'static str, version: VersionId) {
        self.0.borrow_mut().kept.entry(name).or_default().retain(|other| *other != version);
    }

    fn ended(&self, name: &'static str, version: VersionId) {
        self.0.borrow_mut().gone.insert((name, version.to_string()));
    }
}

/// Lists page by page. Of each key on a page: versions once and in order, the newest first and it alone as that, none that was gone before and,
/// where the page has all of them, every one that was there throughout.
async fn check_pages(fixture: &Fixture, acknowledged: &Acknowledged, limit: usize) {
    let mut options = ListVersions { limit, ..ListVersions::default() };
    loop {
        let (before, gone) = { (acknowledged.0.borrow().kept.clone(), acknowledged.0.borrow().gone.clone()) };
        let page = good("list_versions", fixture.objects.list_versions(&fixture.cx, &fixture.bucket, options.clone()).await);
        let after = acknowledged.0.borrow().kept.clone();
        for (name, before) in before {
            let shown: Vec<_> = page.versions.iter().filter(|listed| listed.object.key.as_str() == name).collect();
            let ids: Vec<_> = shown.iter().map(|listed| listed.version).collect();
            let sequences: Vec<_> = ids.iter().map(|id| if let VersionId::Named { sequence, .. } = id { *sequence } else { 0 }).collect();
            assert!(sequences.is_sorted_by(|newer, older| newer > older), "{name}: {ids:?}");
            assert!(!ids.iter().any(|id| gone.contains(&(name, id.to_string()))), "{name}: {ids:?} has one that was gone before");
            assert!(shown.iter().skip(1).all(|listed| !listed.is_latest), "{name}: {shown:?}");
            let is_whole = |place: &Option<String>| place.as_deref() != Some(name);
            if is_whole(&options.key_marker) && is_whole(&page.next.as_ref().map(|(key, _)| key.clone())) && !shown.is_empty() {
                assert!(shown[0].is_latest, "{name}: {shown:?}");
                let missing: Vec<_> = before.iter().filter(|id| after[name].contains(id) && !ids.contains(id)).collect();
                assert_eq!(missing, [&VersionId::Null; 0], "{name}: {ids:?}");
            }
            let is_on_page = options.key_marker.as_deref() < Some(name) && page.next.as_ref().is_none_or(|(end, _)| name < end.as_str());
            let is_there = before.iter().any(|id| after[name].contains(id));
            assert!(!(is_on_page && is_there && shown.is_empty()), "{name} is missing");
        }
        let Some((key, version)) = page.next else { break };
        (options.key_marker, options.version_marker) = (Some(key), version);
    }
}

/// What is kept is not deleted, however it is asked for; only a delete marker hides it.
pub(super) async fn locks(fixture: &Fixture) {
    let fixture = &versioned(fixture, Versioning::Enabled);
    let mut options = PutOptions::default();
    options.attributes.lock.legal_hold = Some(true);
    let kept = good("kept", fixture.try_put("kept", Body::from_bytes("content"), options).await).version;
    let delete = |version, bypass_governance| async move {
        let options = DeleteOptions { version, bypass_governance, ..DeleteOptions::default() };
        fixture.objects.delete(&fixture.cx, &fixture.bucket, &key("kept"), options).await
    };
    for bypass in [false, true] {
        assert_eq!(kind("kept", delete(Some(kept), bypass).await), ErrorKind::Denied);
    }
    let marker = good("marker", delete(None, false).await);
    fixture.assert_absent("kept").await;
    good("marker", delete(marker.version, false).await);
    assert_eq!(fixture.get("kept").await, "content");
    let change = crate::LockChange::LegalHold(false);
    good("hold", fixture.objects.put_lock(&fixture.cx, &fixture.bucket, &key("kept"), Some(kept), change).await);
    good("kept", delete(Some(kept), false).await);
    fixture.assert_absent("kept").await;
}

/// Who deletes what a page shows and goes on behind it comes by everything.
pub(super) async fn purges(fixture: &Fixture) {
    for limit in [1, 2, 3] {
        fixture.put("p", "null").await;
        let fixture = &versioned(fixture, Versioning::Enabled);
        for name in ["p", "p", "q", "p"] {
            fixture.put(name, "named").await;
        }
        fixture.delete("q").await;
        let mut options = ListVersions { limit, ..ListVersions::default() };
        loop {
            let page = good("list_versions", fixture.objects.list_versions(&fixture.cx, &fixture.bucket, options.clone()).await);
            for listed in page.versions {
                let of = DeleteOptions { version: Some(listed.version), ..DeleteOptions::default() };
                good("delete", fixture.objects.delete(&fixture.cx, &fixture.bucket, &listed.object.key, of).await);
            }
            let Some((key, version)) = page.next else { break };
            (options.key_marker, options.version_marker) = (Some(key), version);
        }
        let all = ListVersions { limit: 1000, ..ListVersions::default() };
        let left = good("list_versions", fixture.objects.list_versions(&fixture.cx, &fixture.bucket, all).await);
        assert_eq!(left.versions, [], "pages of {limit}");
    }
}
