//! What a client does with versions by their names, and what it checks of a listing of them.

use std::collections::BTreeMap;

use umbra_core::{Entity, Error, ErrorKind, Fault, Result, VersionId};
use umbra_store::{DeleteOptions, GetOptions, ListVersions, Objects, Versioning, VersionsPage};

use crate::{
    client::Client,
    history::{Intended, Outcome},
    life::{Begun, object_key},
    reference::{At, Condition, Listed, Name, Seen},
};

impl Client {
    pub(crate) async fn act_on_versions(&self, key: &str) {
        let env = &self.life.world.env;
        let (id, name) = self.some_version(key);
        match env.below(if env.dials.reads_only { 60 } else { 100 }) {
            0..=19 => self.get_version(key, id, name).await,
            20..=32 => self.head_version(key, id, name).await,
            33..=38 => self.tags_of_version(key, id, name).await,
            39..=59 => self.list_versions(["", "", "b", "b/"][env.below(4)], ["", "/"][env.below(2)], 1 + env.below(8)).await,
            60..=79 => self.delete_version(key, id, name).await,
            80..=86 => self.tag_version(key, id, name).await,
            87..=92 => self.copy_version(key).await,
            _ => self.hold_version(key, id, name).await,
        }
    }

    /// A version that there is, or was once; or the null version, which is the object where there are no versions.
    pub(crate) fn some_version(&self, key: &str) -> (VersionId, Name) {
        let (env, known) = (&self.life.world.env, self.life.world.writes.versions_of(key));
        if known.is_empty() || env.chance(0.3) { (VersionId::Null, Name::Null) } else { *env.pick(&known[known.len().saturating_sub(6)..]) }
    }

    async fn get_version(&self, key: &str, id: VersionId, name: Name) {
        let begun = self.begin(key, format!("GET version {name:?}"), None);
        match self.open(key, GetOptions { version: Some(id), ..GetOptions::default() }).await {
            Ok(object) => {
                let info = object.info.clone();
                let body = object.body.collect(usize::MAX).await;
                match body {
                    Ok(body) => {
                        self.end_version(key, begun, (id, name), self.life.world.identify(key, &info, None, Some(&body)), info.version)
                    }
                    Err(error) => self.life.world.fail(begun, None, &error),
                }
            }
            Err(error) => self.fail_version(begun, name, &error),
        }
    }

    async fn head_version(&self, key: &str, id: VersionId, name: Name) {
        let begun = self.begin(key, format!("HEAD version {name:?}"), None);
        let options = GetOptions { version: Some(id), ..GetOptions::default() };
        let head = async { self.life.shadow.head(&self.life.cx, &*self.life.bucket().await?, &object_key(key), options).await };
        match head.await {
            Ok(info) => self.end_version(key, begun, (id, name), self.life.world.identify(key, &info, None, None), info.version),
            Err(error) => self.fail_version(begun, name, &error),
        }
    }

    fn end_version(&self, key: &str, begun: Begun, (id, name): (VersionId, Name), found: Result<u32, String>, version: VersionId) {
        let world = &self.life.world;
        match found {
            Ok(write) if version == id => {
                world.end(begun, Outcome::Saw(Seen::Version(name, At::Object(write))), format!("write {write}"));
            }
            found => {
                let wrong = format!("version {id} was asked for, and version {version} came: {found:?}");
                world.complain(key, wrong.clone());
                world.end(begun, Outcome::Failed, wrong);
            }
        }
    }

    pub(crate) fn fail_version(&self, begun: Begun, name: Name, error: &Error) {
        let at = match error.kind() {
            ErrorKind::NotFound(Entity::Version | Entity::Object) => Some(At::Nothing),
            ErrorKind::Invalid(Fault::MethodNotAllowed) => Some(At::Marker),
            _ => None,
        };
        self.life.world.fail(begun, at.map(|at| Seen::Version(name, at)), error);
    }

    async fn delete_version(&self, key: &str, id: VersionId, name: Name) {
        let Ok(bucket) = self.life.bucket().await else { return };
        // Where there are none it is a delete like another.
        let intended = match bucket.settings.versioning {
            Versioning::Off => Intended::Delete(Condition::None, self.life.world.writes.issue()),
            Versioning::Enabled | Versioning::Suspended => Intended::Remove(name),
        };
        let begun = self.begin(key, format!("DELETE version {name:?}"), Some(intended));
        let options = DeleteOptions { version: Some(id), ..DeleteOptions::default() };
        match self.life.shadow.delete(&self.life.cx, &bucket, &object_key(key), options).await {
            Ok(deleted) if deleted.version.is_some_and(|version| version != id) => {
                let wrong = format!("version {id} was to be deleted, and version {:?} was", deleted.version);
                self.life.world.complain(key, wrong.clone());
                self.life.world.end(begun, Outcome::Failed, wrong);
            }
            Ok(_) => self.life.world.end(begun, Outcome::Done, "deleted"),
            Err(error) if error.kind() == ErrorKind::Denied => self.life.world.fail(begun, Some(Seen::Held(name)), &error),
            // While writes go through, the newest stays.
            Err(error) if error.kind() == ErrorKind::Invalid(Fault::InvalidRequest) => {
                self.life.world.fail(begun, Some(Seen::Newest(name)), &error);
            }
            Err(error) => self.life.world.fail(begun, None, &error),
        }
    }

