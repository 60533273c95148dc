//! Reads of a bucket with an origin: here first, then the origin.

use std::sync::Arc;

use umbra_core::{
    ByteRange, ETag, Entity, Error, ErrorKind, HydratePolicy, ObjectInfo, ObjectKey, Preconditions, ReadSource, RequestContext, Result,
    Tags, VersionId, check_read,
};
use umbra_store::{Bucket, GetObject, GetOptions, Objects};

use crate::{
    Shadow,
    cold_parts::Parts,
    flights::Joined,
    hydrate::{Hydration, HydrationParts, Wanted, same_shadow},
    origin::{Origin, OriginError},
    record::Operation,
    transfer::{End, Transfer},
    view::{Base, View},
    write_through::switched,
};

/// How often a read starts over because the key changed under it.
pub(crate) const ATTEMPTS_MAX: usize = 16;

/// Where a key is to be read.
enum Place {
    Here,
    Nowhere,
    Origin {
        /// Whether the origin has it from a write of ours that was left half done.
        is_written: bool,
    },
}

impl Shadow {
    /// What is known here of a key, and where it is to be read.
    async fn find_place(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, origin: &dyn Origin) -> Result<(View, Place)> {
        let mut view = self.view(bucket, key).await?;
        for _ in 0..ATTEMPTS_MAX {
            let place = self.place(cx, bucket, key, &view, origin).await?;
            if view.unsettled().is_none() {
                return Ok((view, place));
            }
            // What the origin said may be of a later write than the one it was asked about.
            let now = self.view(bucket, key).await?;
            if now.base == view.base {
                return Ok((view, place));
            }
            view = now;
        }
        Err(keeps_changing())
    }

    async fn place(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, view: &View, origin: &dyn Origin) -> Result<Place> {
        if let Some(intent) = view.unsettled()
            && let Some(operation) = self.applied(cx, bucket, key, intent, origin).await?
        {
            match operation {
                Operation::Put => return Ok(Place::Origin { is_written: true }),
                Operation::Delete => return Ok(Place::Nowhere),
                Operation::Tag | Operation::CopyBack => {}
            }
        }
        match view {
            View { object: Some(stored), .. } if self.0.revalidations.is_outdated(bucket, key, stored.revision) => {}
            View { object: Some(_), .. } => return Ok(Place::Here),
            View { gone: true, .. } => return Ok(Place::Nowhere),
            _ => {}
        }
        self.still_shadowed(bucket).await?;
        Ok(Place::Origin { is_written: false })
    }

    /// Refuses to take a key for cold by a shadow that was cleared since: what was deleted then left no tombstone. From memory, which every
    /// change of ours passes through; the commit of a copy holds it against what is stored.
    async fn still_shadowed(&self, bucket: &Bucket) -> Result<()> {
        if same_shadow(bucket, &*self.0.catalog.bucket(&bucket.name).await?) { Ok(()) } else { Err(switched()) }
    }

    pub(crate) async fn read_through(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: GetOptions,
        origin: Arc<dyn Origin>,
    ) -> Result<GetObject> {
        for attempt in 0..ATTEMPTS_MAX {
            let (view, place) = self.find_place(cx, bucket, key, &*origin).await?;
            match place {
                Place::Here => {
                    self.stats(bucket).local_reads.add(1);
                    let mut object = self.native().get(cx, bucket, key, options).await?;
                    // Tags that are half set are asked for by themselves.
                    object.info.tags.take_if(|_| view.unsettled().is_some());
                    return Ok(object);
                }
                Place::Nowhere => return Err(self.native().absence(bucket, key).await),
                Place::Origin { .. } => {}
            }
            let first = attempt == 0;
            let read = match options.part_number {
                Some(number) => self.read_cold_part(cx, bucket, key, (number, &options), &origin, first).await,
                None => self.read_cold(cx, bucket, key, &options, &origin, first).await,
            };
            match read {
                Ok(None) => {}
                Err(error) if self.is_here_now(bucket, key, &view, &error).await? => {}
                // Also a condition may have been judged by it.
                _ if self.is_overtaken(bucket, key, &view).await? => {}
                Ok(Some(object)) => {
                    self.stats(bucket).cold_reads.add(1);
                    return Ok(object);
                }
                Err(error) => return Err(error),
            }
        }
        Err(keeps_changing())
    }

