//! semantics.md: "Writes to one key are applied to the origin in the order in which they are applied here."

use std::sync::Arc;

use umbra_core::{Body, Error, ErrorKind, PartNumber, Tags};
use umbra_shadow::origin::memory::Fault;
use umbra_store::{
    CompleteUpload, CompletedPart, CopyOptions, CreateUpload, DeleteOptions, Integrity, ListUploads, Objects, PartAddress, copy,
};

use crate::world::{World, k};

const KEYS: [&str; 3] = ["a", "b", "c"];
const TASKS: usize = 24;
const STEPS: usize = 25;

/// One client's next write, chosen by `choice`. Its content names it, so that two sides that hold the same content hold the same write.
async fn write(world: &World, choice: u64, name: String) -> Result<(), Error> {
    let bucket = world.bucket().await;
    let key = k(KEYS[(choice % 3) as usize]);
    match choice / 3 % 10 {
        0..=3 => world.put(key.as_str(), name).await.map(drop),
        4 => world.shadow.delete(&world.cx, &bucket, &key, DeleteOptions::default()).await.map(drop),
        5 => {
            let tags = Tags::new([("by".to_owned(), name)]);
            world.shadow.put_tags(&world.cx, &bucket, &key, None, tags).await.map(drop)
        }
        6 => {
            let source = k(KEYS[((choice + 1) % 3) as usize]);
            copy(&world.shadow, &world.cx, (&bucket, &source), (&bucket, &key), CopyOptions::default()).await.map(drop)
        }
        7 | 8 => {
            let upload = world.shadow.create_upload(&world.cx, &bucket, &key, CreateUpload::default()).await?;
            let mut parts = Vec::new();
            let number = PartNumber::new(1 + (choice % 7) as i64)?;
            for content in [name.clone(), format!("{name} again")] {
                let part = PartAddress { key: &key, upload: &upload, number };
                let stored = world.shadow.put_part(&world.cx, &bucket, part, Body::from_bytes(content), Integrity::default()).await?;
                parts = vec![CompletedPart { number, etag: stored.etag, checksum: None }];
            }
            let options = CompleteUpload { parts, ..CompleteUpload::default() };
            world.shadow.complete_upload(&world.cx, &bucket, &key, &upload, options).await.map(drop)
        }
        _ => world.get(key.as_str()).await.map(drop),
    }
}

async fn storm(world: Arc<World>, faults: bool) {
    world.origin.jitter(40);
    let clients = (0..TASKS).map(|client| {
        let world = world.clone();
        tokio::spawn(async move {
            for step in 0..STEPS {
                let choice = ((client * STEPS + step + 1) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
                if faults && choice.is_multiple_of(11) {
                    let doing = ["put", "delete", "complete", "put_tags", "put_part"][(choice / 11 % 5) as usize];
                    let fault = [Fault::LoseAnswer, Fault::LoseRequest, Fault::Unavailable][(choice / 55 % 3) as usize].clone();
                    world.origin.fail_next(doing, fault);
                }
                if let Err(error) = write(&world, choice, format!("{client}/{step}")).await {
                    let expected = match error.kind() {
                        ErrorKind::NotFound(_) | ErrorKind::Conflict => true,
                        ErrorKind::Unavailable | ErrorKind::OriginUnavailable => faults,
                        _ => false,
                    };
                    assert!(expected, "{error:?}");
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

async fn both_sides_agree(world: &World) {
    let bucket = world.bucket().await;
    for key in KEYS {
        assert_eq!(world.here(key).await, world.origin.content(key), "{key}");
        let etag = world.native.find(&bucket, &k(key)).await.unwrap().map(|stored| stored.object.etag);
        assert_eq!(etag, world.origin.etag(key), "{key}");
        if etag.is_some() {
            assert_eq!(world.native.tags(&world.cx, &bucket, &k(key), None).await.unwrap().0, world.origin.tags_of(key), "{key}");
        }
    }
    // A completion that failed leaves its upload to the client, who repeats it or aborts it.
    let page = world.native.list_uploads(&world.cx, &bucket, ListUploads { limit: 10_000, ..ListUploads::default() }).await.unwrap();
    assert!(page.uploads.len() >= world.origin.open_uploads(), "none is forgotten");
    for upload in page.uploads {
        world.shadow.abort_upload(&world.cx, &bucket, &upload.key, &upload.upload).await.unwrap();
    }
    assert_eq!((world.origin.open_uploads(), world.rows(umbra_meta::key::all_origin_uploads()).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_of_few_keys_leave_both_sides_alike() {
    let world = Arc::new(World::attached(true).await);
    storm(world.clone(), false).await;
    assert_eq!(world.intents().await, 0);
    both_sides_agree(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn so_they_are_when_the_origin_fails_and_repairs_have_run() {
    let world = Arc::new(World::attached(true).await);
    world.shadow.start().await.unwrap();
    storm(world.clone(), true).await;
    world.origin.forgive();
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    both_sides_agree(&world).await;
}
