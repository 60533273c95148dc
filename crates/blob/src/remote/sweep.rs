//! Gives back what writes that nobody ended have left at the engine: parts of uploads.

use std::{sync::Weak, time::Duration};

use umbra_client::ListedUpload;
use umbra_core::{Clock, SystemClock};

use super::{Engine, failed};
use crate::Result;

/// Looks for abandoned uploads now and then, as long as the store is open.
pub(super) async fn run(engine: Weak<Engine>) {
    loop {
        let Some(open) = engine.upgrade() else { return };
        match sweep(&open).await {
            Ok(0) => {}
            Ok(aborted) => tracing::info!(aborted, "uploads of blobs that nobody finished were aborted"),
            // An engine may not let us list, or not know how; it then keeps the parts, or has a rule of its own for them.
            Err(error) => {
                let cause = std::error::Error::source(&error);
                tracing::warn!(%error, cause, "abandoned uploads at the blobs' engine are not looked for until later");
            }
        }
        let pause = open.settings.sweep_every;
        drop(open);
        tokio::time::sleep(pause).await;
    }
}

/// Aborts uploads of ours that are stale. Tells how many.
async fn sweep(engine: &Engine) -> Result<usize> {
    let now = SystemClock.now().as_millis() + engine.client.clock_ahead_ms();
    let (mut aborted, mut after) = (0, None);
    loop {
        let page = engine.client.list_multipart_uploads(&engine.prefix, after.as_ref()).await.map_err(failed("list uploads"))?;
        for upload in &page.uploads {
            let is_stale = upload.initiated.is_some_and(|since| now - since.as_millis() >= millis(engine.settings.stale_after));
            if is_stale && is_ours(engine, upload) {
                engine.client.abort_multipart_upload(&upload.key, &upload.id).await.map_err(failed("abort an upload"))?;
                aborted += 1;
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(aborted),
        }
    }
}

/// Whether the key is one that [`Engine::key`] makes. Not all engines heed the prefix they are asked for.
fn is_ours(engine: &Engine, upload: &ListedUpload) -> bool {
    let name = upload.key.strip_prefix(&engine.prefix).and_then(|rest| rest.split_once('/'));
    name.is_some_and(|(spread, name)| {
        name.len() == 32 && name.starts_with(spread) && spread.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
