//! Jobs: one of each kind in a bucket, and what its runs noted of single keys.

use umbra_core::ObjectKey;

use super::{joined, text_behind};
use crate::KeyRange;

const JOB: &[u8] = b"q/";
const NOTE: u8 = b'n';

/// The job of `kind`.
pub fn record(kind: u8) -> Vec<u8> {
    joined(JOB, &[kind])
}

/// Every job, each followed by its notes.
pub fn all() -> KeyRange {
    KeyRange::prefix(JOB)
}

/// What run number `run` of the job of `kind` noted of `key`.
pub fn note(kind: u8, run: u64, key: &ObjectKey) -> Vec<u8> {
    note_prefix(kind, run, key.as_str())
}

/// What the notes of a run begin with whose key begins with `prefix`.
pub fn note_prefix(kind: u8, run: u64, prefix: &str) -> Vec<u8> {
    [JOB, &[kind, NOTE], &run.to_be_bytes(), prefix.as_bytes()].concat()
}

/// The notes of a run on the keys that begin with `prefix`.
pub fn note_range(kind: u8, run: u64, prefix: &str) -> KeyRange {
    KeyRange::prefix(&note_prefix(kind, run, prefix))
}

/// The notes of every run of a kind that came before `run`.
pub fn notes_before(kind: u8, run: u64) -> KeyRange {
    KeyRange { start: note_prefix(kind, 0, ""), end: Some(note_prefix(kind, run, "")) }
}

/// The kind, the run and the key of the note that `bytes` name.
pub fn parse_note(bytes: &[u8]) -> Option<(u8, u64, &str)> {
    let [kind, NOTE, rest @ ..] = bytes.strip_prefix(JOB)? else { return None };
    let (run, key) = rest.split_first_chunk()?;
    Some((*kind, u64::from_be_bytes(*run), text_behind(b"", key)?))
}
