//! What a wrapper adds to commits, and objects that are copied in with their identity.

use std::sync::Arc;

use bytes::Bytes;
use umbra_blob::MemoryBlobStore;
use umbra_core::{
    Acl, Body, Checksum, ChecksumAlgorithm, ETag, Entity, ErrorKind, Matches, ObjectInfo, PartInfo, Preconditions, ReadSource, Result,
    SystemHeaders, Tags, Timestamp, UserMetadata,
};
use umbra_meta::{Check, Expect, MemoryMetaStore, Revision, Write, key as row};
use umbra_store::{
    AclChange, Bucket, BucketSettings, CompleteUpload, CompletedPart, CreateUpload, GetOptions, Identity, Integrity, ListVersions,
    NewObject, Objects, PartAddress, PutObject, Stored, Terms, Version, Versioning, suite,
};

use crate::engines::{Store, content, key, settled};

async fn store() -> (Store, Bucket, MemoryBlobStore) {
    let memory = MemoryBlobStore::new();
    let store = Store::new(Arc::new(MemoryMetaStore::new()), Arc::new(memory.clone())).await;
    let bucket = store.bucket().await;
    (store, bucket, memory)
}

fn tombstone(name: &str) -> Write {
    Write::Put { key: row::tombstone(&key(name)), head: Bytes::new(), body: Bytes::new() }
}

fn needs_tombstone(name: &str) -> Check {
    Check { key: row::tombstone(&key(name)), expect: Expect::Exists }
}

async fn has_tombstone(store: &Store, bucket: &Bucket, name: &str) -> bool {
    store.meta.get(bucket.partition, &row::tombstone(&key(name))).await.unwrap().is_some()
}

async fn publish(store: &Store, bucket: &Bucket, name: &str, conditions: Preconditions, terms: Terms) -> Result<PutObject> {
    let content = store.native.ingest(bucket, None, Body::from_bytes(content(10_000, 1)), Integrity::default()).await?;
    store.native.publish(bucket, &key(name), content, NewObject::default(), &conditions, terms).await
}

#[tokio::test]
async fn terms_ride_in_the_same_batch() {
    let (store, bucket, memory) = store().await;
    let terms = || Terms { writes: vec![tombstone("k")], ..Terms::default() };
    let refused = Terms { checks: vec![needs_tombstone("k")], ..terms() };
    let error = publish(&store, &bucket, "k", Preconditions::default(), refused).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    settled().await;
    assert_eq!(memory.len(), 0, "what was not published is discarded");
    assert!(!has_tombstone(&store, &bucket, "k").await);
    publish(&store, &bucket, "k", Preconditions::default(), terms()).await.unwrap();
    assert!(has_tombstone(&store, &bucket, "k").await);

    let gone = Check { key: row::tombstone(&key("absent")), expect: Expect::Exists };
    let refused = Terms { checks: vec![gone], ..Terms::default() };
    let error = store.native.remove(&bucket, &key("k"), &Preconditions::default(), refused).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(store.get(&bucket, "k").await.is_ok());
    let terms = |name| Terms { writes: vec![tombstone(name)], ..Terms::default() };
    store.native.remove(&bucket, &key("k"), &Preconditions::default(), terms("other")).await.unwrap();
    store.native.remove(&bucket, &key("never"), &Preconditions::default(), terms("never")).await.unwrap();
    for name in ["other", "never"] {
        assert!(has_tombstone(&store, &bucket, name).await, "{name}");
    }
}

#[tokio::test]
async fn conditions_that_find_nothing_commit_no_terms() {
    let (store, bucket, _) = store().await;
    let if_match = Preconditions { if_match: Some(Matches::parse("other")), ..Preconditions::default() };
    let enable = &mut |settings: &mut BucketSettings| {
        settings.versioning = Versioning::Enabled;
        Ok(())
    };
    let versioned = store.catalog.update_bucket(&bucket, enable).await.unwrap();
    let terms = Terms { writes: vec![tombstone("never")], ..Terms::default() };
    let deleted = store.native.remove(&versioned, &key("never"), &if_match, terms).await.unwrap();
    assert_eq!((deleted.version, has_tombstone(&store, &versioned, "never").await), (None, false));
}

/// A check of terms on a key that is checked anyway is told apart from a race.
#[tokio::test]
async fn terms_may_check_the_same_keys() {
    let (store, bucket, _) = store().await;
    store.put(&bucket, "k", &content(10, 1)).await.unwrap();
    for key in [row::object(&key("k")), row::settings()] {
        let check = Check { key, expect: Expect::Revision(Revision(u64::MAX)) };
        let terms = || Terms { checks: vec![check.clone()], ..Terms::default() };
        let kind = publish(&store, &bucket, "k", Preconditions::default(), terms()).await.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Conflict);
        let kind = store.native.remove(&bucket, &crate::engines::key("k"), &Preconditions::default(), terms()).await.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Conflict);
    }
    assert_eq!(store.get(&bucket, "k").await.unwrap(), content(10, 1));
}

