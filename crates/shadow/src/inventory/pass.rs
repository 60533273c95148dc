//! A listing pass: the origin's keys, a page a step, compared with what is here.

use std::collections::VecDeque;

use async_trait::async_trait;
use umbra_core::{Error, ErrorKind, Result};

use super::stock::Stretch;
use crate::{
    jobs::{JobContext, JobCounts, Next, Progress, Work},
    list_merge::Item,
    list_origin::{OriginItems, Parked},
    slice::Slice,
};

/// The work of an inventory. Its cursor is the last key of the page before; the listing is in the order of bytes, whatever the origin's own.
#[derive(Debug, Default)]
pub(crate) struct InventoryPass {
    /// Where the listing is, behind which key: spares an origin to look the key up. Not kept over a restart.
    parked: Option<(Option<String>, Parked)>,
}

#[async_trait]
impl Work for InventoryPass {
    async fn step(&mut self, job: &JobContext) -> Result<Progress> {
        let after = cursor(job)?;
        let path = job.shadow.path(&job.cx, &job.bucket);
        let mut items = match self.parked.take() {
            Some((of, parked)) if of == after => OriginItems::resume(&*job.origin, &path, parked),
            _ => OriginItems::new(&*job.origin, &path, &job.job.prefix, "", after.clone()),
        };
        let slice = Slice::new(job.shadow.native().clock(), &job.stop);
        let mut page = items.next().await?;
        while page.as_ref().is_some_and(VecDeque::is_empty) && !slice.is_over() {
            page = items.next().await?;
        }
        let is_last = page.is_none();
        let object = |item| if let Item::Object(object) = item { Some(object) } else { None };
        let objects: Vec<_> = page.into_iter().flatten().filter_map(object).collect();
        let last = objects.last().map(|object| object.key.to_string());
        let stretch = Stretch { prefix: &job.job.prefix, after: after.as_deref(), through: last.as_deref(), is_last };
        job.shadow.take_stock(&job.bucket, &objects, &stretch).await?;
        let counts = JobCounts {
            objects_done: objects.len() as u64,
            bytes_done: objects.iter().map(|object| object.size).sum(),
            ..JobCounts::default()
        };
        let position = last.or(after);
        self.parked = Some((position.clone(), items.park()));
        let next = if is_last { Next::Done } else { Next::Step };
        Ok(Progress { cursor: position.map(String::into_bytes), counts, next, ..Progress::default() })
    }
}

/// The key behind which the pass goes on.
fn cursor(job: &JobContext) -> Result<Option<String>> {
    let text = job.job.cursor.clone().map(String::from_utf8).transpose();
    text.map_err(|error| Error::new(ErrorKind::Corrupt, "the cursor of an inventory is damaged").because(error))
}
