//! Makes a store of many keys out of one of a few, for benchmarks: `grow FROM TO KEY COUNT`.
//!
//! `FROM` is an export (`umbra metadata export`) of a store in which one bucket has the object `KEY` and nothing else, small enough to be kept
//! inline. `TO` is the same with `COUNT` objects like it instead, named `d00000000/k000` and so on, a thousand to a prefix.

use std::{
    env,
    error::Error,
    fs::File,
    io::{BufReader, BufWriter},
};

use bytes::Bytes;
use umbra_core::ObjectKey;
use umbra_meta::{DumpReader, DumpWriter, Entry, Partition, counter_head, counter_value, key};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const KEYS_PER_PREFIX: u64 = 1000;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [from, to, template, count] = &args[..] else { return Err("wanted: FROM TO KEY COUNT".into()) };
    let template = key::object(&ObjectKey::parse(template)?);
    let count: u64 = count.parse()?;
    let bucket = bucket_of(from, &template)?;
    let mut writer = DumpWriter::new(BufWriter::new(File::create(to)?))?;
    let mut reader = DumpReader::new(BufReader::new(File::open(from)?))?;
    while let Some((partition, row)) = reader.next_row()? {
        if (partition, &row.key[..]) == (bucket, &template[..]) {
            for number in 0..count {
                writer.add(partition, &Entry { key: key_of(number)?, ..row.clone() })?;
            }
        } else {
            let head = if partition == bucket { grown(&row, count) } else { None };
            writer.add(partition, &Entry { head: head.unwrap_or_else(|| row.head.clone()), ..row })?;
        }
    }
    writer.finish()?;
    Ok(())
}

fn bucket_of(from: &str, template: &[u8]) -> Result<Partition> {
    let mut reader = DumpReader::new(BufReader::new(File::open(from)?))?;
    while let Some((partition, row)) = reader.next_row()? {
        if row.key == template {
            return Ok(partition);
        }
    }
    Err("there is no such object in the export".into())
}

fn key_of(number: u64) -> Result<Bytes> {
    let name = format!("d{:08}/k{:03}", number / KEYS_PER_PREFIX, number % KEYS_PER_PREFIX);
    Ok(key::object(&ObjectKey::parse(&name)?).into())
}

/// What the counters of the bucket say of so many objects.
fn grown(row: &Entry, count: u64) -> Option<Bytes> {
    let counts = ["objects", "bytes"].map(key::counter);
    let value = counter_value(&row.head).filter(|_| counts.iter().any(|counter| *counter == row.key))?;
    Some(counter_head(value * i64::try_from(count).ok()?))
}
