//! Listings of uploads in progress.

use std::collections::BTreeSet;

use umbra_core::UploadId;

use super::fixture::{Fixture, content};
use crate::{CreateUpload, ListUploads, UploadsPage};

const KEYS: [&str; 12] = ["a", "a", "a", "a/1", "a/1", "a/2", "a/b/3", "a0", "b\0", "b\0/", "ü/4", "ü/4"];

type Uploads = BTreeSet<(String, String)>;

pub(super) async fn run(fixture: &Fixture) {
    assert_eq!(list(fixture, &ListUploads { limit: 10, ..ListUploads::default() }).await, UploadsPage::default());
    let mut uploads = Uploads::new();
    for name in KEYS {
        let upload = fixture.begin(name, CreateUpload::default()).await;
        fixture.part(name, &upload, 1, &content(1, 1)).await;
        uploads.insert((name.to_owned(), upload.as_str().to_owned()));
    }
    for prefix in ["", "a", "a/", "a/b", "b", "ü/4", "x"] {
        for delimiter in ["", "/", "0", "/b/"] {
            for limit in [1, 2, 3, 5, 100] {
                walk(fixture, &uploads, prefix, delimiter, limit).await;
            }
        }
    }
    markers(fixture, &uploads).await;
    assert_eq!(list(fixture, &ListUploads::default()).await, UploadsPage::default(), "an empty page is not truncated");
    over(fixture, &uploads).await;
}

async fn list(fixture: &Fixture, options: &ListUploads) -> UploadsPage {
    fixture.objects.list_uploads(&fixture.cx, &fixture.bucket, options.clone()).await.expect("uploads are listed")
}

/// Follows the markers from the first page to the last.
async fn walk(fixture: &Fixture, uploads: &Uploads, prefix: &str, delimiter: &str, limit: usize) {
    let mut options = ListUploads { prefix: prefix.to_owned(), delimiter: delimiter.to_owned(), limit, ..ListUploads::default() };
    loop {
        let page = list(fixture, &options).await;
        check(uploads, &options, &page);
        if !page.truncated {
            return;
        }
        let upload = page.uploads.last().map(|upload| (upload.key.as_str().to_owned(), Some(upload.upload.clone())));
        let prefix = page.common_prefixes.last().map(|prefix| (prefix.clone(), None));
        let (key_marker, upload_marker) = upload.max(prefix).expect("a truncated page is not empty");
        options = ListUploads { key_marker: Some(key_marker), upload_marker, ..options };
    }
}

/// Markers need not name anything that exists.
async fn markers(fixture: &Fixture, uploads: &Uploads) {
    let ids: Vec<_> = uploads.iter().map(|(_, id)| Some(UploadId::parse(id))).collect();
    for key_marker in ["", "Z", "a", "a/", "a/1", "a/11", "b\0", "ü/4", "\u{10ffff}"] {
        for upload_marker in [None, Some(UploadId::parse("")), Some(UploadId::parse("0")), ids[1].clone(), Some(UploadId::parse("zz"))] {
            for delimiter in ["", "/"] {
                let options = ListUploads {
                    delimiter: delimiter.to_owned(),
                    key_marker: Some(key_marker.to_owned()),
                    upload_marker: upload_marker.clone(),
                    limit: 100,
                    ..ListUploads::default()
                };
                check(uploads, &options, &list(fixture, &options).await);
            }
        }
    }
}

async fn over(fixture: &Fixture, uploads: &Uploads) {
    for (name, id) in uploads {
        fixture.abort(name, &UploadId::parse(id)).await.expect("it is aborted");
    }
    assert_eq!(list(fixture, &ListUploads { limit: 100, ..ListUploads::default() }).await, UploadsPage::default());
}

/// A name, the upload unless it is a common prefix.
type Item = (String, Option<String>);

fn check(uploads: &Uploads, options: &ListUploads, page: &UploadsPage) {
    let got_uploads = page.uploads.iter().map(|upload| (upload.key.as_str().to_owned(), Some(upload.upload.as_str().to_owned())));
    let got_uploads: Vec<Item> = got_uploads.collect();
    let mut got: Vec<Item> = page.common_prefixes.iter().map(|prefix| (prefix.clone(), None)).collect();
    assert!(got_uploads.is_sorted() && got.is_sorted(), "{options:?}");
    got.extend(got_uploads);
    got.sort();
    let expected = model(uploads, options);
    let truncated = expected.len() > options.limit;
    let expected: Vec<_> = expected.into_iter().take(options.limit).collect();
    assert_eq!((got, page.truncated), (expected, truncated), "{options:?}");
}

fn model(uploads: &Uploads, options: &ListUploads) -> BTreeSet<Item> {
    let ListUploads { prefix, delimiter, .. } = options;
    let rolled = |(key, id): &(String, String)| {
        let rest = key.strip_prefix(prefix.as_str())?;
        let at = if delimiter.is_empty() { None } else { rest.find(delimiter.as_str()) };
        Some(match at {
            Some(at) => (key[..prefix.len() + at + delimiter.len()].to_owned(), None),
            None => (key.clone(), Some(id.clone())),
        })
    };
    let marker = options.key_marker.as_deref().filter(|marker| !marker.is_empty());
    let upload_marker = options.upload_marker.as_ref().map(UploadId::as_str).filter(|marker| !marker.is_empty());
    let is_behind = |(name, id): &Item| match (marker, upload_marker, id) {
        (None, ..) => true,
        (Some(marker), Some(upload), Some(id)) => (name.as_str(), id.as_str()) > (marker, upload),
        (Some(marker), ..) => name.as_str() > marker,
    };
    uploads.iter().filter_map(rolled).filter(is_behind).collect()
}
