//! Clients: each does one thing after the other, and checks what it is told as far as one answer can be checked alone.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use umbra_core::{Body, ByteRange, ETag, Entity, Error, ErrorKind, Matches, ObjectInfo, PartNumber, Preconditions, RangeSpec, Result};
use umbra_store::{
    CompleteUpload, CompletedPart, CopyOptions, CreateUpload, DeleteOptions, Deleted, GetObject, GetOptions, Integrity, Objects,
    PartAddress, PutOptions, copy, copy_part,
};

use crate::{
    history::{Intended, Outcome},
    life::{Begun, Life, object_key},
    reference::{Condition, Name, Seen, Value},
    writes::{self, TagsId, WriteId, content, md5},
};

/// A client.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) life: Life,
    pub(crate) name: String,
}

impl Client {
    /// Does everything a client does in a life.
    pub(crate) async fn run(self) {
        for _ in 0..self.life.world.env.dials.operations {
            let env = &self.life.world.env;
            if env.chance(0.06) {
                // It leaves in the middle.
                let patience = Duration::from_millis(env.below(60) as u64);
                let _ = tokio::time::timeout(patience, self.act()).await;
            } else {
                self.act().await;
            }
            tokio::time::sleep(Duration::from_millis(self.life.world.env.below(30) as u64)).await;
        }
    }

    async fn act(&self) {
        let env = &self.life.world.env;
        let key = env.pick(&env.dials.keys).clone();
        if env.dials.versions && env.chance(0.3) {
            return self.act_on_versions(&key).await;
        }
        let die = if env.dials.reads_only { env.below(45) } else { env.below(100) };
        match die {
            0..=13 => self.get(&key).await,
            14..=15 => self.peek(&key).await,
            16..=17 => self.schedule(&key).await,
            18..=23 => self.get_range(&key).await,
            24..=31 => self.head(&key).await,
            32..=35 => self.get_if(&key).await,
            36..=44 => self.list().await,
            45..=62 => self.put(&key).await,
            63..=76 => self.delete(&key).await,
            77..=82 => self.copy(&key).await,
            83..=90 => self.upload(&key).await,
            91..=94 => self.tags(&key).await,
            _ => self.put_tags(&key).await,
        }
    }

    pub(crate) fn begin(&self, key: &str, what: String, intended: Option<Intended>) -> Begun {
        self.life.world.begin(&self.name, key, what, intended)
    }

    /// Ends an operation that failed without being applied, as far as is known.
    fn fail(&self, begun: Begun, error: &Error) {
        let seen = (error.kind() == ErrorKind::NotFound(Entity::Object)).then_some(Seen::Absent);
        self.life.world.fail(begun, seen, error);
    }

    pub(crate) async fn get(&self, key: &str) {
        let begun = self.begin(key, "GET".to_owned(), None);
        self.read(key, begun, GetOptions::default()).await;
    }

    async fn get_range(&self, key: &str) {
        let env = &self.life.world.env;
        let first = env.below(env.dials.origin_size_max) as u64;
        let range = match env.below(4) {
            0 => RangeSpec::Suffix { length: 1 + first },
            1 => RangeSpec::From { first, last: None },
            _ => {
                let most = if (env.dials.big || env.dials.is_cut_small()) && env.chance(0.5) { env.dials.origin_size_max / 3 } else { 100 };
                RangeSpec::From { first, last: Some(first + env.below(most) as u64) }
            }
        };
        let begun = self.begin(key, format!("GET {range:?}"), None);
        self.read(key, begun, GetOptions { range: Some(range), ..GetOptions::default() }).await;
    }

    /// Reads the beginning of an object and leaves.
    async fn peek(&self, key: &str) {
        let world = &self.life.world;
        let begun = self.begin(key, "GET of the beginning".to_owned(), None);
        let GetObject { info, body, .. } = match self.open(key, GetOptions::default()).await {
            Ok(object) => object,
            Err(error) => return self.fail(begun, &error),
        };
        let (mut stream, mut got) = (body.into_stream(), Vec::new());
        for _ in 0..1 + world.env.below(3) {
            match stream.next().await {
                Some(Ok(chunk)) => got.extend_from_slice(&chunk),
                Some(Err(error)) => return world.fail(begun, None, &error),
                None => break,
            }
        }
        match world.identify(key, &info, Some(ByteRange::new(0, got.len() as u64)), Some(&got)) {
            Ok(write) => world.end(begun, Outcome::Saw(Seen::Object(write)), format!("write {write}, {} bytes", got.len())),
            Err(wrong) => {
                world.complain(key, format!("a read that left: {wrong}"));
                world.end(begun, Outcome::Failed, wrong);
            }
        }
    }