#[tokio::test]
async fn a_cold_key_counts_as_held() {
    let (store, bucket, _) = store().await;
    let cold = || Terms { cold: Some(ETag::parse("cold")), ..Terms::default() };
    let if_match = |text| Preconditions { if_match: Some(Matches::parse(text)), ..Preconditions::default() };
    let if_absent = Preconditions { if_none_match: Some(Matches::Any), ..Preconditions::default() };
    let kind = |result: Result<PutObject>| result.unwrap_err().kind();
    assert_eq!(kind(publish(&store, &bucket, "k", if_absent.clone(), cold()).await), ErrorKind::Precondition);
    assert_eq!(kind(publish(&store, &bucket, "k", if_match("other"), cold()).await), ErrorKind::Precondition);
    publish(&store, &bucket, "k", if_match("cold"), cold()).await.unwrap();
    // What is here counts, not what is cold.
    assert_eq!(kind(publish(&store, &bucket, "k", if_match("cold"), cold()).await), ErrorKind::Precondition);
    let removed = store.native.remove(&bucket, &key("k"), &if_match("cold"), cold()).await;
    assert_eq!(removed.unwrap_err().kind(), ErrorKind::Precondition);
    let removed = store.native.remove(&bucket, &key("cold"), &if_match("cold"), cold()).await;
    removed.unwrap();
}

#[tokio::test]
async fn terms_may_name_the_etag() {
    let (store, bucket, _) = store().await;
    let terms = || Terms { etag: Some(ETag::parse("theirs")), ..Terms::default() };
    let put = publish(&store, &bucket, "k", Preconditions::default(), terms()).await.unwrap();
    assert_eq!(put.etag.as_str(), "theirs");
    let (native, cx, name) = (&store.native, &store.cx, key("k"));
    let note = Some("a note".to_owned());
    let upload = native.create_upload_noted(&bucket, &name, CreateUpload::default(), note.clone(), |_| Vec::new()).await.unwrap();
    assert_eq!(native.upload_note(&bucket, &name, &upload).await.unwrap(), note);
    let number = umbra_core::PartNumber::new(1).unwrap();
    let part = PartAddress { key: &name, upload: &upload, number };
    let inline = native.ingest(&bucket, None, Body::from_bytes("small"), Integrity::default()).await.unwrap();
    let stored = native.publish_part(&bucket, part, inline).await.unwrap();
    assert_eq!(native.upload_note(&bucket, &name, &upload).await.unwrap(), note, "parts leave the note alone");
    let parts = vec![CompletedPart { number, etag: stored.etag, checksum: None }];
    let options = CompleteUpload { parts, ..CompleteUpload::default() };
    let plan = native.plan_completion(&bucket, &name, &upload, &options).await.unwrap();
    assert!(!plan.is_done() && plan.size() == 5 && plan.etag().part_count() == Some(1));
    let put = native.commit_completion(&bucket, &name, plan, &Preconditions::default(), terms()).await.unwrap();
    assert_eq!(put.etag.as_str(), "theirs");
    assert_eq!(native.head(cx, &bucket, &name, GetOptions::default()).await.unwrap().etag.as_str(), "theirs");
    let again = native.plan_completion(&bucket, &name, &upload, &options).await.unwrap();
    assert!(again.is_done() && *again.etag() == put.etag);
    let terms = Terms { writes: vec![tombstone("again")], ..Terms::default() };
    assert_eq!(native.commit_completion(&bucket, &name, again, &Preconditions::default(), terms).await.unwrap(), put);
    assert!(has_tombstone(&store, &bucket, "again").await, "terms are committed though nothing was left to do");
}

fn identity(size: u64) -> Identity {
    let info = ObjectInfo {
        size,
        etag: ETag::parse("0123-2"),
        last_modified: Timestamp::from_millis(1_000),
        headers: SystemHeaders { content_type: Some("a/b".to_owned()), ..SystemHeaders::default() },
        metadata: UserMetadata::new([("a".to_owned(), "b".to_owned())]),
        checksums: vec![Checksum::parse(ChecksumAlgorithm::Crc32, "y/Q5Jg==").unwrap()],
        parts: vec![PartInfo { number: 1, size: size - 1, checksums: vec![] }, PartInfo { number: 2, size: 1, checksums: vec![] }],
        tag_count: 1,
        tags: None,
        attributes: umbra_core::Attributes::default(),
        version: umbra_core::VersionId::Null,
        source: ReadSource::Origin,
    };
    Identity { info, tags: Tags::new([("c".to_owned(), "d".to_owned())]), hydrated: Timestamp::from_millis(2_000), is_written: false }
}

