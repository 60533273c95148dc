//! The lifecycle within the optional settings, and the form it had before.

use minicbor::{Decode, Encode};
use time::{Date, macros::format_description};
use umbra_core::Timestamp;

use crate::lifecycle as given;

#[derive(Encode, Decode)]
pub(super) struct Lifecycle {
    #[n(0)]
    rules: Vec<Rule>,
    #[n(1)]
    small_objects_move: bool,
}

#[derive(Encode, Decode)]
struct Rule {
    #[n(0)]
    id: String,
    #[n(1)]
    enabled: bool,
    #[n(2)]
    filter: Filter,
    #[n(3)]
    expiration: Option<Expiration>,
    #[n(4)]
    transitions: Vec<(Due, String)>,
    /// Days, and how many are kept.
    #[n(5)]
    noncurrent_expiration: Option<(u32, Option<u32>)>,
    #[n(6)]
    noncurrent_transitions: Vec<(u32, Option<u32>, String)>,
    #[n(7)]
    abort_uploads_days: Option<u32>,
}

#[derive(Encode, Decode)]
struct Filter {
    #[n(0)]
    form: Form,
    #[n(1)]
    prefix: Option<String>,
    #[n(2)]
    tags: Vec<(String, String)>,
    #[n(3)]
    larger_than: Option<u64>,
    #[n(4)]
    smaller_than: Option<u64>,
}

#[derive(Clone, Copy, Encode, Decode)]
#[cbor(index_only)]
enum Form {
    #[n(0)]
    One,
    #[n(1)]
    And,
    #[n(2)]
    Prefix,
}