    /// Whether a key was written, brought in or deleted here since it was looked at, and is being written again: what the origin has by now may
    /// be that.
    async fn is_overtaken(&self, bucket: &Bucket, key: &ObjectKey, then: &View) -> Result<bool> {
        let now = self.view(bucket, key).await?;
        let is_deleted = now.gone && now.base.tombstone != then.base.tombstone;
        let is_here = now.object.is_some() && now.base.object != then.base.object;
        Ok(now.intent.is_some() && (is_deleted || is_here))
    }

    /// Whether the origin does not know a key that was written here since it was looked for: then it is not absent.
    async fn is_here_now(&self, bucket: &Bucket, key: &ObjectKey, view: &View, error: &Error) -> Result<bool> {
        if !matches!(error.kind(), ErrorKind::NotFound(_)) {
            return Ok(false);
        }
        let now = self.native().find(bucket, key).await?;
        Ok(now.is_some_and(|now| view.base.object != Some(now.revision)))
    }

    /// Reads a cold key. `None` when it is to be looked for once more: it is not cold any more, or what a transfer begun before this read, the
    /// `first` look of it, was told of the key says nothing of now.
    pub(crate) async fn read_cold(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: &GetOptions,
        origin: &Arc<dyn Origin>,
        first: bool,
    ) -> Result<Option<GetObject>> {
        let path = self.path(cx, bucket);
        let mut wanted = options.range.map_or(Wanted::Whole, Wanted::Range);
        if !options.preconditions.is_empty() {
            // Judged before a transfer is begun: a condition that does not hold must not move a body.
            let told = origin.head(&path, key).await?.info;
            check_read(&options.preconditions, &told)?;
            wanted = options.range.map_or(Wanted::WholeOf(told.size), Wanted::Range);
        }
        for _ in 0..ATTEMPTS_MAX {
            let Joined { visit: transfer, is_new, is_of_another_path } = self.join(cx, bucket, key, origin, wanted);
            if hydrates_whole(bucket) {
                transfer.want_whole();
            }
            let info = match transfer.info().await {
                Ok(Some(info)) => info,
                Ok(None) => return Ok(None),
                Err(error) if first && !is_new && matches!(error.kind(), ErrorKind::NotFound(_)) => {
                    // The origin was asked before this read began, and may have been given the object since.
                    self.0.flights.leave(bucket.partition, key, &transfer);
                    return Ok(None);
                }
                Err(_) if is_of_another_path => continue,
                Err(error) => return Err(error),
            };
            check_read(&options.preconditions, &info)?;
            let range = options.range.map(|range| range.resolve(info.size)).transpose()?;
            let span = range.unwrap_or(ByteRange::new(0, info.size));
            let mut reader = transfer.read(self.native().sealed_blobs(bucket, None, None), span);
            return match reader.prime().await {
                Ok(()) => Ok(Some(GetObject { info: (*info).clone(), range, body: reader.into_body() })),
                // Nothing has been answered yet: a clean restart.
                Err(_) if reader.is_over() => Ok(None),
                Err(_) if is_of_another_path => continue,
                Err(error) => Err(error),
            };
        }
        Err(keeps_failing())
    }

    /// Brings in the whole of a cold key, or joins whoever does. It goes on whoever leaves.
    pub(crate) fn hydrate(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, origin: &Arc<dyn Origin>) -> Arc<Transfer> {
        self.hydrate_wanting(cx, bucket, key, origin, Wanted::Whole)
    }

    /// Like [`Shadow::hydrate`], with what is known of its size.
    pub(crate) fn hydrate_wanting(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        origin: &Arc<dyn Origin>,
        wanted: Wanted,
    ) -> Arc<Transfer> {
        let transfer = self.join(cx, bucket, key, origin, wanted).visit;
        transfer.want_whole();
        Arc::clone(&transfer)
    }

