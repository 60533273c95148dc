//! What the node that leads does after a window: it compares the claims, and has homes moved.

use std::time::Duration;

use umbra_blob::{BlobId, Result};

use super::{Claims, READS_MIN, claims::Walk, decide};
use crate::placement::{Moved, PlacedBlobStore, moving::home_of};

impl PlacedBlobStore {
    /// Compares the claims of the last whole window. Tells how many homes have moved.
    pub async fn follow_demand(&self) -> Result<usize> {
        let shared = &self.shared;
        let Some(window) = shared.demand.window_of(shared.clock.now()).checked_sub(1) else { return Ok(0) };
        let (mut moved, mut walk, mut outcome) = (0, Walk::new(&shared.meta), Ok(()));
        while let Some((blob, claims)) = walk.next().await? {
            // A region that does not answer holds up none of the others.
            match self.follow(&blob, &claims, window).await {
                Ok(has_moved) => moved += usize::from(has_moved),
                Err(error) => outcome = Err(error),
            }
        }
        outcome.map(|()| moved)
    }

    async fn follow(&self, blob: &BlobId, claims: &Claims, window: u64) -> Result<bool> {
        let shared = &self.shared;
        if !claims.is_counted(window) {
            return Ok(false);
        }
        let (rows, born) = (shared.index.all(blob).await?, shared.born(blob));
        let moved_here = home_of(&rows);
        let home = moved_here.map(|row| row.region.as_str()).or(born.as_ref().map(|born| born.region.as_str()));
        // Where copies have to be, homes stay: the bytes that a home leaves behind would be one copy less.
        let may_move = !rows.is_empty() && rows.iter().all(|row| !row.record.is_required);
        let Some(home) = home.filter(|home| may_move && !claims.is_over(home, window)) else {
            shared.forget_claims(blob, claims).await?;
            return Ok(false);
        };
        let since = moved_here.and_then(|row| row.record.home);
        let now = shared.clock.now().as_millis();
        let stayed = since.map(|since| Duration::from_millis(u64::try_from(now.saturating_sub(since.as_millis())).unwrap_or(0)));
        let Some(region) = decide(&claims.scores(window), home, stayed, &shared.demand) else { return Ok(false) };
        if self.move_home(blob, region).await? != Moved::Done {
            return Ok(false);
        }
        tracing::debug!(?blob, from = home, to = region, reads_min = READS_MIN, "a home has moved to its readers");
        shared.metrics.count_move();
        // What was read before says nothing of the home to come.
        shared.forget_claims(blob, claims).await?;
        Ok(true)
    }
}
