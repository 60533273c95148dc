//! What is done to versions that are no longer current, and to delete markers that no version stands behind.

use umbra_core::{ErrorKind, Fault, ObjectKey, Result, Tags, Timestamp};
use umbra_meta::{Check, Entry, Expect, key};
use umbra_store::{ListedObject, RemoveVersion, Stored, Terms, Version, VersionRow, lifecycle::Aging};

use super::pass::{Behind, Step};

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Remove,
    Move(String),
}

impl Step<'_> {
    /// Does what is due to the versions of `rows`, which follow what `behind` is of; tells whether anything failed.
    pub(super) async fn versions(&self, rows: &[Entry], behind: &mut Option<Behind>) -> bool {
        let mut failed = false;
        for row in rows {
            if let Err(error) = self.version(row, behind).await {
                tracing::warn!(bucket = %self.bucket.name, row = %row.key.escape_ascii(), ?error, "a lifecycle rule was not carried out");
                failed = true;
            }
        }
        failed
    }

    async fn version(&self, row: &Entry, behind: &mut Option<Behind>) -> Result<()> {
        if let Some(key) = key::parse_history(&row.key) {
            let current = self.shadow.native().meta().get(self.bucket.partition, &key::object(&key)).await?;
            let since = current.map(|entry| ListedObject::decode(&entry).map(|listed| listed.last_modified)).transpose()?;
            *behind = Some(Behind { since: since.map(Timestamp::as_millis), newer: 0 });
            return Ok(());
        }
        // Without a history before it, it is of a key that went meanwhile.
        let Some(before) = *behind else { return Ok(()) };
        let VersionRow { object, version } = VersionRow::decode(row)?;
        *behind = Some(Behind {
            since: Some(object.last_modified.as_millis()),
            newer: before.newer.saturating_add(u32::from(before.since.is_some())),
        });
        match before.since {
            Some(since) => self.noncurrent(row, &object, version, Timestamp::from_millis(since), before.newer).await,
            None if version.is_marker => self.newest_marker(&object, version).await,
            // It became current since the history was read.
            None => Ok(()),
        }
    }

    async fn noncurrent(&self, row: &Entry, listed: &ListedObject, version: Version, since: Timestamp, newer: u32) -> Result<()> {
        let markers = Tags::default();
        let seen = Aging { key: listed.key.as_str(), size: listed.size, since, tags: version.is_marker.then_some(&markers) };
        if self.wanted_of_version(&seen, newer, listed.storage_class.as_deref(), version) == Wanted::Nothing {
            return Ok(());
        }
        // Seen from afar it is due. The whole record decides.
        let Some(entry) = self.shadow.native().meta().get(self.bucket.partition, &row.key).await? else { return Ok(()) };
        let Stored { object, revision } = Stored::decode(&entry)?;
        let seen = Aging { tags: Some(&object.tags), ..seen };
        match self.wanted_of_version(&seen, newer, object.headers.storage_class.as_deref(), version) {
            Wanted::Nothing => Ok(()),
            Wanted::Remove => {
                self.remove_version(&listed.key, version, RemoveVersion { at: Some(revision), ..RemoveVersion::default() }).await
            }
            Wanted::Move(class) => {
                let unchanged = Check { key: row.key.to_vec(), expect: Expect::Revision(revision) };
                let terms = Terms { checks: vec![unchanged, self.settings_unchanged()], ..Terms::default() };
                unless_changed(self.shadow.native().relabel(self.bucket, &listed.key, Some(version.id()), class, terms).await)
            }
        }
    }

    fn wanted_of_version(&self, version: &Aging<'_>, newer: u32, class: Option<&str>, named: Version) -> Wanted {
        let rules = &self.bucket.settings.extras.lifecycle;
        if rules.noncurrent_expiry(version, newer, self.day).is_some_and(|(at, _)| at <= self.now) {
            return Wanted::Remove;
        }
        let is_free = self.bucket.settings.shadow.is_none() && !named.is_marker;
        let class = if is_free { rules.noncurrent_transition(version, newer, class, self.now, self.day) } else { None };
        class.map_or(Wanted::Nothing, |class| Wanted::Move(class.to_owned()))
    }

    /// Ends a delete marker that is the newest of its key, if it is due and nothing stands behind it.
    ///
    /// Not with a shadow: there the marker hides what the origin has.
    async fn newest_marker(&self, listed: &ListedObject, version: Version) -> Result<()> {
        let marker = Aging { key: listed.key.as_str(), size: 0, since: listed.last_modified, tags: None };
        let rules = &self.bucket.settings.extras.lifecycle;
        let is_due = rules.marker_expiry(&marker, self.day).is_some_and(|(at, _)| at <= self.now);
        if !is_due || self.bucket.settings.shadow.is_some() {
            return Ok(());
        }
        self.remove_version(&listed.key, version, RemoveVersion { alone: true, ..RemoveVersion::default() }).await
    }

    /// Removes a version for good, unless it is kept by a lock.
    async fn remove_version(&self, key: &ObjectKey, version: Version, options: RemoveVersion) -> Result<()> {
        let terms = || Terms { expires: true, checks: vec![self.settings_unchanged()], ..Terms::default() };
        let options = RemoveVersion { keeps_current: true, terms: terms(), terms_of_absence: terms(), ..options };
        let removed = self.shadow.native().remove_version(self.bucket, key, version.id(), options).await;
        unless_changed(removed.map(drop))
    }
}

/// What changed since it was looked at, or is locked, is not due now.
fn unless_changed(done: Result<()>) -> Result<()> {
    match done {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::Conflict | ErrorKind::Denied | ErrorKind::NotFound(_) | ErrorKind::Invalid(Fault::InvalidRequest)
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}