    /// Joins the transfer of a cold key, or starts one that begins with `wanted`.
    ///
    /// A transfer tells the origin which shadows the request had passed that began it, for a circle of shadows ends only where it is told of.
    /// Whoever joins by another path and sees it fail begins anew: a path that is too long, or leads in a circle, is its own request's alone.
    fn join(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, origin: &Arc<dyn Origin>, wanted: Wanted) -> Joined {
        let (joined, earlier) = self.0.flights.join(bucket.partition, key, &cx.shadow_path, &self.0.stopping);
        if joined.is_new {
            let (shadow, cx, bucket, key, origin) = (self.clone(), cx.clone(), bucket.clone(), key.clone(), origin.clone());
            let flight = Arc::clone(&joined.visit);
            self.0.tasks.spawn(async move {
                let landed = Landing { shadow: &shadow, bucket: &bucket, key: &key, flight: &flight };
                earlier.land().await;
                shadow.run_transfer(&cx, &bucket, &key, origin, &flight, wanted).await;
                drop(landed);
            });
        }
        joined
    }

    async fn run_transfer(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        origin: Arc<dyn Origin>,
        flight: &Arc<Transfer>,
        wanted: Wanted,
    ) {
        match self.still_cold(cx, bucket, key, &*origin).await {
            Ok(Some((base, is_written))) => self.hydration(cx, bucket, key, (base, is_written), origin).run(flight, wanted).await,
            Ok(None) => flight.finish(End::Superseded),
            Err(error) => flight.finish(End::Failed(error)),
        }
    }

    /// Looks at a key again now that nobody else can start a transfer of it: an earlier one may just have landed. Tells as well whether the
    /// origin has it from a write of ours.
    async fn still_cold(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, origin: &dyn Origin) -> Result<Option<(Base, bool)>> {
        let (view, place) = self.find_place(cx, bucket, key, origin).await?;
        Ok(match place {
            Place::Origin { is_written } => Some((view.base_for_copy(), is_written)),
            Place::Here | Place::Nowhere => None,
        })
    }

    fn hydration(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        (base, is_written): (Base, bool),
        origin: Arc<dyn Origin>,
    ) -> Arc<Hydration> {
        Hydration::new(HydrationParts {
            native: self.0.native.clone(),
            catalog: self.0.catalog.clone(),
            origin,
            bucket: bucket.clone(),
            key: key.clone(),
            base,
            is_written,
            path: self.path(cx, bucket),
            stats: self.stats(bucket),
            notes: self.notes(bucket),
            memory: self.0.hydration_memory.clone(),
            background: self.0.background.clone(),
            lanes: self.0.flights.lanes(bucket.partition),
            outlived: self.0.flights.outlived(bucket.partition, key),
            stopping: self.0.stopping.clone(),
        })
    }

    pub(crate) async fn head_through(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: GetOptions,
        origin: &Arc<dyn Origin>,
    ) -> Result<ObjectInfo> {
        for _ in 0..ATTEMPTS_MAX {
            let (view, place) = self.find_place(cx, bucket, key, &**origin).await?;
            match place {
                Place::Here => {
                    let mut info = self.native().head(cx, bucket, key, options).await?;
                    info.tags.take_if(|_| view.unsettled().is_some());
                    return Ok(info);
                }
                Place::Nowhere => return Err(self.native().absence(bucket, key).await),
                Place::Origin { .. } => {
                    if let Some(info) = self.head_cold(cx, bucket, key, &options, origin, &view).await? {
                        return Ok(info);
                    }
                }
            }
        }
        Err(keeps_changing())
    }

    /// What the origin tells of a cold key, `then` as it was looked at. `None` when it is to be looked for once more: it is not cold any more.
    async fn head_cold(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: &GetOptions,
        origin: &Arc<dyn Origin>,
        then: &View,
    ) -> Result<Option<ObjectInfo>> {
        let told = origin.head(&self.path(cx, bucket), key).await;
        let Some(head) = self.unless_overtaken(bucket, key, then, told).await? else { return Ok(None) };
        let mut info = ObjectInfo { source: ReadSource::Origin, ..head.info };
        check_read(&options.preconditions, &info)?;
        if options.part_number.is_some() || options.wants_parts {
            match self.cold_parts(cx, bucket, key, &info, origin).await? {
                Parts::Known(parts) => info.parts = parts,
                Parts::LookHere => return Ok(None),
            }
        }
        Ok(Some(info))
    }

