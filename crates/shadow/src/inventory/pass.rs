//! A listing pass: the origin's keys, a page a step, compared with what is here.

use async_trait::async_trait;
use umbra_core::{Error, ErrorKind, Result};

use super::stock::Stretch;
use crate::{
    jobs::{JobContext, JobCounts, Next, Progress, Work},
    list_order::out_of_order,
    list_origin::ORIGIN_PAGE,
    origin::{OriginList, OriginPage},
};

/// The work of an inventory. Its cursor is the last key of the page before.
#[derive(Debug, Default)]
pub(crate) struct InventoryPass {
    /// Where the origin said to go on, behind which key: spares an origin to look the key up. Not kept over a restart.
    token: Option<(Option<String>, String)>,
}

#[async_trait]
impl Work for InventoryPass {
    async fn step(&mut self, job: &JobContext) -> Result<Progress> {
        let after = cursor(job)?;
        let token = self.token.take().filter(|(of, _)| *of == after).map(|(_, token)| token);
        let list = OriginList { prefix: job.job.prefix.clone(), after: after.clone(), token, limit: ORIGIN_PAGE, ..OriginList::default() };
        let OriginPage { mut objects, next, .. } = job.origin.list(&job.shadow.path(&job.cx, &job.bucket), &list).await?;
        if !objects.is_sorted_by(|left, right| left.key < right.key) {
            return Err(out_of_order());
        }
        // Told to go on behind a key an origin may show it once more.
        let behind = |key: &str| after.as_ref().is_none_or(|after| key.as_bytes() > after.as_bytes());
        if objects.iter().any(|object| !behind(object.key.as_str()) && Some(object.key.as_str()) != after.as_deref()) {
            return Err(out_of_order());
        }
        objects.retain(|object| behind(object.key.as_str()));
        if next.is_some() && next == list.token {
            return Err(Error::new(ErrorKind::OriginUnavailable, "the origin's listing does not advance"));
        }
        let last = objects.last().map(|object| object.key.to_string());
        let stretch = Stretch { prefix: &job.job.prefix, after: after.as_deref(), through: last.as_deref(), is_last: next.is_none() };
        job.shadow.take_stock(&job.bucket, &objects, &stretch).await?;
        let counts = JobCounts {
            objects_done: objects.len() as u64,
            bytes_done: objects.iter().map(|object| object.size).sum(),
            ..JobCounts::default()
        };
        let is_last = next.is_none();
        let position = last.or(after);
        self.token = next.map(|token| (position.clone(), token));
        let next = if is_last { Next::Done } else { Next::Step };
        Ok(Progress { cursor: position.map(String::into_bytes), counts, next, ..Progress::default() })
    }
}

/// The key behind which the pass goes on.
fn cursor(job: &JobContext) -> Result<Option<String>> {
    let text = job.job.cursor.clone().map(String::from_utf8).transpose();
    text.map_err(|error| Error::new(ErrorKind::Corrupt, "the cursor of an inventory is damaged").because(error))
}