#[derive(Encode, Decode)]
enum Expiration {
    #[n(0)]
    Objects(#[n(0)] Due),
    #[n(1)]
    LoneMarkers,
}

#[derive(Encode, Decode)]
enum Due {
    #[n(0)]
    Days(#[n(0)] u32),
    #[n(1)]
    Date(#[n(0)] i64),
}

/// A rule as only Tigris's clients could set it at first.
#[derive(Encode, Decode)]
pub(super) struct EarlierRule {
    #[n(0)]
    id: String,
    #[n(1)]
    enabled: bool,
    #[n(2)]
    prefix: Option<String>,
    #[n(3)]
    transition: Option<(String, EarlierDue)>,
    #[n(4)]
    expiration: Option<EarlierDue>,
}

#[derive(Encode, Decode)]
enum EarlierDue {
    #[n(0)]
    Days(#[n(0)] u32),
    /// As the client wrote it: `2030-01-31`, and perhaps a time.
    #[n(1)]
    Date(#[n(0)] String),
}

impl Lifecycle {
    /// What of `lifecycle` is to be written: nothing where there is none.
    pub(super) fn of(lifecycle: &given::Lifecycle) -> Option<Self> {
        (*lifecycle != given::Lifecycle::default())
            .then(|| Self { rules: lifecycle.rules.iter().map(Rule::of).collect(), small_objects_move: lifecycle.small_objects_move })
    }

    /// What was written, here or in the earlier form.
    pub(super) fn given(lifecycle: Option<Self>, earlier: Vec<EarlierRule>) -> given::Lifecycle {
        match lifecycle {
            Some(Self { rules, small_objects_move }) => {
                given::Lifecycle { rules: rules.into_iter().map(Rule::into_given).collect(), small_objects_move }
            }
            None => given::Lifecycle { rules: earlier.into_iter().map(EarlierRule::into_given).collect(), small_objects_move: false },
        }
    }
}

impl Rule {
    fn of(rule: &given::LifecycleRule) -> Self {
        let given::LifecycleFilter { form, prefix, tags, larger_than, smaller_than } = rule.filter.clone();
        let form = match form {
            given::FilterForm::One => Form::One,
            given::FilterForm::And => Form::And,
            given::FilterForm::Prefix => Form::Prefix,
        };
        let noncurrent = |transition: &given::NoncurrentTransition| (transition.days, transition.newer_kept, transition.class.clone());
        Self {
            id: rule.id.clone(),
            enabled: rule.enabled,
            filter: Filter { form, prefix, tags, larger_than, smaller_than },
            expiration: rule.expiration.as_ref().map(|expiration| match expiration {
                given::Expiration::Objects(due) => Expiration::Objects(Due::of(*due)),
                given::Expiration::LoneMarkers => Expiration::LoneMarkers,
            }),
            transitions: rule.transitions.iter().map(|transition| (Due::of(transition.due), transition.class.clone())).collect(),
            noncurrent_expiration: rule.noncurrent_expiration.map(|expiration| (expiration.days, expiration.newer_kept)),
            noncurrent_transitions: rule.noncurrent_transitions.iter().map(noncurrent).collect(),
            abort_uploads_days: rule.abort_uploads_days,
        }
    }

    fn into_given(self) -> given::LifecycleRule {
        let Filter { form, prefix, tags, larger_than, smaller_than } = self.filter;
        let form = match form {
            Form::One => given::FilterForm::One,
            Form::And => given::FilterForm::And,
            Form::Prefix => given::FilterForm::Prefix,
        };
        let moves = self.transitions.into_iter().map(|(due, class)| given::Transition { due: due.into_given(), class });
        let noncurrent = |(days, newer_kept, class)| given::NoncurrentTransition { days, newer_kept, class };
        given::LifecycleRule {
            id: self.id,
            enabled: self.enabled,
            filter: given::LifecycleFilter { form, prefix, tags, larger_than, smaller_than },
            expiration: self.expiration.map(|expiration| match expiration {
                Expiration::Objects(due) => given::Expiration::Objects(due.into_given()),
                Expiration::LoneMarkers => given::Expiration::LoneMarkers,
            }),
            transitions: moves.collect(),
            noncurrent_expiration: self.noncurrent_expiration.map(|(days, newer_kept)| given::NoncurrentExpiration { days, newer_kept }),
            noncurrent_transitions: self.noncurrent_transitions.into_iter().map(noncurrent).collect(),
            abort_uploads_days: self.abort_uploads_days,
        }
    }
}

impl Due {
    fn of(due: given::Due) -> Self {
        match due {
            given::Due::Days(days) => Self::Days(days),
            given::Due::Date(date) => Self::Date(date.as_millis()),
        }
    }

    fn into_given(self) -> given::Due {
        match self {
            Self::Days(days) => given::Due::Days(days),
            Self::Date(date) => given::Due::Date(Timestamp::from_millis(date)),
        }
    }
}

impl EarlierRule {
    fn into_given(self) -> given::LifecycleRule {
        let transition = self.transition.map(|(class, due)| Some(given::Transition { due: due.into_given()?, class }));
        let expiration = self.expiration.map(|due| Some(given::Expiration::Objects(due.into_given()?)));
        // A date that cannot be read was checked when it was set; if it is not one all the same, nothing may fall due by it.
        let is_whole = transition.as_ref().is_none_or(Option::is_some) && expiration.as_ref().is_none_or(Option::is_some);
        given::LifecycleRule {
            id: self.id,
            enabled: self.enabled && is_whole,
            filter: given::LifecycleFilter::by_prefix(self.prefix),
            expiration: expiration.flatten(),
            transitions: transition.flatten().into_iter().collect(),
            noncurrent_expiration: None,
            noncurrent_transitions: Vec::new(),
            abort_uploads_days: None,
        }
    }
}

impl EarlierDue {
    fn into_given(self) -> Option<given::Due> {
        match self {
            Self::Days(days) => Some(given::Due::Days(days)),
            Self::Date(date) => {
                let day = Date::parse(date.get(..10)?, format_description!("[year]-[month]-[day]")).ok()?;
                let seconds = day.midnight().assume_utc().unix_timestamp();
                Some(given::Due::Date(Timestamp::from_millis(seconds.saturating_mul(1000))))
            }
        }
    }
}