    pub(crate) async fn tags_through(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        origin: &dyn Origin,
    ) -> Result<(Tags, VersionId)> {
        for _ in 0..ATTEMPTS_MAX {
            let (view, place) = self.find_place(cx, bucket, key, origin).await?;
            match place {
                Place::Here => return self.native().tags(cx, bucket, key, None).await,
                Place::Nowhere => return Err(self.native().absence(bucket, key).await),
                Place::Origin { .. } => {
                    let told = origin.tags(&self.path(cx, bucket), key).await;
                    if let Some(tags) = self.unless_overtaken(bucket, key, &view, told).await? {
                        return Ok((tags, VersionId::Null));
                    }
                }
            }
        }
        Err(keeps_changing())
    }

    /// What the origin `told` of a key. `None` when that is to be looked for once more, because the key was written, brought in or deleted here since
    /// `then`.
    ///
    /// What is here by now is not simply the answer: it may have changed beneath a write that is half done and that only the origin shows, as by
    /// the delete of a version.
    async fn unless_overtaken<T>(&self, bucket: &Bucket, key: &ObjectKey, then: &View, told: Result<T, OriginError>) -> Result<Option<T>> {
        match told.map_err(Error::from) {
            Err(error) if self.is_here_now(bucket, key, then, &error).await? => Ok(None),
            Ok(_) if self.is_overtaken(bucket, key, then).await? => Ok(None),
            told => told.map(Some),
        }
    }

    /// Brings a key here and waits for it; fails like a read where it exists nowhere.
    pub(crate) async fn hydrate_now(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, origin: &Arc<dyn Origin>) -> Result<()> {
        for attempt in 0..ATTEMPTS_MAX {
            let (view, place) = self.find_place(cx, bucket, key, &**origin).await?;
            match place {
                Place::Here => return Ok(()),
                Place::Nowhere => return Err(Error::not_found(Entity::Object)),
                Place::Origin { .. } => {
                    let Joined { visit, is_new, is_of_another_path } = self.join(cx, bucket, key, origin, Wanted::Whole);
                    visit.want_whole();
                    let transfer = Arc::clone(&visit);
                    drop(visit);
                    match transfer.ended().await {
                        // As in a read: the origin was asked before this began.
                        End::Failed(error) if attempt == 0 && !is_new && matches!(error.kind(), ErrorKind::NotFound(_)) => {
                            self.0.flights.leave(bucket.partition, key, &transfer);
                        }
                        End::Failed(_) if is_of_another_path => {}
                        End::Failed(error) if self.is_here_now(bucket, key, &view, &error).await? => {}
                        End::Failed(error) => return Err(error),
                        End::Complete { .. } | End::Superseded => {}
                    }
                }
            }
        }
        Err(keeps_changing())
    }

    /// What the origin's ETag says a cold key holds, for conditions on a write. Asked only when there are conditions.
    pub(crate) async fn cold_etag(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        view: &View,
        conditions: &Preconditions,
        origin: &dyn Origin,
    ) -> Result<Option<ETag>> {
        if conditions.is_empty() || !view.is_cold() {
            return Ok(None);
        }
        self.still_shadowed(bucket).await?;
        match origin.head(&self.path(cx, bucket), key).await {
            Ok(head) => Ok(Some(head.info.etag)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn keeps_changing() -> Error {
    Error::new(ErrorKind::Conflict, "the object keeps changing; please try again")
}

fn keeps_failing() -> Error {
    Error::new(ErrorKind::Unavailable, "the object could not be brought in for any of those who asked; please try again")
}

/// Whether what nobody asked for is brought in as well, once a part of an object was.
pub(crate) fn hydrates_whole(bucket: &Bucket) -> bool {
    bucket.settings.shadow.as_ref().is_none_or(|shadow| shadow.hydrate == HydratePolicy::Whole)
}

/// Takes a transfer out of the flights when it ended, however it ended.
pub(crate) struct Landing<'a> {
    pub(crate) shadow: &'a Shadow,
    pub(crate) bucket: &'a Bucket,
    pub(crate) key: &'a ObjectKey,
    pub(crate) flight: &'a Arc<Transfer>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.shadow.0.flights.leave(self.bucket.partition, self.key, self.flight);
        // Only if the task was torn down before it could say how it ended.
        self.flight.finish(End::Failed(Error::new(ErrorKind::Unavailable, "the server is stopping")));
        self.flight.landed.cancel();
    }
}
