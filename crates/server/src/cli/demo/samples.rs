//! What the old provider holds: a small collection of pictures, films and documents.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use umbra_client::S3Client;
use umbra_core::Body;

use crate::cli::{Failure, Outcome};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The film that many want to see at once.
pub(super) const FILM: &str = "films/harbour.mp4";
/// A picture that is looked at.
pub(super) const PICTURE: &str = "pictures/2024/dunes-03.jpg";
/// A document that is written anew.
pub(super) const DOCUMENT: &str = "documents/readme.txt";

struct Sample {
    key: String,
    size: usize,
    kind: &'static str,
}

/// The objects, in the order of their keys.
fn samples() -> Vec<Sample> {
    let sample = |key: String, size, kind| Sample { key, size, kind };
    let documents =
        [("contract.pdf", 180 * KIB, "application/pdf"), ("inventory.csv", 64 * KIB, "text/csv"), ("readme.txt", KIB, "text/plain")];
    let films = [("harbour.mp4", 6 * MIB, "video/mp4"), ("night-train.mp4", 5 * MIB, "video/mp4"), ("tides.mp4", 4 * MIB, "video/mp4")];
    let pictures = [("2023", "coast"), ("2024", "dunes")].into_iter().flat_map(|(year, place)| {
        (1..=7).map(move |number| (format!("pictures/{year}/{place}-{number:02}.jpg"), (300 + 40 * number) * KIB))
    });
    let documents = documents.into_iter().map(|(name, size, kind)| sample(format!("documents/{name}"), size, kind));
    let films = films.into_iter().map(|(name, size, kind)| sample(format!("films/{name}"), size, kind));
    documents.chain(films).chain(pictures.map(|(key, size)| sample(key, size, "image/jpeg"))).collect()
}

/// Puts the samples into `bucket`.
pub(super) async fn fill(bucket: &S3Client) -> Outcome {
    for Sample { key, size, kind } in samples() {
        put(bucket, &key, content(&key, size), kind).await?;
    }
    Ok(())
}

/// Puts one object.
pub(super) async fn put(bucket: &S3Client, key: &str, content: Bytes, kind: &'static str) -> Outcome {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    let size = content.len() as u64;
    let stored = bucket.put_object(key, size, Body::from_bytes(content), &headers).await;
    stored.map(drop).map_err(|error| Failure::new(format!("put {key}")).because(&error))
}

/// Bytes that differ from key to key and do not repeat at any round distance.
fn content(key: &str, size: usize) -> Bytes {
    let seed = key.bytes().fold(0_usize, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    (0..size).map(|at| (seed.wrapping_add(at.wrapping_mul(at / 251 + 7)) >> 3) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::{DOCUMENT, FILM, PICTURE, content, samples};

    #[test]
    fn the_tour_finds_its_objects() {
        let samples = samples();
        assert_eq!(samples.len(), 20);
        assert!(samples.is_sorted_by(|a, b| a.key < b.key));
        for key in [FILM, PICTURE, DOCUMENT] {
            assert!(samples.iter().any(|sample| sample.key == key), "{key}");
        }
        assert_ne!(content("a", 1000), content("b", 1000));
        assert_eq!(content("a", 1000).len(), 1000);
    }
}
