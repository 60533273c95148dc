//! One rule.

use umbra_core::Timestamp;

use super::{Aging, LifecycleDay};

/// What becomes of objects as they age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleRule {
    /// Its name.
    pub id: String,
    /// Whether it is to be carried out.
    pub enabled: bool,
    /// What it is for.
    pub filter: LifecycleFilter,
    /// What ends of what is current.
    pub expiration: Option<Expiration>,
    /// The classes that current objects move to.
    pub transitions: Vec<Transition>,
    /// When versions end that are no longer current.
    pub noncurrent_expiration: Option<NoncurrentExpiration>,
    /// The classes that such versions move to.
    pub noncurrent_transitions: Vec<NoncurrentTransition>,
    /// After how many days an upload ends that was not completed.
    pub abort_uploads_days: Option<u32>,
}

/// Which objects a rule is for: those of which all holds that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleFilter {
    /// How a client wrote it.
    pub form: FilterForm,
    /// What keys begin with.
    pub prefix: Option<String>,
    /// Tags that an object has, with these values.
    pub tags: Vec<(String, String)>,
    /// Bytes that it has more than.
    pub larger_than: Option<u64>,
    /// Bytes that it has fewer than.
    pub smaller_than: Option<u64>,
}

/// How a client wrote a filter, to be shown as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FilterForm {
    /// `Filter`, with at most one condition.
    #[default]
    One,
    /// `Filter` with `And`.
    And,
    /// `Prefix` beside the rule's other members, as in the first version of the API.
    Prefix,
}

/// What ends of what is current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiration {
    /// Objects, when they are old enough.
    Objects(Due),
    /// Delete markers that no version stands behind.
    LoneMarkers,
}

/// When a lifecycle rule is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// So many days after an object was written.
    Days(u32),
    /// From a day on.
    Date(Timestamp),
}

/// A move to another class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub due: Due,
    /// The class.
    pub class: String,
}

/// When versions end that are no longer current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoncurrentExpiration {
    /// So many days after they ceased to be.
    pub days: u32,
    /// How many of them are kept whatever their age, the youngest.
    pub newer_kept: Option<u32>,
}

/// A move of versions that are no longer current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoncurrentTransition {
    /// So many days after they ceased to be.
    pub days: u32,
    /// How many of them stay whatever their age, the youngest.
    pub newer_kept: Option<u32>,
    /// The class.
    pub class: String,
}

impl LifecycleRule {
    /// Whether it does anything to objects that are current.
    pub fn acts_on_objects(&self) -> bool {
        !self.transitions.is_empty() || self.expiration.as_ref().is_some_and(|expiration| expiration.due().is_some())
    }
}

impl LifecycleRule {
    /// Whether it does anything to versions that are not current, or to delete markers.
    pub fn acts_on_versions(&self) -> bool {
        self.noncurrent_expiration.is_some() || !self.noncurrent_transitions.is_empty() || self.expiration.is_some()
    }
}

impl LifecycleFilter {
    /// A filter by what keys begin with.
    pub fn by_prefix(prefix: Option<String>) -> Self {
        Self { prefix, ..Self::default() }
    }

    /// Whether it asks for nothing but a prefix.
    pub fn is_by_prefix(&self) -> bool {
        self.tags.is_empty() && self.larger_than.is_none() && self.smaller_than.is_none()
    }

    /// Whether the rule is for `object`, as far as is known of it.
    pub fn matches(&self, object: &Aging<'_>) -> bool {
        let has = |(key, value): &(String, String)| {
            object.tags.is_none_or(|tags| tags.iter().any(|(other, its)| (other, its) == (key.as_str(), value.as_str())))
        };
        self.prefix.as_deref().is_none_or(|prefix| object.key.starts_with(prefix))
            && self.larger_than.is_none_or(|bytes| object.size > bytes)
            && self.smaller_than.is_none_or(|bytes| object.size < bytes)
            && self.tags.iter().all(has)
    }
}

impl Expiration {
    /// When objects end, if they do.
    pub fn due(&self) -> Option<Due> {
        match self {
            Self::Objects(due) => Some(*due),
            Self::LoneMarkers => None,
        }
    }
}

impl Due {
    /// When it is so far for an object that was written at `written`.
    pub fn at(self, written: Timestamp, day: LifecycleDay) -> Timestamp {
        match self {
            Self::Days(days) => day.after(written, days),
            Self::Date(date) => date,
        }
    }
}
