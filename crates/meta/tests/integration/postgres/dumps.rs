//! Metadata that moves from one engine to the other and back.

use umbra_meta::{
    Batch, DumpReader, DumpWriter, Error, Expect, KeyRange, MetaStore, Partition, PostgresMetaStore, Projection, Result, SqliteMetaStore,
    SqliteSettings,
};

use super::{
    open,
    server::{Server, needs_postgres},
    settings,
};

const PARTITIONS: [Partition; 4] = [Partition::ROOT, Partition(9), Partition(1 << 63), Partition(u64::MAX)];

async fn fill(store: &dyn MetaStore) {
    for partition in PARTITIONS {
        for n in 0..3 {
            let batch = (0..300).fold(Batch::new(partition), |batch, k| batch.put(format!("{n}/{k:04}"), format!("head {n}"), vec![n; k]));
            store.commit(batch.put("", "", "").add("count", 1)).await.unwrap();
        }
    }
}

async fn everything(store: &dyn MetaStore) -> Vec<Vec<umbra_meta::Entry>> {
    let mut all = Vec::new();
    for partition in PARTITIONS {
        let range = KeyRange { start: Vec::new(), end: None };
        all.push(store.scan(partition, range, usize::MAX, Projection::Full).await.unwrap());
    }
    all
}

async fn exported(server: &Server) -> Vec<u8> {
    let mut writer = DumpWriter::new(Vec::new()).unwrap();
    PostgresMetaStore::export(&server.url(), None, |partition, entry| writer.add(partition, entry)).await.unwrap();
    writer.finish().unwrap().0
}

async fn import(server: &Server, file: &[u8]) -> Result<()> {
    let mut reader = DumpReader::new(file).unwrap();
    PostgresMetaStore::import(&server.url(), None, || reader.next_row()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_moves_there_and_back() {
    let server = needs_postgres!();
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let sqlite = SqliteMetaStore::open(&from, SqliteSettings::default()).unwrap();
    fill(&sqlite).await;
    let expected = everything(&sqlite).await;
    let mut writer = DumpWriter::new(Vec::new()).unwrap();
    // While it is open.
    SqliteMetaStore::export(&from, |partition, entry| writer.add(partition, entry)).unwrap();
    let (file, count) = writer.finish().unwrap();
    assert_eq!(count, 4 * 902);

    // What is cut off leaves nothing.
    let refused = import(&server, &file[..file.len() - 30]).await.unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused:?}");
    import(&server, &file).await.unwrap();
    let refused = import(&server, &file).await.unwrap_err();
    assert!(refused.to_string().contains("only an empty store"), "{refused}");
    assert_eq!(exported(&server).await, file, "the same file, whichever engine it is from");
    let postgres = open(&server, settings()).await;
    assert_eq!(everything(&postgres).await, expected);
    // Revisions go on behind those that came along, and a checked write finds the one it read.
    let old = expected[1].iter().map(|entry| entry.revision).max().unwrap();
    let batch = Batch::new(PARTITIONS[1]).check("count", Expect::Revision(expected[1].last().unwrap().revision)).put("new", "", "");
    assert!(postgres.commit(batch).await.unwrap().revision > old);
    let expected = everything(&postgres).await;

    // And back, while it is open.
    let file = exported(&server).await;
    let fill_file = |bytes: &[u8]| {
        let mut reader = DumpReader::new(bytes).unwrap();
        SqliteMetaStore::import(&to, || reader.next_row())
    };
    assert!(fill_file(&file[..file.len() - 1]).is_err() && !to.exists());
    fill_file(&file).unwrap();
    assert!(fill_file(&file).unwrap_err().to_string().contains("only an empty store"));
    let sqlite = SqliteMetaStore::open(&to, SqliteSettings::default()).unwrap();
    assert_eq!(everything(&sqlite).await, expected);
    let old = expected.iter().flatten().map(|entry| entry.revision).max().unwrap();
    assert!(sqlite.commit(Batch::new(PARTITIONS[0]).put("new", "", "")).await.unwrap().revision > old);
}