async fn publish_copy(store: &Store, bucket: &Bucket, replaces: Option<Revision>, terms: Terms) -> Result<()> {
    let content = store.native.ingest(bucket, None, Body::from_bytes(content(10_000, 9)), Integrity::default()).await?;
    store.native.publish_copy(bucket, &key("k"), content, identity(10_000), replaces, terms).await
}

#[tokio::test]
async fn a_copy_keeps_its_identity() {
    let (store, bucket, memory) = store().await;
    publish_copy(&store, &bucket, None, Terms::default()).await.unwrap();
    let Stored { object, revision } = store.native.find(&bucket, &key("k")).await.unwrap().unwrap();
    let expected = identity(10_000);
    assert_eq!(object.hydrated, Some(expected.hydrated));
    let info = store.native.head(&store.cx, &bucket, &key("k"), GetOptions::default()).await.unwrap();
    assert_eq!(info, ObjectInfo { source: ReadSource::Local, tags: Some(expected.tags.clone()), ..expected.info });
    assert_eq!(store.native.tags(&store.cx, &bucket, &key("k"), None).await.unwrap().0, expected.tags);
    assert!(store.get(&bucket, "k").await.unwrap() == content(10_000, 9));

    for stale in [None, Some(Revision(u64::MAX))] {
        let kind = publish_copy(&store, &bucket, stale, Terms::default()).await.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Conflict, "{stale:?}");
    }
    let refused = Terms { checks: vec![needs_tombstone("k")], ..Terms::default() };
    assert_eq!(publish_copy(&store, &bucket, Some(revision), refused).await.unwrap_err().kind(), ErrorKind::Conflict);
    settled().await;
    assert_eq!(memory.len(), 1, "copies that lost are discarded");
    publish_copy(&store, &bucket, Some(revision), Terms::default()).await.unwrap();
    assert_eq!(store.reclaim_and_audit(&bucket).await, 1);
    assert_eq!(memory.len(), 1);
    store.native.delete(&store.cx, &bucket, &key("k"), Default::default()).await.unwrap();
    assert_eq!(publish_copy(&store, &bucket, Some(revision), Terms::default()).await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// A copy in the place of a copy keeps who may read it and what keeps it; what a client wrote has none but its own.
#[tokio::test]
async fn a_copy_keeps_what_was_added_here() {
    let (store, bucket, _) = store().await;
    publish_copy(&store, &bucket, None, Terms::default()).await.unwrap();
    let acl = Some(Acl { owner: "acme".to_owned(), grants: Vec::new() });
    store.native.replace_acl(&bucket, &key("k"), None, AclChange::to(acl.clone())).await.unwrap();
    for (is_written, expected) in [(false, acl), (true, None)] {
        let revision = store.native.find(&bucket, &key("k")).await.unwrap().unwrap().revision;
        let identity = Identity { is_written, ..identity(10_000) };
        let content = store.native.ingest(&bucket, None, Body::from_bytes(content(10_000, 9)), Integrity::default()).await.unwrap();
        store.native.publish_copy(&bucket, &key("k"), content, identity, Some(revision), Terms::default()).await.unwrap();
        let object = store.native.find(&bucket, &key("k")).await.unwrap().unwrap().object;
        assert_eq!((object.attributes.acl, object.version), (expected, Version::default()), "{is_written}");
    }
    assert_eq!(suite::audit(&*store.meta, bucket.partition).await.objects, 1);
}

/// Nothing that is a version, or was written here, goes when a copy comes.
#[tokio::test]
async fn a_copy_takes_the_place_of_copies_alone() {
    for (is_written, is_copy, left) in [(false, true, 1), (true, true, 2), (false, false, 2), (true, false, 2)] {
        let (store, bucket, _) = store().await;
        if is_copy {
            publish_copy(&store, &bucket, None, Terms::default()).await.unwrap();
        } else {
            store.put(&bucket, "k", &content(10, 1)).await.unwrap();
        }
        let enable = &mut |settings: &mut BucketSettings| {
            settings.versioning = Versioning::Enabled;
            Ok(())
        };
        let bucket = store.catalog.update_bucket(&bucket, enable).await.unwrap();
        let revision = store.native.find(&bucket, &key("k")).await.unwrap().unwrap().revision;
        let identity = Identity { is_written, ..identity(10_000) };
        let copy = store.native.ingest(&bucket, None, Body::from_bytes(content(10_000, 9)), Integrity::default()).await.unwrap();
        store.native.publish_copy(&bucket, &key("k"), copy, identity, Some(revision), Terms::default()).await.unwrap();
        let listed = store.native.list_versions(&store.cx, &bucket, ListVersions { limit: 9, ..ListVersions::default() }).await.unwrap();
        let names: Vec<_> = listed.versions.iter().map(|listed| listed.version).collect();
        assert_eq!((names.len(), names.last()), (left, Some(&umbra_core::VersionId::Null)), "{is_written} {is_copy}");
        assert!(store.get(&bucket, "k").await.unwrap() == content(10_000, 9));
        assert_eq!(suite::audit(&*store.meta, bucket.partition).await.objects, i64::try_from(left).unwrap());
    }
}

#[tokio::test]
async fn a_write_beats_a_copy_that_began_before_it() {
    let (store, bucket, _) = store().await;
    let copy = store.native.ingest(&bucket, None, Body::from_bytes(content(10_000, 9)), Integrity::default()).await.unwrap();
    store.put(&bucket, "k", &content(20, 1)).await.unwrap();
    let lost = store.native.publish_copy(&bucket, &key("k"), copy, identity(10_000), None, Terms::default()).await;
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.get(&bucket, "k").await.unwrap(), content(20, 1));
    assert_eq!(suite::audit(&*store.meta, bucket.partition).await.bytes, 20);
    let absent = store.native.upload_note(&bucket, &key("k"), &umbra_core::UploadId::parse("x")).await;
    assert_eq!(absent.unwrap_err().kind(), ErrorKind::NotFound(Entity::Upload));
}

