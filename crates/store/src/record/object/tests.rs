use bytes::Bytes;
use umbra_blob::BlobId;
use umbra_core::{
    Checksum, ChecksumAlgorithm, ChecksumType, ETag, Encryption, PartInfo, SystemHeaders, Tags, Timestamp, UploadId, UserMetadata,
};
use umbra_meta::{Entry, Revision};

use super::{ObjectHead, decode, decode_head, encode};
use crate::{Completion, Extent, ObjectRecord, Pieces, Seal, Version, Wrapping, keyring::WRAPPED_LEN, record::golden};

fn plain() -> ObjectRecord {
    ObjectRecord {
        size: 5,
        etag: ETag::parse("5d41402abc4b2a76b9719d911017c592"),
        last_modified: Timestamp::from_millis(1_700_000_000_123),
        headers: SystemHeaders::default(),
        metadata: UserMetadata::default(),
        tags: Tags::default(),
        attributes: umbra_core::Attributes::default(),
        checksums: vec![Checksum::parse(ChecksumAlgorithm::Crc64Nvme, "M3eFcAZSQlc=").unwrap()],
        parts: vec![],
        content: Pieces::Inline(Bytes::from_static(b"hello")),
        hydrated: None,
        completion: None,
        version: Version::default(),
    }
}

fn full() -> ObjectRecord {
    let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
    let some = |text: &str| Some(text.to_owned());
    let part = |number, size| PartInfo {
        number,
        size,
        checksums: vec![Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumType::FullObject, value: "y/Q5Jg==".to_owned() }],
    };
    ObjectRecord {
        size: 5_242_881,
        etag: ETag::parse("5d41402abc4b2a76b9719d911017c592-2"),
        headers: SystemHeaders {
            content_type: some("text/plain"),
            cache_control: some("no-cache"),
            content_disposition: some("inline"),
            content_encoding: some("gzip"),
            content_language: some("de"),
            expires: some("0"),
            website_redirect_location: some("/elsewhere"),
            storage_class: some("STANDARD_IA"),
        },
        metadata: UserMetadata::new(pair("owner", "Zoë")),
        tags: Tags::new(pair("team", "blue")),
        checksums: vec![Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumType::Composite, value: "y/Q5Jg==-2".to_owned() }],
        parts: vec![part(1, 5_242_880), part(10_000, 1)],
        content: Pieces::Extents(vec![Extent::plain(BlobId::from_bytes(b"one"), 5_242_880), Extent::plain(BlobId::from_bytes(b"two"), 1)]),
        hydrated: Some(Timestamp::from_millis(1_700_000_000_456)),
        completion: Some(Completion { upload: UploadId::parse("0123"), fingerprint: [9; 16] }),
        ..plain()
    }
}

fn named() -> ObjectRecord {
    ObjectRecord { version: Version { sequence: 1_700_000_000_123, nonce: Some(u64::MAX), is_marker: false }, ..full() }
}

fn null_marker() -> ObjectRecord {
    ObjectRecord { version: Version { sequence: 1_700_000_000_123, nonce: None, is_marker: true }, ..plain() }
}

fn seal(wrapping: Wrapping) -> Box<Seal> {
    Box::new(Seal { wrapping, wrapped: [7; WRAPPED_LEN] })
}

fn with(encryption: Encryption, content: Pieces, object: ObjectRecord) -> ObjectRecord {
    let attributes = umbra_core::Attributes { encryption: Some(encryption), ..umbra_core::Attributes::default() };
    ObjectRecord { attributes, content, ..object }
}

/// Encrypted with a named key, but for what came in before that was asked for.
fn sealed() -> ObjectRecord {
    let named = Encryption::Kms { key: "alias/one".to_owned(), dual: true, bucket_key: true, context: Some("e30=".to_owned()) };
    let extents = vec![
        Extent { seal: Some(seal(Wrapping::Named("one".to_owned()))), ..Extent::plain(BlobId::from_bytes(b"one"), 5_242_880) },
        Extent::plain(BlobId::from_bytes(b"two"), 1),
    ];
    with(named, Pieces::Extents(extents), full())
}

fn sealed_inline() -> ObjectRecord {
    let content = Pieces::SealedInline(Bytes::from_static(b"not hello, and its tag"), seal(Wrapping::Customer));
    ObjectRecord { size: 6, ..with(Encryption::Customer { key_md5: "DWygnHRtgiJ77HCm+1rvHw==".to_owned() }, content, plain()) }
}

/// To live in some regions only.
fn narrowed(to: &str) -> ObjectRecord {
    let narrowed = Some(umbra_core::Narrowed::parse(to).unwrap());
    ObjectRecord { attributes: umbra_core::Attributes { narrowed, ..umbra_core::Attributes::default() }, ..full() }
}

fn entry(head: &[u8], body: &[u8]) -> Entry {
    Entry { key: "o/k".into(), revision: Revision(1), head: head.to_vec().into(), body: body.to_vec().into() }
}

#[test]
fn every_released_format_is_read() {
    for (name, object) in [
        ("object/v1", full()),
        ("object/v1-inline", plain()),
        ("object/v1-version", named()),
        ("object/v1-marker", null_marker()),
        ("object/v1-sealed", sealed()),
        ("object/v1-sealed-inline", sealed_inline()),
        ("object/v1-narrowed", narrowed("fra,us-east-1")),
        ("object/v1-narrowed-geography", narrowed("multi:eur")),
    ] {
        let (head, body) = encode(&object);
        let head = golden::check(&format!("{name}-head"), Some(&head));
        let body = golden::check(name, Some(&body));
        assert_eq!(decode(&entry(&head, &body)).unwrap(), object, "{name}");
    }
}

#[test]
fn a_head_is_all_a_listing_needs_and_small() {
    let (head, _) = encode(&named());
    assert!(head.len() <= 100, "{}", head.len());
    let full = named();
    let expected = ObjectHead {
        size: full.size,
        etag: full.etag,
        last_modified: full.last_modified,
        storage_class: full.headers.storage_class,
        version: full.version,
    };
    assert_eq!(decode_head(&head).unwrap(), expected);
}

#[test]
fn damage_is_refused() {
    for object in [plain(), full()] {
        let (head, body) = encode(&object);
        golden::check_refusals(&head, decode_head);
        golden::check_refusals(&body, |body| decode(&entry(&head, body)));
        let (head, body) = encode(&ObjectRecord { size: object.size + 1, ..object });
        assert!(decode(&entry(&head, &body)).is_err());
    }
}

#[test]
fn the_largest_object_of_most_parts_has_a_bearable_record() {
    let checksum = Checksum::parse(ChecksumAlgorithm::Crc64Nvme, "rosUhgp5mIg=").unwrap();
    let size = 512 * 1024 * 1024;
    let part = |number| PartInfo { number, size, checksums: vec![checksum.clone()] };
    let object = ObjectRecord {
        size: size * 10_000,
        parts: (1..=10_000).map(part).collect(),
        content: Pieces::Extents(vec![Extent::plain(BlobId::from_bytes(&[7; 24]), size); 10_000]),
        ..full()
    };
    let (head, body) = encode(&object);
    assert!(head.len() <= 100);
    assert!(body.len() <= 700_000, "{}", body.len());
    assert_eq!(decode(&entry(&head, &body)).unwrap(), object);
}
