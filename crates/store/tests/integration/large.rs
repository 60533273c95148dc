//! Large bodies in little memory, and the object of the most and largest parts.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use umbra_blob::BlobId;
use umbra_core::{Body, ChecksumAlgorithm, Error, ErrorKind, Fault, PartNumber, Preconditions, RangeSpec, limits};
use umbra_meta::key as row;
use umbra_store::{
    CompleteUpload, CompletedPart, Content, CopyOptions, CopyPartOptions, CreateUpload, DeleteOptions, Extent, GetOptions, Integrity,
    NewObject, Objects, PartAddress, PutOptions, Terms, copy, copy_part, suite,
};

use crate::engines::{Store, content, key};

/// A chunk that is counted while it lives.
struct Counted {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl Counted {
    fn new(bytes: Vec<u8>, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(bytes.len(), Ordering::SeqCst);
        Self { bytes, alive: Arc::clone(alive) }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(self.bytes.len(), Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_body_is_never_held_whole() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 400;
    for (store, announced) in [(Store::in_memory().await, true), (Store::on_disk().await, false)] {
        let bucket = store.bucket().await;
        let (alive, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let chunks = {
            let (alive, peak) = (Arc::clone(&alive), Arc::clone(&peak));
            stream::iter(0..CHUNKS).map(move |at| {
                let chunk = Bytes::from_owner(Counted::new(vec![at as u8; CHUNK], &alive));
                peak.fetch_max(alive.load(Ordering::SeqCst), Ordering::SeqCst);
                Ok(chunk)
            })
        };
        let body = Body::new(announced.then_some((CHUNK * CHUNKS) as u64), chunks);
        store.native.put(&store.cx, &bucket, &key("k"), body, PutOptions::default()).await.unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0, "nothing of it is held any longer");
        let peak = peak.load(Ordering::SeqCst);
        // 1 MiB on its way to the disk, 3/4 MiB gathered behind it, and a block of at most 1/4 MiB in the reader's hand. What the digester
        // has not hashed yet is the last 1/2 MiB of the same: it holds nothing that neither of the two does, or one of them is empty.
        assert!(peak <= 2 * 1024 * 1024, "{peak} bytes were held at once");
        let expected: Vec<u8> = (0..CHUNKS).flat_map(|at| vec![at as u8; CHUNK]).collect();
        assert!(store.get(&bucket, "k").await.unwrap() == expected);
    }
}

/// An object of 10,000 parts of 512 MiB: 5 TiB, and then some is too much.
#[tokio::test]
async fn the_largest_object_of_the_most_parts() {
    for store in [Store::in_memory().await, Store::on_disk().await] {
        let bucket = store.bucket().await;
        let (native, cx, name) = (&store.native, &store.cx, key("huge"));
        let sum = native.ingest(&bucket, None, Body::from_bytes("x"), Integrity::default()).await.unwrap().checksums;
        assert_eq!(sum[0].algorithm, ChecksumAlgorithm::Crc64Nvme);
        let upload = native.create_upload(cx, &bucket, &name, CreateUpload::default()).await.unwrap();
        let size = limits::OBJECT_BYTES_MAX / u64::from(limits::PARTS_MAX);
        let store_part = async |number: u16, size: u64| {
            let blob = [&number.to_be_bytes()[..], &size.to_be_bytes()].concat();
            let extent = Extent::plain(BlobId::from_bytes(&blob), size);
            let number = PartNumber::new(number.into())?;
            let part = PartAddress { key: &name, upload: &upload, number };
            let etag = native.publish_part(&bucket, part, Content::assembled(vec![extent], [7; 16], sum.clone())).await?.etag;
            Ok::<_, Error>(CompletedPart { number, etag, checksum: None })
        };
        // 10,000 parts of that size are a little less than 5 TiB.
        let surplus = |number| if number == limits::PARTS_MAX { u64::from(limits::PARTS_MAX) } else { 0 };
        let all = stream::iter(1..=limits::PARTS_MAX).map(|number| store_part(number, size + surplus(number))).buffered(500);
        let mut parts: Vec<_> = all.try_collect().await.unwrap();
        let options = CompleteUpload { parts: parts.clone(), ..CompleteUpload::default() };
        let refused = native.complete_upload(cx, &bucket, &name, &upload, options).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid(Fault::EntityTooLarge));
        parts[usize::from(limits::PARTS_MAX) - 1] = store_part(limits::PARTS_MAX, size).await.unwrap();
        let options = CompleteUpload { parts, ..CompleteUpload::default() };
        let put = native.complete_upload(cx, &bucket, &name, &upload, options.clone()).await.unwrap();
        assert_eq!(put.size, size * u64::from(limits::PARTS_MAX));
        assert_eq!(native.complete_upload(cx, &bucket, &name, &upload, options).await.unwrap(), put);
        let entry = store.meta.get(bucket.partition, &row::object(&name)).await.unwrap().unwrap();
        assert!(entry.head.len() < 100 && entry.body.len() < 700_000, "{} and {} bytes", entry.head.len(), entry.body.len());
        let head = native.head(cx, &bucket, &name, GetOptions::default()).await.unwrap();
        assert_eq!(head.parts.len(), usize::from(limits::PARTS_MAX));
        let books = suite::audit(&*store.meta, bucket.partition).await;
        assert_eq!((books.objects, books.blobs.len()), (1, usize::from(limits::PARTS_MAX)));
        let part = GetOptions { part_number: Some(PartNumber::new(10_000).unwrap()), ..GetOptions::default() };
        native.head(cx, &bucket, &name, part).await.unwrap();
        native.delete(cx, &bucket, &name, DeleteOptions::default()).await.unwrap();
        assert_eq!(suite::audit(&*store.meta, bucket.partition).await.reclaimed.len(), usize::from(limits::PARTS_MAX) + 1);
    }
}

/// An object of more than 5 GiB is copied in parts, not at once; nothing of it is read for that.
#[tokio::test]
async fn what_is_too_large_to_copy() {
    let store = Store::in_memory().await;
    let bucket = store.bucket().await;
    let (native, cx, from, to) = (&store.native, &store.cx, key("from"), key("to"));
    let upload = native.create_upload(cx, &bucket, &to, CreateUpload::default()).await.unwrap();
    let begin = store.blobs.put(vec![content(10_000, 1)]).await.unwrap();
    for size in [limits::PUT_BYTES_MAX, limits::PUT_BYTES_MAX + 1] {
        let rest = Extent::plain(BlobId::from_bytes(b"missing"), size - begin.size);
        let missing = Content::assembled(vec![Extent::plain(begin.id.clone(), begin.size), rest], [0; 16], vec![]);
        native.publish(&bucket, &from, missing, NewObject::default(), &Preconditions::default(), Terms::default()).await.unwrap();
        let copied = copy(native, cx, (&bucket, &from), (&bucket, &to), CopyOptions::default()).await.map(drop);
        let part = PartAddress { key: &to, upload: &upload, number: PartNumber::new(1).unwrap() };
        let part = copy_part(native, cx, (&bucket, &from), &bucket, part, CopyPartOptions::default()).await.map(drop);
        for copied in [copied, part] {
            let is_refused = copied.unwrap_err().kind() == ErrorKind::Invalid(Fault::InvalidRequest);
            assert_eq!(is_refused, size > limits::PUT_BYTES_MAX, "the content of what is not too large is missing");
        }
    }
}

/// A range deep inside an object of several blobs reads those it touches and no other.
#[tokio::test]
async fn a_range_reads_only_what_it_touches() {
    let store = Store::in_memory().await;
    let bucket = store.bucket().await;
    let stored = store.blobs.put(vec![content(10_000, 1)]).await.unwrap();
    let missing = |id: &[u8]| Extent::plain(BlobId::from_bytes(id), 1 << 40);
    let extents = vec![missing(b"before"), Extent::plain(stored.id, stored.size), missing(b"behind")];
    let native = &store.native;
    let (name, none) = (key("k"), Preconditions::default());
    let whole = Content::assembled(extents, [0; 16], vec![]);
    native.publish(&bucket, &name, whole, NewObject::default(), &none, Terms::default()).await.unwrap();
    let range = RangeSpec::From { first: (1 << 40) + 10, last: Some((1 << 40) + 9_999) };
    let options = GetOptions { range: Some(range), ..GetOptions::default() };
    let got = native.get(&store.cx, &bucket, &name, options).await.unwrap().body.collect(usize::MAX).await.unwrap();
    assert!(got == content(10_000, 1).slice(10..));
}