/// Content that is made of blobs which other rows name is not deleted when it is not published.
#[tokio::test]
async fn assembled_content_belongs_to_its_rows() {
    let (store, bucket, memory) = store().await;
    let whole = content(30_000, 3);
    let mut extents = Vec::new();
    for piece in [whole.slice(..10_000), whole.slice(10_000..)] {
        let stored = store.blobs.put(vec![piece]).await.unwrap();
        extents.push(umbra_store::Extent::plain(stored.id, stored.size));
    }
    let assembled = || umbra_store::Content::assembled(extents.clone(), [0; 16], vec![]);
    drop(assembled());
    let refused = Terms { checks: vec![needs_tombstone("k")], ..Terms::default() };
    let lost = store.native.publish_copy(&bucket, &key("k"), assembled(), identity(30_000), None, refused).await;
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::Conflict);
    settled().await;
    assert_eq!(memory.len(), 2);
    store.native.publish_copy(&bucket, &key("k"), assembled(), identity(30_000), None, Terms::default()).await.unwrap();
    assert!(store.get(&bucket, "k").await.unwrap() == whole);
}

/// Notes can come after what they are beside; a note is never for another part than the one that was read.
#[tokio::test]
async fn uploads_and_parts_are_noted_later() {
    let (store, bucket, _) = store().await;
    let (native, name) = (&store.native, key("k"));
    let upload = native.create_upload(&store.cx, &bucket, &name, CreateUpload::default()).await.unwrap();
    let part = PartAddress { key: &name, upload: &upload, number: umbra_core::PartNumber::new(7).unwrap() };
    let put = async |content: Vec<u8>| {
        let content = native.ingest(&bucket, None, Body::from_bytes(content), Integrity::default()).await.unwrap();
        native.publish_part(&bucket, part, content).await.unwrap()
    };
    assert_eq!(native.open_part(&bucket, part).await.unwrap_err().kind(), ErrorKind::NotFound(Entity::Part));
    for size in [0, 5, 100_000] {
        let content = content(size, 3);
        put(content.to_vec()).await;
        let opened = native.open_part(&bucket, part).await.unwrap();
        assert_eq!((opened.note.clone(), opened.size), (None, size as u64));
        let (body, noting) = opened.into_body();
        assert!(body.collect(usize::MAX).await.unwrap() == content);
        native.note_part(&bucket, part, noting, "noted".to_owned()).await.unwrap();
        let again = native.open_part(&bucket, part).await.unwrap();
        assert_eq!(again.note.as_deref(), Some("noted"));
        let (_, stale) = again.into_body();
        let stored = put(b"another".to_vec()).await;
        let late = native.note_part(&bucket, part, stale, "late".to_owned()).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Conflict);
        let parts = vec![CompletedPart { number: part.number, etag: stored.etag, checksum: None }];
        let plan = native.plan_completion(&bucket, &name, &upload, &CompleteUpload { parts, ..CompleteUpload::default() }).await.unwrap();
        assert_eq!(plan.parts(), [(part.number, None)]);
    }
    for (note, writes) in [("first", vec![tombstone("first")]), ("second", vec![tombstone("second")])] {
        assert_eq!(native.note_upload(&bucket, &name, &upload, note.to_owned(), writes).await.unwrap(), "first");
    }
    assert!(has_tombstone(&store, &bucket, "first").await && !has_tombstone(&store, &bucket, "second").await);
}
