//! A store against its model: a map of identifiers to bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use umbra_core::ByteRange;

use super::{assert_gone, content, read, write};
use crate::{BlobId, BlobStore};

/// One step. Numbers that pick a blob or a position are taken modulo what there is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields say it")]
pub enum Action {
    Put { seed: u64, size: usize, cut: usize },
    PutUnread { seed: u64, size: usize, cut: usize },
    Write { seed: u64, size: usize, cut: usize },
    Abandon { size: usize },
    Read { pick: usize, start: usize, end: usize },
    Delete { pick: usize },
    DeleteAgain { pick: usize },
}

/// Any sequence of up to `steps` actions.
pub fn actions(steps: usize) -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(action(), 0..=steps)
}

fn action() -> impl Strategy<Value = Action> {
    let size =
        || prop_oneof![4 => 0..5_000_usize, 4 => 60_000..140_000_usize, 1 => 250_000..600_000_usize, 1 => 1_000_000..1_200_000_usize];
    let cut = || prop_oneof![500..20_000_usize, 60_000..70_000_usize, Just(usize::MAX)];
    let position = || any::<usize>();
    prop_oneof![
        4 => (any::<u64>(), size(), cut()).prop_map(|(seed, size, cut)| Action::Put { seed, size, cut }),
        2 => (any::<u64>(), size(), cut()).prop_map(|(seed, size, cut)| Action::PutUnread { seed, size, cut }),
        3 => (any::<u64>(), size(), cut()).prop_map(|(seed, size, cut)| Action::Write { seed, size, cut }),
        1 => size().prop_map(|size| Action::Abandon { size }),
        6 => (any::<usize>(), position(), position()).prop_map(|(pick, start, end)| Action::Read { pick, start, end }),
        4 => any::<usize>().prop_map(|pick| Action::Delete { pick }),
        1 => any::<usize>().prop_map(|pick| Action::DeleteAgain { pick }),
    ]
}

/// A few sequences, always the same.
pub(super) fn samples() -> Vec<Vec<Action>> {
    let mut runner = TestRunner::deterministic();
    (0..8).map(|_| actions(60).new_tree(&mut runner).expect("nothing is filtered").current()).collect()
}

/// Does `actions` and compares every answer with the model's. Leaves nothing in the store.
pub async fn check(store: &dyn BlobStore, actions: &[Action]) {
    let mut model: BTreeMap<BlobId, Vec<u8>> = BTreeMap::new();
    let mut gone: Vec<BlobId> = Vec::new();
    for action in actions {
        match *action {
            Action::Put { seed, size, cut } | Action::PutUnread { seed, size, cut } => {
                let (bytes, is_read) = (content(seed, size), matches!(action, Action::Put { .. }));
                let chunks = cut_up(&bytes, cut);
                let blob = if is_read { store.put(chunks).await } else { store.put_unread(chunks).await }.expect("put");
                assert_eq!(blob.size, size as u64);
                assert!(!gone.contains(&blob.id) && model.insert(blob.id, bytes).is_none(), "an identifier was issued twice");
            }
            Action::Write { seed, size, cut } => {
                let bytes = content(seed, size);
                let blob = write(store, cut_up(&bytes, cut)).await.expect("write");
                assert_eq!(blob.size, size as u64);
                assert!(!gone.contains(&blob.id) && model.insert(blob.id, bytes).is_none(), "an identifier was issued twice");
            }
            Action::Abandon { size } => {
                let mut writer = store.create().await.expect("create");
                writer.write(content(0, size).into()).await.expect("write");
            }
            Action::Read { pick, start, end } => {
                let Some((id, bytes)) = picked(&model, pick) else { continue };
                let (start, end) = (start % (bytes.len() + 1), end % (bytes.len() + 1));
                let (start, end) = (start.min(end), start.max(end));
                let found = read(store, id, ByteRange::new(start as u64, end as u64)).await.expect("read");
                assert!(found == bytes[start..end], "other bytes in {start}..{end} of {}", bytes.len());
            }
            Action::Delete { pick } => {
                let Some(id) = picked(&model, pick).map(|(id, _)| id.clone()) else { continue };
                store.delete(&id).await.expect("delete");
                model.remove(&id);
                gone.push(id);
            }
            Action::DeleteAgain { pick } => {
                let Some(id) = gone.get(pick % gone.len().max(1)) else { continue };
                store.delete(id).await.expect("delete again");
            }
        }
    }
    for id in &gone {
        assert_gone(store, id).await;
    }
    for (id, bytes) in model {
        let found = read(store, &id, ByteRange::new(0, bytes.len() as u64)).await.expect("read");
        assert!(found == bytes, "other bytes at the end");
        store.delete(&id).await.expect("delete");
        assert_gone(store, &id).await;
    }
}

fn picked(model: &BTreeMap<BlobId, Vec<u8>>, pick: usize) -> Option<(&BlobId, &Vec<u8>)> {
    model.iter().nth(pick % model.len().max(1))
}

fn cut_up(bytes: &[u8], cut: usize) -> Vec<Bytes> {
    bytes.chunks(cut.min(bytes.len()).max(1)).map(Bytes::copy_from_slice).collect()
}
