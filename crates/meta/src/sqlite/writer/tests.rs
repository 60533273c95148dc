use std::sync::atomic::AtomicBool;

use umbra_core::ErrorKind;

use super::*;
use crate::{
    Partition, Projection,
    sqlite::{row, schema},
};

const P: Partition = Partition(3);

struct Fixture {
    writer: Arc<Writer>,
    /// While set, `COMMIT` fails and it is not said why.
    fails: Arc<AtomicBool>,
    reader: Connection,
    _dir: tempfile::TempDir,
}

fn fixture(prepare: impl FnOnce(&Connection)) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta");
    let settings = SqliteSettings::default();
    let mut opened = schema::open_store(&path, &settings).unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let hook = Arc::clone(&fails);
    opened.conn.commit_hook(Some(move || hook.load(Ordering::SeqCst))).unwrap();
    prepare(&opened.conn);
    let writer = Arc::new(Writer::start(opened, &settings).unwrap());
    let reader = schema::open_connection(&path, 1 << 20, true).unwrap();
    Fixture { writer, fails, reader, _dir: dir }
}

impl Fixture {
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<Committed> {
        self.writer.commit(Batch::new(P).put(key, "", body)).await
    }

    fn holds(&self, key: &str) -> bool {
        row::find(&self.reader, P, key.as_bytes(), Projection::Full).unwrap().is_some()
    }
}

#[tokio::test]
async fn a_commit_that_fails_for_unknown_reasons_poisons_the_writer() {
    let fixture = fixture(|_| ());
    fixture.put("before", vec![]).await.unwrap();
    fixture.fails.store(true, Ordering::SeqCst);
    assert_eq!(fixture.put("doubtful", vec![]).await.unwrap_err().kind(), ErrorKind::Unavailable);
    fixture.fails.store(false, Ordering::SeqCst);
    let refused = fixture.put("later", vec![]).await.unwrap_err();
    assert!(refused.to_string().contains("restart"), "{refused}");
    assert!(fixture.holds("before") && !fixture.holds("doubtful") && !fixture.holds("later"));
}

#[tokio::test]
async fn a_batch_that_does_not_fit_fails_alone() {
    let fixture = fixture(|conn| conn.execute_batch("PRAGMA max_page_count = 40").unwrap());
    // The first keeps the writer busy, so that the others become one group, or several: it must not matter.
    let calls: Vec<_> = (0..30)
        .map(|n| {
            let writer = Arc::clone(&fixture.writer);
            let body = if n % 3 == 1 { vec![0; 1 << 20] } else { vec![0; 10] };
            tokio::spawn(async move { writer.commit(Batch::new(P).put(format!("{n}"), "", body)).await })
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        let kind = call.await.unwrap().err().map(|error| error.kind());
        assert_eq!(kind, (n % 3 == 1).then_some(ErrorKind::DiskFull), "batch {n}");
        assert_eq!(fixture.holds(&n.to_string()), kind.is_none(), "batch {n}");
    }
}

#[tokio::test]
async fn a_stopped_writer_has_committed_what_was_queued_and_takes_no_more() {
    let fixture = fixture(|_| ());
    let mut queued = Vec::new();
    for n in 0..100 {
        let (reply, answer) = oneshot::channel();
        fixture.writer.enqueue(Pending { batch: Batch::new(P).put(format!("{n}"), "", ""), reply }).unwrap();
        queued.push(answer);
    }
    fixture.writer.stop();
    for (n, answer) in queued.into_iter().enumerate() {
        assert!(answer.await.unwrap().is_ok() && fixture.holds(&n.to_string()));
    }
    assert_eq!(fixture.put("late", vec![]).await.unwrap_err().kind(), ErrorKind::Unavailable);
    fixture.writer.stop();
}
