//! Any sequence of actions on a fresh store answers as the model does.

use std::sync::Arc;

use proptest::prelude::*;
use umbra_blob::{
    BlobStore, DiskBlobStore, DiskSettings,
    suite::model::{actions, check},
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn disk(actions in actions(80), segment_kib in 64..2048_u64, record_kib in 1..512_u64, buffer_kib in 0..256_u64) {
        let settings = DiskSettings {
            segment_bytes: segment_kib << 10,
            record_bytes_max: record_kib << 10,
            stream_buffer_bytes: buffer_kib << 10,
            reserve_bytes: Some(0),
            direct_bytes_min: 64 << 10,
            open_segments_max: 1,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store: Arc<dyn BlobStore> = Arc::new(DiskBlobStore::open(dir.path(), settings).await.unwrap());
            check(&*store, &actions).await;
        });
    }
}
