//! The tour: what a user of the new bucket does, and what that moves.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{TryStreamExt, future::try_join_all};
use http::HeaderMap;
use umbra_admin::api::ShadowStatusView;
use umbra_client::{GetOptions, ListOptions, S3Client};

use super::{samples, side::Side};
use crate::cli::{
    Failure, Outcome, out,
    table::{bytes, table},
};

/// What providers commonly charge for what leaves them, in millionths of a dollar per gigabyte: $0.09.
const PRICE_MICRODOLLARS: u64 = 90_000;
/// Readers of the film at once.
const READERS: usize = 5;
/// How long a copy may take to become the object after its last byte was read.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
const SETTLE_INTERVAL: Duration = Duration::from_millis(5);

/// Shows what moves when the new bucket is used.
pub(super) async fn tour(old: &Side, new: &Side) -> Outcome {
    let (objects, total) = count(&old.bucket).await?;
    out::line(format_args!("An old provider at {} holds the bucket photos: {objects} objects, {}.", old.created.endpoint, bytes(total)))?;
    out::line(format_args!("Umbra at {} has a new bucket photos in front of it. Nothing was copied yet.\n", new.created.endpoint))?;
    list(&new.bucket).await?;
    let read = read(&new.bucket).await?;
    write(old, new).await?;
    let status = new.admin.bucket_status("photos").await?;
    let shadow = status.shadow.ok_or_else(|| Failure::new("the demo's bucket has lost its shadow"))?;
    out::text_of(summary(&shadow, read, (objects, total)))
}

async fn list(bucket: &S3Client) -> Outcome {
    let (objects, total) = count(bucket).await?;
    out::line(format_args!("1. Listing the new bucket shows everything at once: {objects} objects, {}.\n", bytes(total)))
}

async fn count(bucket: &S3Client) -> Outcome<(u64, u64)> {
    let page = bucket.list_objects_v2(&ListOptions::default()).await?;
    Ok((page.objects.len() as u64, page.objects.iter().map(|object| object.size).sum()))
}

/// Reads, and tells how many bytes were read.
async fn read(bucket: &S3Client) -> Outcome<u64> {
    out::line(format_args!("2. Reading moves what is read, once. {READERS} people ask for the same film at the same moment:\n"))?;
    let mut answers = try_join_all((0..READERS).map(|_| get(bucket, samples::FILM))).await?;
    settled(bucket, samples::FILM).await?;
    answers.push(get(bucket, samples::PICTURE).await?);
    settled(bucket, samples::PICTURE).await?;
    for key in [samples::FILM, samples::PICTURE] {
        answers.push(get(bucket, key).await?);
    }
    let rows: Vec<_> = answers.iter().map(Answered::row).collect();
    out::text_of(format_args!("{}\n", table(&["  Read", "Size", "Came from", "Took"], &rows)))?;
    Ok(answers.iter().map(|answer| answer.size).sum())
}

async fn write(old: &Side, new: &Side) -> Outcome {
    let content = Bytes::from_static(b"Written after the move began.\n");
    samples::put(&new.bucket, samples::DOCUMENT, content, "text/plain").await?;
    let (here, there) = (get(&new.bucket, samples::DOCUMENT).await?, get(&old.bucket, samples::DOCUMENT).await?);
    out::line(format_args!(
        "3. Writing goes to the new bucket: {} is now {} here. The old provider still has its {}, untouched.\n",
        samples::DOCUMENT,
        bytes(here.size),
        bytes(there.size)
    ))
}

/// How an object was answered.
struct Answered {
    key: &'static str,
    size: u64,
    from_origin: bool,
    took: Duration,
}

impl Answered {
    fn row(&self) -> Vec<String> {
        let source = if self.from_origin { "the old provider" } else { "here" };
        vec![format!("  {}", self.key), bytes(self.size), source.to_owned(), format!("{:.1} ms", self.took.as_secs_f64() * 1000.0)]
    }
}

async fn get(bucket: &S3Client, key: &'static str) -> Outcome<Answered> {
    let began = Instant::now();
    let answer = bucket.get_object(key, &GetOptions::default()).await?;
    let from_origin = is_from_origin(&answer.headers);
    let size = answer.body.into_stream().try_fold(0, async |sum, chunk| Ok(sum + chunk.len() as u64)).await?;
    Ok(Answered { key, size, from_origin, took: began.elapsed() })
}

fn is_from_origin(headers: &HeaderMap) -> bool {
    headers.get("x-tigris-read-source").is_some_and(|source| source == "block_shadow")
}

/// Waits until the copy of `key` is the object here.
async fn settled(bucket: &S3Client, key: &str) -> Outcome {
    let settled = async {
        while is_from_origin(&bucket.head_object(key, &GetOptions::default()).await?) {
            tokio::time::sleep(SETTLE_INTERVAL).await;
        }
        Ok(())
    };
    let late = |_| Failure::new(format!("{key} was read, but does not arrive"));
    tokio::time::timeout(SETTLE_TIMEOUT, settled).await.map_err(late)?
}

/// What moved, and what it cost. `read` is how many bytes were read; `all` is what the old provider held, objects and bytes.
fn summary(shadow: &ShadowStatusView, read: u64, all: (u64, u64)) -> String {
    let mut shown =
        format!("So far {} of {} objects moved. At $0.09 per GB that leaves the old provider:\n", shadow.hydrated_objects, all.0);
    let costs =
        [("what left it so far", shadow.origin_bytes), ("the same reads without a copy", read), ("a copy of everything beforehand", all.1)];
    for (what, count) in costs {
        shown.push_str(&format!("  {what:<32}  {:>9}  {}\n", bytes(count), price(count)));
    }
    shown.push_str("Every byte leaves the old provider at most once; what nobody asks for can follow later, or stay.\n");
    shown
}

/// The price of so many bytes leaving a provider.
fn price(count: u64) -> String {
    let microdollars = u128::from(count) * u128::from(PRICE_MICRODOLLARS) / 1_000_000_000;
    format!("${}.{:06}", microdollars / 1_000_000, microdollars % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::price;

    #[test]
    fn prices_are_told_in_dollars() {
        assert_eq!(price(0), "$0.000000");
        assert_eq!(price(1_000_000), "$0.000090");
        assert_eq!(price(10_000_000_000_000), "$900.000000");
    }
}