    async fn read(&self, key: &str, begun: Begun, options: GetOptions) {
        match self.open(key, options).await {
            Ok(object) => self.read_body(key, begun, object).await,
            Err(error) => self.fail(begun, &error),
        }
    }

    pub(crate) async fn open(&self, key: &str, options: GetOptions) -> Result<GetObject> {
        let bucket = self.life.bucket().await?;
        if let Some((beside, cx)) = self.life.asked_first() {
            let read = beside.get(&cx, &bucket, &object_key(key), options.clone()).await;
            if !cx.elsewhere.is_said() {
                return read;
            }
        }
        self.life.shadow.get(&self.life.cx, &bucket, &object_key(key), options).await
    }

    async fn read_body(&self, key: &str, begun: Begun, object: GetObject) {
        let world = &self.life.world;
        let GetObject { info, range, body } = object;
        let (mut stream, mut got, mut failure) = (body.into_stream(), Vec::new(), None);
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => got.extend_from_slice(&chunk),
                Err(error) => failure = Some(error),
            }
            if failure.is_some() {
                break;
            }
        }
        if let Some(error) = failure {
            // What came must be the beginning of what was announced.
            let start = range.map_or(0, |range| range.start);
            if let Err(wrong) = world.identify(key, &info, Some(ByteRange::new(start, start + got.len() as u64)), Some(&got)) {
                world.complain(key, format!("a read that broke off: {wrong}"));
            }
            return world.fail(begun, None, &error);
        }
        match world.identify(key, &info, range, Some(&got)) {
            Ok(write) => world.end(begun, Outcome::Saw(Seen::Object(write)), format!("write {write}, {} bytes {range:?}", got.len())),
            Err(wrong) => {
                world.complain(key, format!("a read: {wrong}"));
                world.end(begun, Outcome::Failed, wrong);
            }
        }
    }

    pub(crate) async fn head(&self, key: &str) {
        let begun = self.begin(key, "HEAD".to_owned(), None);
        let head = async {
            let bucket = self.life.bucket().await?;
            if let Some((beside, cx)) = self.life.asked_first() {
                let told = beside.head(&cx, &bucket, &object_key(key), GetOptions::default()).await;
                if !cx.elsewhere.is_said() {
                    return told;
                }
            }
            self.life.shadow.head(&self.life.cx, &bucket, &object_key(key), GetOptions::default()).await
        };
        self.end_head(key, begun, head.await);
    }

    /// Orders a copy.
    async fn schedule(&self, key: &str) {
        let begun = self.begin(key, "ORDER".to_owned(), None);
        let head = async {
            let bucket = self.life.bucket().await?;
            self.life.shadow.head_and_schedule(&self.life.cx, &bucket, &object_key(key), GetOptions::default()).await
        };
        self.end_head(key, begun, head.await);
    }

    fn end_head(&self, key: &str, begun: Begun, head: Result<ObjectInfo>) {
        let world = &self.life.world;
        match head {
            Ok(info) => match world.identify(key, &info, None, None) {
                Ok(write) => world.end(begun, Outcome::Saw(Seen::Object(write)), format!("write {write}")),
                Err(wrong) => {
                    world.complain(key, format!("a HEAD: {wrong}"));
                    world.end(begun, Outcome::Failed, wrong);
                }
            },
            Err(error) => self.fail(begun, &error),
        }
    }

    /// An ETag the key may have, or had.
    fn some_etag(&self, key: &str) -> Option<ETag> {
        let world = &self.life.world;
        let ops = world
            .history
            .lock()
            .ops
            .iter()
            .filter(|op| op.key == key)
            .filter_map(|op| match &op.outcome {
                Outcome::Saw(Seen::Object(write)) => Some(*write),
                _ => None,
            })
            .collect::<Vec<WriteId>>();
        let write = ops.len().checked_sub(1 + world.env.below(3)).and_then(|at| ops.get(at))?;
        world.writes.get(*write)?.etag
    }

    async fn get_if(&self, key: &str) {
        let Some(etag) = self.some_etag(key) else { return };
        let matches = Some(Matches::ETags(vec![etag.clone()]));
        let is_match = self.life.world.env.chance(0.5);
        let what = if is_match { format!("GET If-Match {etag}") } else { format!("GET If-None-Match {etag}") };
        let preconditions = match is_match {
            true => Preconditions { if_match: matches, ..Preconditions::default() },
            false => Preconditions { if_none_match: matches, ..Preconditions::default() },
        };
        let begun = self.begin(key, what, None);
        match self.open(key, GetOptions { preconditions, ..GetOptions::default() }).await {
            Ok(object) => self.read_body(key, begun, object).await,
            Err(error) if error.kind() == ErrorKind::Precondition => self.life.world.fail(begun, Some(Seen::Not(etag)), &error),
            Err(error) if error.kind() == ErrorKind::NotModified => self.life.world.fail(begun, Some(Seen::Is(etag)), &error),
            Err(error) => self.fail(begun, &error),
        }
    }

    /// A condition of a write: none mostly.
    fn condition(&self, key: &str) -> (Condition, Preconditions) {
        let env = &self.life.world.env;
        match env.below(10) {
            0 | 1 => (Condition::Absent, Preconditions { if_none_match: Some(Matches::Any), ..Preconditions::default() }),
            2 | 3 => match self.some_etag(key) {
                Some(etag) => {
                    let if_match = Some(Matches::ETags(vec![etag.clone()]));
                    (Condition::Is(etag), Preconditions { if_match, ..Preconditions::default() })
                }
                None => Default::default(),
            },
            _ => Default::default(),
        }
    }

    fn size(&self) -> usize {
        let env = &self.life.world.env;
        match env.below(8) {
            0 => env.below(16),
            _ => 8 + env.below(env.dials.size_max),
        }
    }

    pub(crate) fn some_tags(&self) -> TagsId {
        if self.life.world.env.chance(0.5) { 0 } else { self.life.world.writes.issue() }
    }

    /// A body that comes in pieces, and now and then not to its end.
    fn body(&self, bytes: &Bytes) -> Body {
        let env = self.life.world.env.clone();
        let cut = env.goes_wrong(0.03).then(|| env.below(bytes.len() + 1));
        let step = 1 + bytes.len() / (1 + env.below(3));
        let mut chunks: Vec<Result<Bytes>> = Vec::new();
        let end = cut.unwrap_or(bytes.len());
        for at in (0..end).step_by(step) {
            chunks.push(Ok(bytes.slice(at..end.min(at + step))));
        }
        if cut.is_some() {
            chunks.push(Err(Error::invalid(umbra_core::Fault::IncompleteBody, "the client went away")));
        }
        let stream = futures::stream::iter(chunks).then(move |chunk| {
            let env = env.clone();
            async move {
                env.step().await;
                chunk
            }
        });
        Body::new(Some(bytes.len() as u64), stream)
    }

    /// What a refused condition tells.
    fn end_write<T>(&self, begun: Begun, condition: &Condition, result: Result<T>, answer: impl FnOnce(T) -> String) {
        let world = &self.life.world;
        match result {
            Ok(written) => world.end(begun, Outcome::Done, answer(written)),
            Err(error) => {
                let seen = match (error.kind(), condition) {
                    (ErrorKind::Precondition, Condition::Absent) => Some(Seen::Present),
                    (ErrorKind::Precondition, Condition::Is(etag)) => Some(Seen::Not(etag.clone())),
                    (ErrorKind::NotFound(Entity::Object), Condition::Is(_)) => Some(Seen::Absent),
                    _ => None,
                };
                world.fail(begun, seen, &error);
            }
        }
    }

    async fn put(&self, key: &str) {
        let world = &self.life.world;
        let (bytes, tags) = (content(world.writes.issue(), self.size()), self.some_tags());
        let write = world.writes.add(key, Some(bytes.clone()));
        let (condition, preconditions) = self.condition(key);
        let what = format!("PUT write {write}, {} bytes, tags {tags}, {condition:?}", bytes.len());
        let begun = self.begin(key, what, Some(Intended::Put(Value { write, tags }, condition.clone())));
        let options = PutOptions {
            headers: writes::headers(write),
            metadata: writes::metadata(write),
            tags: writes::tags(tags),
            preconditions,
            ..PutOptions::default()
        };
        let put = async {
            let bucket = self.life.bucket().await?;
            self.life.shadow.put(&self.life.cx, &bucket, &object_key(key), self.body(&bytes), options).await
        };
        let put = put.await.inspect(|put| world.learn(key, put.version, Name::Write(write)));
        if let Ok(put) = &put
            && put.etag != ETag::from_md5(md5(&bytes))
        {
            world.complain(key, format!("write {write} was acknowledged with the ETag {}", put.etag));
        }
        self.end_write(begun, &condition, put, |_| "stored".to_owned());
    }

    async fn delete(&self, key: &str) {
        let (condition, preconditions) = if self.life.world.env.chance(0.8) { Default::default() } else { self.condition(key) };
        let condition = if condition == Condition::Absent { Condition::None } else { condition };
        let preconditions = Preconditions { if_none_match: None, ..preconditions };
        let marker = self.life.world.writes.issue();
        let begun = self.begin(key, format!("DELETE {condition:?}, marker {marker}"), Some(Intended::Delete(condition.clone(), marker)));
        let delete = async {
            let bucket = self.life.bucket().await?;
            self.life
                .shadow
                .delete(&self.life.cx, &bucket, &object_key(key), DeleteOptions { preconditions, ..DeleteOptions::default() })
                .await
        };
        let deleted = delete.await;
        if let Ok(Deleted { version: Some(version), is_marker: true }) = deleted {
            self.life.world.learn(key, version, Name::Marker(marker));
        }
        self.end_write(begun, &condition, deleted, |_| "deleted".to_owned());
    }

    async fn copy(&self, key: &str) {
        let (world, env) = (&self.life.world, &self.life.world.env);
        let source = env.pick(&env.dials.keys).clone();
        if env.dials.big {
            // What is copied is hashed like what a client sends.
            return self.get(&source).await;
        }
        let tags = self.some_tags();
        let write = world.writes.add(key, None);
        let what = format!("COPY of {source} as write {write}, tags {tags}");
        let begun = self.begin(key, what, Some(Intended::Put(Value { write, tags }, Condition::None)));
        let reading = self.begin(&source, format!("COPY to {key}"), None);
        let options = CopyOptions {
            replace: Some((writes::headers(write), writes::metadata(write))),
            replace_tags: Some(writes::tags(tags)),
            ..CopyOptions::default()
        };
        let copied = async {
            let bucket = self.life.bucket().await?;
            let (from, to) = (object_key(&source), object_key(key));
            copy(&self.life.shadow, &self.life.cx, (&bucket, &from), (&bucket, &to), options).await.map(|copied| copied.target)
        };
        match copied.await {
            Ok(put) => {
                world.writes.resolve(write, &put.etag);
                world.learn(key, put.version, Name::Write(write));
                if world.writes.get(write).is_none_or(|written| written.content.is_none()) {
                    world.complain(key, format!("copy {write} of {source} holds what no write stored"));
                }
                world.end(reading, Outcome::Saw(Seen::Content(put.etag.clone())), format!("content {}", put.etag));
                world.end(begun, Outcome::Done, "copied");
            }
            Err(error) => {
                self.fail(reading, &error);
                world.fail(begun, None, &error);
            }
        }
    }

    async fn upload(&self, key: &str) {
        let world = &self.life.world;
        let tags = self.some_tags();
        let write = world.writes.add(key, None);
        let options = CreateUpload {
            headers: writes::headers(write),
            metadata: writes::metadata(write),
            tags: writes::tags(tags),
            ..CreateUpload::default()
        };
        let (key_, mut parts) = (object_key(key), Vec::new());
        let upload = async {
            let bucket = self.life.bucket().await?;
            self.life.shadow.create_upload(&self.life.cx, &bucket, &key_, options).await
        };
        let Ok(upload) = upload.await else { return };
        for _ in 0..1 + world.env.below(3) {
            let Ok(number) = PartNumber::new(1 + world.env.below(2) as i64) else { return };
            let address = PartAddress { key: &key_, upload: &upload, number };
            let part = if !world.env.dials.big && world.env.chance(0.3) {
                self.copy_part(key, address).await
            } else {
                let bytes = content(world.writes.issue(), self.size());
                let part = async {
                    let bucket = self.life.bucket().await?;
                    self.life.shadow.put_part(&self.life.cx, &bucket, address, self.body(&bytes), Integrity::default()).await
                };
                part.await.ok().map(|put| (put.etag, bytes))
            };
            if let Some((etag, bytes)) = part {
                parts.retain(|(before, _, _)| *before != number);
                parts.push((number, etag, bytes));
            }
        }
        // A part but the last has to be large: one is named, whichever it is.
        let Some((number, etag, bytes)) = parts.pop().filter(|_| world.env.chance(0.85)) else {
            if let Ok(bucket) = self.life.bucket().await {
                let _ = self.life.shadow.abort_upload(&self.life.cx, &bucket, &key_, &upload).await;
            }
            return;
        };
        let whole = ETag::from_parts(md5(&md5(&bytes)), 1);
        world.writes.change(write, |written| (written.content, written.etag) = (Some(bytes), Some(whole)));
        let named = CompleteUpload { parts: vec![CompletedPart { number, etag, checksum: None }], ..CompleteUpload::default() };
        for _ in 0..1 + world.env.below(2) {
            let intended = Intended::Put(Value { write, tags }, Condition::None);
            let begun = self.begin(key, format!("COMPLETE write {write}"), Some(intended));
            let complete = async {
                let bucket = self.life.bucket().await?;
                self.life.shadow.complete_upload(&self.life.cx, &bucket, &key_, &upload, named.clone()).await
            };
            match complete.await {
                Ok(put) => {
                    world.learn(key, put.version, Name::Write(write));
                    return world.end(begun, Outcome::Done, "completed");
                }
                Err(error) => world.fail(begun, None, &error),
            }
        }
    }

    /// Makes a part of an object: its ETag and content.
    async fn copy_part(&self, key: &str, address: PartAddress<'_>) -> Option<(ETag, Bytes)> {
        let (world, env) = (&self.life.world, &self.life.world.env);
        let source = env.pick(&env.dials.keys).clone();
        let reading = self.begin(&source, format!("COPY to a part of {key}"), None);
        let copied = async {
            let (bucket, from) = (self.life.bucket().await?, object_key(&source));
            let (objects, cx) = (&self.life.shadow, &self.life.cx);
            copy_part(objects, cx, (&bucket, &from), &bucket, address, umbra_store::CopyPartOptions::default())
                .await
                .map(|copied| copied.target)
        };
        match copied.await {
            Ok(put) => {
                world.end(reading, Outcome::Saw(Seen::Content(put.etag.clone())), format!("content {}", put.etag));
                let content = world.writes.content_of(&put.etag);
                if content.is_none() {
                    world.complain(key, format!("a part copied of {source} holds what no write stored"));
                }
                content.map(|content| (put.etag, content))
            }
            Err(error) => {
                self.fail(reading, &error);
                None
            }
        }
    }

    async fn tags(&self, key: &str) {
        let begun = self.begin(key, "TAGS".to_owned(), None);
        let world = &self.life.world;
        let tags = async { self.life.shadow.tags(&self.life.cx, &*self.life.bucket().await?, &object_key(key), None).await };
        match tags.await.map(|(tags, _)| writes::tags_named(&tags)) {
            Ok(Some(tags)) => world.end(begun, Outcome::Saw(Seen::Tags(tags)), format!("tags {tags}")),
            Ok(None) => world.complain(key, "tags that nobody set"),
            Err(error) => self.fail(begun, &error),
        }
    }

    async fn put_tags(&self, key: &str) {
        let tags = self.some_tags();
        let begun = self.begin(key, format!("PUT TAGS {tags}"), Some(Intended::PutTags(tags)));
        let put = async {
            self.life.shadow.put_tags(&self.life.cx, &*self.life.bucket().await?, &object_key(key), None, writes::tags(tags)).await
        };
        match put.await {
            Ok(_) => self.life.world.end(begun, Outcome::Done, "stored"),
            Err(error) => self.fail(begun, &error),
        }
    }
}
