use std::slice;

use super::*;
use crate::{
    Expect, Partition, counter_head, counter_value,
    sqlite::{
        SqliteSettings,
        schema::{Opened, open_store},
    },
};

const P: Partition = Partition(7);

struct Fixture {
    opened: Opened,
    revisions: Revisions,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let opened = open_store(&dir.path().join("meta"), &SqliteSettings::default()).unwrap();
        Self { revisions: Revisions::from_bound(opened.revision_bound), opened, _dir: dir }
    }

    fn commit(&mut self, batches: &[Batch]) -> Result<Vec<Result<Committed>>, Abandoned> {
        commit(&self.opened.conn, &mut self.revisions, batches.iter())
    }

    fn find(&self, key: &[u8]) -> Option<Entry> {
        row::find(&self.opened.conn, P, key, Projection::Full).unwrap()
    }

    fn bound(&self) -> u64 {
        let sql = "SELECT revision_bound FROM store";
        self.opened.conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
    }

    fn fill_up(&self) {
        let sql = "SELECT page_count FROM pragma_page_count()";
        let pages: i64 = self.opened.conn.query_row(sql, [], |row| row.get(0)).unwrap();
        self.opened.conn.execute_batch(&format!("PRAGMA max_page_count = {pages}")).unwrap();
    }
}

#[test]
fn a_batch_of_a_group_sees_those_before_it_and_fails_alone() {
    let mut fixture = Fixture::new();
    let create = || Batch::new(P).check(*b"k", Expect::Absent);
    let answers = fixture.commit(&[create().put(*b"k", "first", ""), create().put(*b"k", "second", ""), Batch::new(P).put(*b"l", "", "")]);
    let answers = answers.unwrap();
    let first = answers[0].as_ref().unwrap().revision;
    let Err(Error::Conflict { current, .. }) = &answers[1] else { panic!("{answers:?}") };
    assert_eq!(current.as_ref().unwrap().revision, first);
    assert!(answers[2].as_ref().unwrap().revision > first);
    assert_eq!(fixture.find(b"k").unwrap().head, "first");
    assert!(fixture.find(b"l").is_some());
}

#[test]
fn additions_of_a_group_are_merged_and_seen_by_its_checks() {
    let mut fixture = Fixture::new();
    let add = |delta| Batch::new(P).add(*b"n", delta);
    let writes_before = fixture.opened.conn.total_changes();
    let answers = fixture.commit(&[add(1), add(2), add(3).check(*b"n", Expect::Absent), add(4)]).unwrap();
    // One row for the counter, one for the revision bound.
    assert_eq!(fixture.opened.conn.total_changes() - writes_before, 2);
    let Err(Error::Conflict { current: Some(current), .. }) = &answers[2] else { panic!("{answers:?}") };
    assert_eq!((current.revision, counter_value(&current.head)), (answers[1].as_ref().unwrap().revision, Some(3)));
    let counter = fixture.find(b"n").unwrap();
    assert_eq!((counter.revision, counter_value(&counter.head)), (answers[3].as_ref().unwrap().revision, Some(7)));
}

#[test]
fn deleting_and_putting_a_counter_within_a_group_is_in_order() {
    let mut fixture = Fixture::new();
    let group = [
        Batch::new(P).add(*b"n", 5),
        Batch::new(P).delete(*b"n"),
        Batch::new(P).check(*b"n", Expect::Absent).add(*b"n", 1),
        Batch::new(P).put(*b"n", counter_head(10), ""),
        Batch::new(P).add(*b"n", 2),
    ];
    assert!(fixture.commit(&group).unwrap().iter().all(Result::is_ok));
    assert_eq!(counter_value(&fixture.find(b"n").unwrap().head), Some(12));
}

#[test]
fn a_full_disk_undoes_the_group_and_is_told() {
    let mut fixture = Fixture::new();
    fixture.commit(&[Batch::new(P).put(*b"small", "", "")]).unwrap();
    fixture.fill_up();
    let large = Batch::new(P).put(*b"large", "", vec![1; 1 << 20]);
    let abandoned = fixture.commit(&[Batch::new(P).put(*b"other", "", ""), large]).unwrap_err();
    assert!(abandoned.is_undone);
    assert_eq!(abandoned.error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    assert!(fixture.find(b"other").is_none() && fixture.find(b"large").is_none());
    assert!(fixture.commit(&[Batch::new(P).delete(*b"small")]).unwrap()[0].is_ok(), "what fits goes on");
}

#[test]
fn only_a_commit_whose_flush_failed_is_not_undone() {
    let fixture = Fixture::new();
    let conn = &fixture.opened.conn;
    let begin = || conn.execute_batch("BEGIN IMMEDIATE; INSERT INTO kv VALUES (1, x'00', 1, x'', 0, 0, x'')").unwrap();
    let error = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    begin();
    assert!(!abandon_commit(conn, error(rusqlite::ffi::SQLITE_IOERR_FSYNC)).is_undone);
    begin();
    assert!(abandon_commit(conn, error(rusqlite::ffi::SQLITE_FULL)).is_undone);
    let rows: i64 = conn.query_row("SELECT count(*) FROM kv", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn the_bound_in_the_file_is_always_above_every_revision() {
    let mut fixture = Fixture::new();
    let batch = Batch::new(P).put(*b"k", "", "");
    for _ in 0..3 {
        let revision = fixture.commit(slice::from_ref(&batch)).unwrap()[0].as_ref().unwrap().revision;
        assert!(revision.0 < fixture.bound());
    }
    // A group that is undone takes its reservation with it; the next one must reserve again.
    fixture.revisions = Revisions::from_bound(fixture.bound());
    fixture.fill_up();
    fixture.commit(&[Batch::new(P).put(*b"large", "", vec![1; 1 << 20])]).unwrap_err();
    fixture.opened.conn.execute_batch("PRAGMA max_page_count = 1000000").unwrap();
    let revision = fixture.commit(slice::from_ref(&batch)).unwrap()[0].as_ref().unwrap().revision;
    assert!(revision.0 < fixture.bound());
}
