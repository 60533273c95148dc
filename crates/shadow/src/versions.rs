//! Versions in a bucket with an origin: the origin's object is the null version of a key that has nothing here.
//!
//! A key that has a version or a delete marker of its own is never cold; whatever removes the last of them leaves a tombstone.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use umbra_core::{Entity, Error, ErrorKind, Fault, ObjectKey, RequestContext, Result, Tags, VersionId};
use umbra_meta::{Check, Expect, key};
use umbra_store::{
    Bucket, DeleteOptions, Deleted, ListOptions, ListSource, ListStart, ListVersions, ListedVersion, Objects, RemoveVersion, Terms,
    VersionsPage,
};

use crate::{
    Shadow,
    list::Merged,
    list_merge::Item,
    origin::Origin,
    read_through::ATTEMPTS_MAX,
    record::Operation,
    shadow::writes_through,
    view::has_versions,
    write_here::{OnlyHere, judge_delete, unswitched},
};

/// `version`, unless it names the only one there is in a bucket without versions.
pub(crate) fn named(bucket: &Bucket, version: Option<VersionId>) -> Option<VersionId> {
    version.filter(|version| has_versions(bucket) || *version != VersionId::Null)
}

/// Refuses what was `found` in the place of the `wanted` version.
pub(crate) fn refuse_other(wanted: Option<VersionId>, found: VersionId) -> Result<()> {
    if wanted.is_none_or(|wanted| wanted == found) { Ok(()) } else { Err(Error::not_found(Entity::Version)) }
}

impl Shadow {
    /// Whether `version` is a matter of this side alone: all are but the null version of a cold key, which is the origin's object.
    pub(crate) async fn is_version_here(&self, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>) -> Result<bool> {
        match named(bucket, version) {
            None => Ok(false),
            Some(VersionId::Named { .. }) => Ok(true),
            Some(VersionId::Null) => Ok(!self.view(bucket, key).await?.is_cold()),
        }
    }

    /// Whether what a read of a key has `found`, which was cold or whose bucket had no versions, says nothing of its null version: that is behind
    /// by now or gone, or another was found, or none, and the key has something here. However the key looks by now, the null version may have been
    /// behind what was found.
    pub(crate) async fn is_no_answer_for_null(&self, bucket: &Bucket, key: &ObjectKey, found: Option<VersionId>) -> Result<bool> {
        let now = if has_versions(bucket) { None } else { Some(self.0.catalog.refresh(&bucket.name).await?) };
        if now.as_ref().is_some_and(|now| !has_versions(now) || now.partition != bucket.partition) {
            return Ok(false);
        }
        let view = self.view(now.as_deref().unwrap_or(bucket), key).await?;
        Ok(view.object.map_or(view.gone, |stored| [found, Some(stored.object.version.id())] != [Some(VersionId::Null); 2]))
    }