    /// Lists all versions, and reads of each what it is where that is not known.
    pub(crate) async fn list_versions(&self, prefix: &str, delimiter: &str, limit: usize) {
        let mut options = ListVersions { prefix: prefix.to_owned(), delimiter: delimiter.to_owned(), limit, ..ListVersions::default() };
        loop {
            let begun = self.begin_page_of_versions(&options);
            let list = async { self.life.shadow.list_versions(&self.life.cx, &*self.life.bucket().await?, options.clone()).await };
            let page = match list.await {
                Ok(page) => page,
                Err(error) => {
                    begun.into_values().for_each(|begun| self.life.world.fail(begun, None, &error));
                    return;
                }
            };
            self.judge_page_of_versions(&options, &page, begun);
            for listed in page.versions.iter().filter(|listed| !listed.is_marker && listed.version != VersionId::Null) {
                if self.life.world.writes.version(listed.version).is_none() {
                    self.learn_version(listed.object.key.as_str(), listed.version).await;
                }
            }
            let Some((key, version)) = page.next else { return };
            (options.key_marker, options.version_marker) = (Some(key), version);
        }
    }

    /// Reads what a version is. It may be gone by now.
    async fn learn_version(&self, key: &str, id: VersionId) {
        let options = GetOptions { version: Some(id), ..GetOptions::default() };
        let head = async { self.life.shadow.head(&self.life.cx, &*self.life.bucket().await?, &object_key(key), options).await };
        if let Ok(info) = head.await
            && let Err(wrong) = self.life.world.identify(key, &info, None, None)
        {
            self.life.world.complain(key, format!("version {id}: {wrong}"));
        }
    }

    /// Begins an operation for each key that the page may tell of.
    fn begin_page_of_versions(&self, options: &ListVersions) -> BTreeMap<String, Begun> {
        let ListVersions { prefix, delimiter, key_marker, version_marker, limit } = options;
        let what = format!("LIST VERSIONS {prefix:?} {delimiter:?} behind {key_marker:?} {version_marker:?}, {limit} at most");
        let is_behind = |key: &&String| match key_marker {
            Some(marker) if version_marker.is_some() => *key >= marker,
            Some(marker) => *key > marker,
            None => true,
        };
        let keys = self.life.world.env.dials.keys.iter().filter(|key| key.starts_with(prefix) && is_behind(key));
        keys.map(|key| (key.clone(), self.begin(key, what.clone(), None))).collect()
    }

    fn judge_page_of_versions(&self, options: &ListVersions, page: &VersionsPage, begun: BTreeMap<String, Begun>) {
        let world = &self.life.world;
        let names: Vec<&str> = page.versions.iter().map(|listed| listed.object.key.as_str()).collect();
        // It may be shorter: what is gone since one side of it was read is left out.
        let is_too_long = names.len() + page.common_prefixes.len() > options.limit;
        let is_known = |name: &&str| begun.contains_key(*name);
        if !names.is_sorted() || !page.common_prefixes.is_sorted() || is_too_long || !names.iter().all(is_known) {
            world.complain(
                names.first().copied().unwrap_or_default(),
                format!("a page of versions that is out of order or too long: {page:?}"),
            );
        }
        for (key, begun) in begun {
            let rolled = !options.delimiter.is_empty() && key[options.prefix.len()..].contains(&options.delimiter);
            let is_cut = options.key_marker.as_ref() == Some(&key);
            let of_key = || page.versions.iter().filter(|listed| listed.object.key.as_str() == key);
            // The page tells of all that comes before its end, and of some of the key it ends within.
            let end = page.next.as_ref().map(|(name, _)| name.as_str());
            let is_covered = end.is_none_or(|end| key.as_str() <= end);
            if rolled || !is_covered {
                world.end(begun, Outcome::Saw(Seen::Nothing), "not covered");
                continue;
            }
            if of_key().skip(1).any(|listed| listed.is_latest) {
                world.complain(&key, format!("another than the newest version is listed as the latest: {page:?}"));
            }
            let listed = Listed {
                behind: options.version_marker.filter(|_| is_cut),
                versions: of_key().map(|of| (of.version, (!of.is_marker).then(|| (of.object.etag.clone(), of.object.size)))).collect(),
                has_latest: of_key().any(|listed| listed.is_latest),
                is_end: end != Some(key.as_str()),
            };
            let answer = format!("{:?}{}", listed.versions, if listed.is_end { "" } else { " ..." });
            world.end(begun, Outcome::Saw(Seen::Versions(listed)), answer);
        }
    }
}
