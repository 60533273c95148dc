//! What a client does to versions by their names besides deleting them, and what it makes of them.

use umbra_core::VersionId;
use umbra_store::{CopyOptions, LockChange, Objects, copy};

use crate::{
    client::Client,
    history::{Intended, Outcome},
    life::object_key,
    reference::{Condition, Name, Seen, Value},
    writes,
};

impl Client {
    pub(crate) async fn tags_of_version(&self, key: &str, id: VersionId, name: Name) {
        let (world, begun) = (&self.life.world, self.begin(key, format!("TAGS of version {name:?}"), None));
        let tags = async { self.life.shadow.tags(&self.life.cx, &*self.life.bucket().await?, &object_key(key), Some(id)).await };
        match tags.await.map(|(tags, version)| (writes::tags_named(&tags), version)) {
            Ok((Some(tags), version)) if version == id => {
                world.end(begun, Outcome::Saw(Seen::TagsOf(name, tags)), format!("tags {tags}"));
            }
            Ok(found) => world.complain(key, format!("the tags of version {id} were asked for, and {found:?} came")),
            Err(error) => self.fail_version(begun, name, &error),
        }
    }

    pub(crate) async fn tag_version(&self, key: &str, id: VersionId, name: Name) {
        let (world, tags) = (&self.life.world, self.some_tags());
        let begun = self.begin(key, format!("PUT TAGS {tags} of version {name:?}"), Some(Intended::TagVersion(name, tags)));
        let put = async {
            self.life.shadow.put_tags(&self.life.cx, &*self.life.bucket().await?, &object_key(key), Some(id), writes::tags(tags)).await
        };
        match put.await {
            Ok(version) if version == id => world.end(begun, Outcome::Done, "stored"),
            Ok(version) => world.complain(key, format!("version {id} was to be tagged, and version {version} was")),
            Err(error) => self.fail_version(begun, name, &error),
        }
    }

    /// Puts a version under a legal hold, or ends that. Only one that has a name of its own: a null version would have to go with the next write
    /// once versions are suspended, which the front does not let happen to a bucket with locks.
    pub(crate) async fn hold_version(&self, key: &str, id: VersionId, name: Name) {
        let held = self.life.world.env.chance(0.6);
        let Name::Write(_) = name else { return self.tag_version(key, id, name).await };
        let begun = self.begin(key, format!("HOLD {held} of version {name:?}"), Some(Intended::Hold(name, held)));
        let change = LockChange::LegalHold(held);
        let put = async { self.life.shadow.put_lock(&self.life.cx, &*self.life.bucket().await?, &object_key(key), Some(id), change).await };
        match put.await {
            Ok(()) => self.life.world.end(begun, Outcome::Done, "held"),
            Err(error) => self.fail_version(begun, name, &error),
        }
    }

    /// Copies a version, of another key or of the same.
    pub(crate) async fn copy_version(&self, key: &str) {
        let (world, env) = (&self.life.world, &self.life.world.env);
        let source = if env.chance(0.5) { key.to_owned() } else { env.pick(&env.dials.keys).clone() };
        let (id, name) = self.some_version(&source);
        if env.dials.big {
            // As with a copy of an object.
            return self.tags_of_version(&source, id, name).await;
        }
        let (tags, write) = (self.some_tags(), world.writes.add(key, None));
        let what = format!("COPY of version {name:?} of {source} as write {write}, tags {tags}");
        let begun = self.begin(key, what, Some(Intended::Put(Value { write, tags }, Condition::None)));
        let reading = self.begin(&source, format!("COPY of version {name:?} to {key}"), None);
        let options = CopyOptions {
            source_version: Some(id),
            replace: Some((writes::headers(write), writes::metadata(write))),
            replace_tags: Some(writes::tags(tags)),
            ..CopyOptions::default()
        };
        let copied = async {
            let (bucket, from, to) = (self.life.bucket().await?, object_key(&source), object_key(key));
            copy(&self.life.shadow, &self.life.cx, (&bucket, &from), (&bucket, &to), options).await
        };
        match copied.await {
            Ok(copied) => {
                let put = copied.target;
                world.writes.resolve(write, &put.etag);
                world.learn(key, put.version, Name::Write(write));
                if copied.source != id || world.writes.get(write).is_none_or(|written| written.content.is_none()) {
                    world.complain(key, format!("copy {write} of version {id} of {source} is one of version {}", copied.source));
                }
                world.end(reading, Outcome::Saw(Seen::ContentOf(name, put.etag.clone())), format!("content {}", put.etag));
                world.end(begun, Outcome::Done, "copied");
            }
            Err(error) => {
                self.fail_version(reading, name, &error);
                world.fail(begun, None, &error);
            }
        }
    }
}
