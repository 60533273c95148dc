//! Claims: rows of the metadata that all regions share, by blob, then region.

use std::{collections::HashSet, sync::Arc};

use futures::{StreamExt, stream};
use umbra_blob::{BlobId, Result};
use umbra_meta::{Batch, Entry, Error as MetaError, Expect, KeyRange, MetaStore, Partition, Projection, key::root};

use super::{Claims, READS_MIN};
use crate::{
    placement::{Shared, index::failed},
    record::claim::ClaimRecord,
};

/// Rows read at once.
const PAGE: usize = 1000;
/// Claims that a store has, roughly: beyond them none are added.
const CLAIMS_MAX: usize = 16 * 1024;
/// Claims that a node makes after one window, those to what it reads most.
const NEW_CLAIMS_MAX: usize = 1024;
/// Claims that are written at a time.
const WRITES_AT_ONCE: usize = 8;
/// How often a claim is added to that other nodes add to.
const ATTEMPTS_MAX: usize = 5;

/// A walk through all claims.
pub(super) struct Walk {
    meta: Arc<dyn MetaStore>,
    range: Option<KeyRange>,
    page: std::vec::IntoIter<Entry>,
    /// The blob at hand.
    at_hand: Option<(BlobId, Claims)>,
}

impl Walk {
    pub(super) fn new(meta: &Arc<dyn MetaStore>) -> Self {
        Self { meta: Arc::clone(meta), range: Some(root::claims_range()), page: Vec::new().into_iter(), at_hand: None }
    }

    /// The next blob, and all claims to it.
    pub(super) async fn next(&mut self) -> Result<Option<(BlobId, Claims)>> {
        while let Some(row) = self.next_row().await? {
            // A row that is not understood is of a later release: it is nobody's here.
            let Some((blob, region)) = root::parse_claim(&row.key) else { continue };
            let Ok(claim) = ClaimRecord::decode(&row.body) else { continue };
            let (blob, claim) = (BlobId::from_bytes(blob), (region.to_owned(), claim));
            match &mut self.at_hand {
                Some((at_hand, claims)) if *at_hand == blob => claims.0.push(claim),
                at_hand => {
                    if let Some(done) = at_hand.replace((blob, Claims(vec![claim]))) {
                        return Ok(Some(done));
                    }
                }
            }
        }
        Ok(self.at_hand.take())
    }

    async fn next_row(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(row) = self.page.next() {
                return Ok(Some(row));
            }
            let Some(range) = self.range.take() else { return Ok(None) };
            let page = self.meta.scan(Partition::ROOT, range.clone(), PAGE, Projection::Full).await.map_err(failed)?;
            self.range = page.last().filter(|_| page.len() == PAGE).map(|last| range.after(&last.key));
            self.page = page.into_iter();
        }
    }
}

impl Shared {
    /// Learns what is claimed, and claims what this node has read often in the window that has ended.
    pub(in crate::placement) async fn claim(&self) -> Result<()> {
        let ended = self.counter.take_ended(self.clock.now());
        let (mut claimed, mut by_others) = (HashSet::new(), HashSet::new());
        let mut walk = Walk::new(&self.meta);
        while let Some((blob, claims)) = walk.next().await? {
            if claims.0.iter().any(|(region, _)| region != self.region.as_str()) {
                by_others.insert(blob.clone());
            }
            claimed.insert(blob);
        }
        let room = CLAIMS_MAX.saturating_sub(claimed.len()).min(NEW_CLAIMS_MAX);
        self.counter.set_claimed(claimed.clone());
        let Some((window, counts)) = ended else { return Ok(()) };
        let (added, mut new): (Vec<_>, Vec<_>) = counts.into_iter().partition(|(blob, _)| claimed.contains(blob));
        new.retain(|(_, reads)| *reads >= READS_MIN);
        new.sort_by_key(|(_, reads)| std::cmp::Reverse(*reads));
        new.truncate(room);
        let work = stream::iter(added.into_iter().chain(new)).map(|(blob, reads)| {
            let is_asked = by_others.contains(&blob);
            async move {
                // A home claims nothing unless others do; whoever has no copy cannot become the home.
                if is_asked || self.index.is_copied(&blob).await? { self.add_claim(&blob, window, reads).await } else { Ok(()) }
            }
        });
        let mut work = work.buffer_unordered(WRITES_AT_ONCE);
        let mut outcome = Ok(());
        while let Some(added) = work.next().await {
            outcome = outcome.and(added);
        }
        outcome
    }

    async fn add_claim(&self, blob: &BlobId, window: u64, reads: u64) -> Result<()> {
        let row = root::claim(blob.as_bytes(), self.region.as_str());
        for _ in 0..ATTEMPTS_MAX {
            let found = self.meta.get(Partition::ROOT, &row).await.map_err(failed)?;
            let known = found.as_ref().and_then(|row| ClaimRecord::decode(&row.body).ok());
            let claim = known.map_or_else(|| ClaimRecord::new(window, reads), |known| known.add(window, reads));
            let expect = Expect::unchanged(found.map(|row| row.revision));
            let batch = Batch::new(Partition::ROOT).check(row.clone(), expect).put(row.clone(), "", claim.encode());
            match self.meta.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(MetaError::Conflict { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        // So many nodes add to it that one of them does not matter.
        Ok(())
    }

    /// Forgets all claims to `blob`.
    pub(super) async fn forget_claims(&self, blob: &BlobId, claims: &Claims) -> Result<()> {
        let rows = claims.0.iter().map(|(region, _)| root::claim(blob.as_bytes(), region));
        let batch = rows.fold(Batch::new(Partition::ROOT), Batch::delete);
        self.meta.commit(batch).await.map(drop).map_err(failed)
    }
}
