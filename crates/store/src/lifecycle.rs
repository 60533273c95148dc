//! Lifecycle rules: what becomes of objects, their versions and uploads as they age.
//!
//! Everything here takes values and returns values; the worker that carries rules out lives where objects are deleted, above.

mod day;
mod rule;

pub use day::LifecycleDay;
pub use rule::{Due, Expiration, FilterForm, LifecycleFilter, LifecycleRule, NoncurrentExpiration, NoncurrentTransition, Transition};

use umbra_core::{Tags, Timestamp};

/// Below this many bytes an object is not worth moving, unless a rule says from which size on it is.
const TRANSITION_BYTES_MIN: u64 = 128 * 1024;
/// The storage classes, each colder than the one before. Objects move only this way.
const COLDER: [&str; 7] = ["STANDARD", "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"];
/// Classes that small objects may move to where [`Lifecycle::small_objects_move`].
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// The lifecycle of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// Its rules.
    pub rules: Vec<LifecycleRule>,
    /// Whether objects below 128 KiB move to the archive classes, too (`varies_by_storage_class`).
    pub small_objects_move: bool,
}

/// An object or a version, as rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct Aging<'a> {
    /// Its key.
    pub key: &'a str,
    /// Bytes of content.
    pub size: u64,
    /// Since when it has been what it is: written, or no longer current.
    pub since: Timestamp,
    /// Its tags; `None` while nobody has looked, and then every wish for tags counts as granted.
    pub tags: Option<&'a Tags>,
}

impl Lifecycle {
    /// Whether any rule is to be carried out.
    pub fn is_active(&self) -> bool {
        self.rules.iter().any(|rule| rule.enabled)
    }

    fn enabled(&self) -> impl Iterator<Item = &LifecycleRule> {
        self.rules.iter().filter(|rule| rule.enabled)
    }

    /// Whether some rule that could speak of `object` asks for tags.
    pub fn asks_for_tags(&self, object: &Aging<'_>) -> bool {
        self.enabled().any(|rule| !rule.filter.tags.is_empty() && rule.filter.matches(object))
    }

    /// When a current object ends, and by which rule; of several the soonest.
    pub fn expiry(&self, object: &Aging<'_>, day: LifecycleDay) -> Option<(Timestamp, &LifecycleRule)> {
        let ends = |rule: &LifecycleRule| Some(rule.expiration.as_ref()?.due()?.at(object.since, day));
        let matching = self.enabled().filter(|rule| rule.filter.matches(object));
        matching.filter_map(|rule| Some((ends(rule)?, rule))).min_by_key(|(at, _)| *at)
    }

    /// The class a current object of `class` is to be in by `now`, when that is a colder one.
    pub fn transition(&self, object: &Aging<'_>, class: Option<&str>, now: Timestamp, day: LifecycleDay) -> Option<&str> {
        let due = self.enabled().filter(|rule| rule.filter.matches(object)).flat_map(|rule| {
            let due = rule.transitions.iter().filter(move |transition| transition.due.at(object.since, day) <= now);
            due.filter(|transition| self.may_move(object, rule, &transition.class)).map(|transition| transition.class.as_str())
        });
        colder_than(class, due)
    }

    /// When a version that is no longer current ends, and by which rule, if `newer` versions that are not current either are younger.
    pub fn noncurrent_expiry(&self, version: &Aging<'_>, newer: u32, day: LifecycleDay) -> Option<(Timestamp, &LifecycleRule)> {
        let ends = |rule: &LifecycleRule| {
            let expiration = rule.noncurrent_expiration.filter(|expiration| newer >= expiration.newer_kept.unwrap_or(0))?;
            Some(day.after(version.since, expiration.days))
        };
        let matching = self.enabled().filter(|rule| rule.filter.matches(version));
        matching.filter_map(|rule| Some((ends(rule)?, rule))).min_by_key(|(at, _)| *at)
    }

    /// The class a version that is no longer current is to be in by `now`, when that is a colder one.
    pub fn noncurrent_transition(
        &self,
        version: &Aging<'_>,
        newer: u32,
        class: Option<&str>,
        now: Timestamp,
        day: LifecycleDay,
    ) -> Option<&str> {
        let due = self.enabled().filter(|rule| rule.filter.matches(version)).flat_map(|rule| {
            let due = rule
                .noncurrent_transitions
                .iter()
                .filter(move |transition| newer >= transition.newer_kept.unwrap_or(0) && day.after(version.since, transition.days) <= now);
            due.filter(|transition| self.may_move(version, rule, &transition.class)).map(|transition| transition.class.as_str())
        });
        colder_than(class, due)
    }

    /// When a delete marker that no version stands behind ends, and by which rule: at once where a rule ends such markers, and else when an
    /// object of its age would.
    pub fn marker_expiry(&self, marker: &Aging<'_>, day: LifecycleDay) -> Option<(Timestamp, &LifecycleRule)> {
        let ends = |rule: &LifecycleRule| match rule.expiration.as_ref()? {
            Expiration::LoneMarkers => Some(marker.since),
            // By days only: S3 takes a date for objects.
            Expiration::Objects(due @ Due::Days(_)) => Some(due.at(marker.since, day)),
            Expiration::Objects(Due::Date(_)) => None,
        };
        // A marker has no tags and no size.
        let matching = self.enabled().filter(|rule| rule.filter.is_by_prefix() && rule.filter.matches(marker));
        matching.filter_map(|rule| Some((ends(rule)?, rule))).min_by_key(|(at, _)| *at)
    }

    /// When an upload that began `initiated` ends unless it is completed, and by which rule.
    pub fn upload_expiry(&self, key: &str, initiated: Timestamp, day: LifecycleDay) -> Option<(Timestamp, &LifecycleRule)> {
        let matching = self.enabled().filter(|rule| rule.filter.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix)));
        let ends = |rule: &LifecycleRule| rule.abort_uploads_days.map(|days| day.after(initiated, days));
        matching.filter_map(|rule| Some((ends(rule)?, rule))).min_by_key(|(at, _)| *at)
    }

    fn may_move(&self, object: &Aging<'_>, rule: &LifecycleRule, class: &str) -> bool {
        let says_size = rule.filter.larger_than.is_some() || rule.filter.smaller_than.is_some();
        object.size >= TRANSITION_BYTES_MIN || says_size || (self.small_objects_move && ARCHIVES.contains(&class))
    }
}

/// The coldest of `wanted` that is colder than `class`.
fn colder_than<'a>(class: Option<&str>, wanted: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let coldness = |class: &str| COLDER.iter().position(|other| *other == class);
    let now = coldness(class.unwrap_or(COLDER[0]))?;
    wanted.filter(|wanted| coldness(wanted).is_some_and(|coldness| coldness > now)).max_by_key(|wanted| coldness(wanted))
}

#[cfg(test)]
mod tests;