    /// Which version the object here is, if there is one.
    pub(crate) async fn current_version(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Option<VersionId>> {
        Ok(self.native().find(bucket, key).await?.map(|stored| stored.object.version.id()))
    }

    /// Replaces the tags of `version`: of the current one, or of a cold key, like those of the key, and of one behind that here.
    pub(crate) async fn put_tags_of_version(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: VersionId,
        tags: Tags,
        origin: Arc<dyn Origin>,
    ) -> Result<VersionId> {
        let wanted = Some(version);
        for _ in 0..ATTEMPTS_MAX {
            if self.current_version(bucket, key).await? != wanted && self.is_version_here(bucket, key, wanted).await? {
                return self.native().put_tags(cx, bucket, key, wanted, tags).await;
            }
            match self.put_tags_through(cx, bucket, key, wanted, tags.clone(), origin.clone()).await {
                Err(error) if error.kind() != ErrorKind::NotFound(Entity::Object) => return Err(error),
                Err(error) if !has_versions(bucket) => return self.stands(bucket, Err(error)).await,
                Err(error) if self.view(bucket, key).await?.is_cold() => return Err(error),
                // The key has another on top by now, or a delete marker.
                Err(_) => {}
                Ok(tagged) => return Ok(tagged),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the object keeps changing; please try again"))
    }

    /// Brings a key here whose object is what `version` of it is, unless that is elsewhere by then; fails where the key exists nowhere.
    pub(crate) async fn hydrate_version(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        origin: &Arc<dyn Origin>,
    ) -> Result<()> {
        if self.is_version_here(bucket, key, version).await? {
            return Ok(());
        }
        match self.hydrate_now(cx, bucket, key, origin).await {
            Err(error)
                if version.is_some()
                    && error.kind() == ErrorKind::NotFound(Entity::Object)
                    && self.is_no_answer_for_null(bucket, key, None).await? =>
            {
                Ok(())
            }
            hydrated => hydrated,
        }
    }

    /// Deletes a named version, here. While writes go through, none that would change what is current, for the origin has no such versions.
    pub(crate) async fn delete_version(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: DeleteOptions,
        origin: &dyn Origin,
    ) -> Result<Deleted> {
        let DeleteOptions { version, bypass_governance, preconditions: conditions } = options;
        let version = version.unwrap_or_default();
        let _lock = self.0.locks.lock(bucket.partition, key).await;
        let view = self.view(bucket, key).await?;
        let is_cold = version == VersionId::Null && view.is_cold();
        let of_absence = self.terms_of_delete(bucket, key);
        if writes_through(bucket) {
            if is_cold {
                let message = "the null version of this key is the origin's object; delete it without naming a version";
                return self.stands(bucket, Err(Error::invalid(Fault::InvalidRequest, message))).await;
            }
            let bucket = self.fresh(bucket).await?;
            let options = RemoveVersion {
                conditions,
                bypass_governance,
                keeps_current: true,
                terms: Terms::default(),
                terms_of_absence: of_absence,
                ..RemoveVersion::default()
            };
            return match self.native().remove_version(&bucket, key, version, options).await {
                // It is refused for the origin's sake, as long as there is one that is written to.
                Err(error) if error.kind() == ErrorKind::Invalid(Fault::InvalidRequest) => self.stands(&bucket, Err(error)).await,
                removed => removed,
            };
        }
        // What is half done becomes a version on top, and is none yet: whoever names another says nothing of it.
        let is_beside = view.unsettled().is_some_and(|intent| intent.operation != Operation::Tag) && !is_cold;
        let terms_here = async |terms| match is_beside {
            true => self.beside_intent(bucket, key, terms).await,
            false => self.only_here(bucket, key, terms).await,
        };
        let OnlyHere { terms: terms_of_absence, under, leaves_upload } = terms_here(of_absence).await?;
        let deleted = if is_cold {
            let checks = [key::object(key), key::history(key)].map(|key| Check { key, expect: Expect::Absent });
            let etag = self.cold_etag(cx, bucket, key, &view, &conditions, origin).await?;
            match judge_delete(&conditions, view.found(etag.as_ref())) {
                // What is absent is deleted already, whatever the conditions.
                Err(error) if error.kind() == ErrorKind::NotFound(Entity::Object) => {
                    return self.stands(bucket, Ok(Deleted { version: Some(version), is_marker: false })).await;
                }
                judged => judged?,
            }
            let mut terms = terms_of_absence;
            terms.checks.extend(checks);
            let committed = self.native().commit_terms(bucket, &terms).await;
            committed.map(|()| Deleted { version: Some(version), is_marker: false })
        } else {
            // One behind the current object changes nothing but itself.
            let is_behind = view.object.as_ref().is_some_and(|stored| stored.object.version.id() != version);
            let terms = match is_behind {
                true => Terms { checks: vec![unswitched(under)], ..Terms::default() },
                false => terms_here(Self::terms_of_put(key)).await?.terms,
            };
            let options =
                RemoveVersion { conditions, bypass_governance, keeps_current: false, terms, terms_of_absence, ..RemoveVersion::default() };
            self.native().remove_version(bucket, key, version, options).await
        };
        let deleted = self.unless_switched(bucket, under, deleted).await?;
        self.end_left_upload(bucket, leaves_upload);
        Ok(deleted)
    }

    /// One page of versions, cold keys as their null version.
    ///
    /// The current objects of both sides, merged, are held against the versions here: what the origin has is cold unless it has some of those, and
    /// what was here then and is no more is gone. Where no versions are kept the current objects are all there is, and each the null version.
    pub(crate) async fn list_versions_merged(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        options: ListVersions,
        origin: &dyn Origin,
    ) -> Result<VersionsPage> {
        if options.limit == 0 {
            return Ok(VersionsPage::default());
        }
        let marker = options.key_marker.clone().filter(|marker| !marker.is_empty());
        let merged = ListOptions {
            prefix: options.prefix.clone(),
            delimiter: options.delimiter.clone(),
            start: marker.map_or(ListStart::First, ListStart::After),
            limit: options.limit,
            source: ListSource::Merged,
        };
        let merged = self.merged(cx, bucket, merged, origin).await?;
        if has_versions(bucket) {
            let here = self.native().list_versions(cx, bucket, options.clone()).await?;
            return Ok(union(merged, Some(here), options.limit));
        }
        if has_versions(&*self.0.catalog.refresh(&bucket.name).await?) {
            return Err(Error::new(ErrorKind::Unavailable, "the bucket's versioning was just changed; please try again"));
        }
        Ok(union(merged, None, options.limit))
    }
}

/// Names of one page, in order: a common prefix, or a key with what is known of its versions.
type Names = BTreeMap<String, Vec<ListedVersion>>;

/// Both sides of a page; `here` is none of it where no versions are kept.
fn union(merged: Merged, here: Option<VersionsPage>, limit: usize) -> VersionsPage {
    let is_all_current = here.is_none();
    let here = here.unwrap_or_default();
    // Behind the last name that both reach nothing is certain.
    let ends = [merged.last.filter(|_| merged.has_more), here.next.as_ref().map(|(name, _)| name.clone())];
    let horizon = ends.into_iter().flatten().min();
    let is_certain = |name: &str| horizon.as_deref().is_none_or(|horizon| name <= horizon);
    let is_cut = |name: &str| horizon.as_deref() == Some(name);
    let known: HashSet<String> = here.versions.iter().map(|listed| listed.object.key.as_str().to_owned()).collect();
    let mut names = Names::new();
    names.extend(here.common_prefixes.into_iter().map(|prefix| (prefix, Vec::new())));
    for listed in here.versions {
        names.entry(listed.object.key.as_str().to_owned()).or_default().push(listed);
    }
    for (source, item) in merged.shown {
        match item {
            Item::Prefix(prefix) => drop(names.insert(prefix, Vec::new())),
            Item::Object(object) if (is_all_current || source == ListSource::Origin) && !known.contains(object.key.as_str()) => {
                let name = object.key.as_str().to_owned();
                names.insert(name, vec![ListedVersion { object, version: VersionId::Null, is_latest: true, is_marker: false }]);
            }
            Item::Object(_) => {}
        }
    }
    let mut page = VersionsPage::default();
    let mut last = None;
    for (name, versions) in names {
        if !is_certain(&name) {
            break;
        }
        let count = versions.len().max(1);
        let room = limit - page.versions.len() - page.common_prefixes.len();
        if room == 0 {
            page.next = last;
            return page;
        }
        if versions.is_empty() {
            page.common_prefixes.push(name.clone());
            last = Some((name, None));
            continue;
        }
        page.versions.extend(versions.into_iter().take(room));
        last = page.versions.last().map(|listed| (name.clone(), Some(listed.version)));
        if count > room {
            page.next = last;
            return page;
        }
        // All that is known of the key was shown, and there may be more of it behind.
        if is_cut(&name) && here.next.as_ref().is_some_and(|(cut, _)| *cut == name) {
            page.next = here.next;
            return page;
        }
    }
    page.next = horizon.map(|horizon| match last {
        Some((name, version)) if name == horizon => (name, version),
        _ => (horizon, None),
    });
    page
}
