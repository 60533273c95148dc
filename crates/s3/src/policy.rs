//! Bucket policies: a document becomes statements once, and every request is held against them.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html>. A principal is an organization, an access key or everyone:
//! `arn:aws:iam::ORGANIZATION:root`, `arn:aws:iam::ORGANIZATION:user/ACCESS-KEY-ID`, `*`. Nothing here reads a request: what conditions ask
//! for comes through [`Facts`].

mod cache;
mod condition;
mod document;
mod effort;
mod json;
mod keys;
mod pattern;
mod principal;

use s3s::{S3Error, S3ErrorCode};

pub(crate) use self::{cache::Policies, principal::Caller};

use self::{condition::Condition, effort::Effort, pattern::Pattern, principal::Principals};

/// The longest policy, as S3 has it.
pub(crate) const BYTES_MAX: usize = 20 * 1024;

/// A policy, understood.
#[derive(Debug)]
pub(crate) struct Policy {
    statements: Vec<Statement>,
}

/// One statement of a policy.
#[derive(Debug)]
struct Statement {
    allows: bool,
    principals: Principals,
    actions: Patterns,
    resources: Patterns,
    conditions: Vec<Condition>,
}

/// What a statement is about, or what it is not about.
#[derive(Debug)]
struct Patterns {
    is_negated: bool,
    list: Vec<Pattern>,
}

/// What conditions and variables may ask of a request.
pub(crate) trait Facts: Send + Sync {
    /// The values of a condition key, which is in lower case up to the first `/`; none where the request has no such thing.
    fn values(&self, key: &str) -> Vec<String>;
}

/// What a request is about to do.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// As S3 names it: `s3:GetObject`.
    pub(crate) action: &'a str,
    /// `bucket` or `bucket/key`.
    pub(crate) resource: &'a str,
    /// Who asks.
    pub(crate) caller: Caller<'a>,
    /// What conditions ask for.
    pub(crate) facts: &'a dyn Facts,
}

/// How a statement that fits names who asks; the more of them it names, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    /// By its organization.
    Organization,
    /// By its very access key.
    Key,
    /// As everyone is.
    Everyone,
    /// As the service it is. Nothing less lets a service do anything.
    Service,
}

/// What a policy says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No, whatever else says yes.
    Denied,
    /// Yes.
    Allowed(Named),
    /// Nothing.
    Silent,
}

impl Policy {
    /// Understands `text`, the policy of `bucket`.
    pub(crate) fn parse(text: &str, bucket: &str) -> Result<Self, Malformed> {
        document::parse(text, bucket)
    }

    /// What it says of a request. What is too much to be decided is no permission, and a denial where it might be one.
    pub(crate) fn judge(&self, asked: Asked<'_>) -> Verdict {
        let effort = Effort::new(asked.facts);
        let mut allowed = None;
        for statement in &self.statements {
            let named = statement.fits(asked, &effort);
            let is_undecided = effort.take_undecided();
            if effort.is_spent() || !statement.allows && (is_undecided || named.is_some()) {
                return Verdict::Denied;
            }
            allowed = allowed.max(named.filter(|_| !is_undecided));
        }
        allowed.map_or(Verdict::Silent, Verdict::Allowed)
    }

    /// Whether it denies `action` on some object of its bucket to who asks, as far as that can be told without the object.
    pub(crate) fn may_deny_objects(&self, action: &str, caller: Caller<'_>, facts: &dyn Facts) -> bool {
        let effort = Effort::new(facts);
        let may = |condition: &Condition| condition.is_of_objects() || condition.holds(&effort);
        let denies = self.statements.iter().any(|statement| {
            !statement.allows
                && statement.principals.name(caller).is_some()
                && statement.actions.fit(action, &effort, true)
                && statement.resources.may_be_objects()
                && statement.conditions.iter().all(may)
        });
        denies || effort.take_undecided()
    }

    /// Whether it opens something to everyone, and not only to those of certain addresses, keys or organizations.
    pub(crate) fn is_public(&self) -> bool {
        let is_open = |statement: &Statement| {
            statement.allows && statement.principals.name_everyone() && !statement.conditions.iter().any(Condition::narrows)
        };
        self.statements.iter().any(is_open)
    }

    /// Whether it asks for the tags that an object has.
    pub(crate) fn asks_for_tags(&self) -> bool {
        let asks = |pattern: &Pattern| pattern.variables().any(keys::is_of_existing_tag);
        self.statements.iter().any(|statement| {
            statement.conditions.iter().any(Condition::asks_for_tags)
                || statement.resources.list.iter().any(asks)
                || statement.actions.list.iter().any(asks)
        })
    }
}

impl Statement {
    fn fits(&self, asked: Asked<'_>, effort: &Effort<'_>) -> Option<Named> {
        let is_enough = |named: &Named| !self.allows || asked.caller.service.is_none() || *named == Named::Service;
        let named = self.principals.name(asked.caller).filter(is_enough)?;
        let resource = format!("{}{}", pattern::ARN, asked.resource);
        let fits = self.actions.fit(asked.action, effort, true)
            && self.resources.fit(&resource, effort, false)
            && self.conditions.iter().all(|condition| condition.holds(effort));
        fits.then_some(named)
    }
}

impl Patterns {
    /// Whether it can be about objects, and not only about a bucket.
    fn may_be_objects(&self) -> bool {
        self.is_negated || self.list.iter().any(|pattern| !pattern.is_fixed() || pattern.has('/'))
    }

    fn fit(&self, text: &str, effort: &Effort<'_>, folds: bool) -> bool {
        self.list.iter().any(|pattern| pattern.matches(text, effort, folds)) != self.is_negated
    }
}

/// Why a document is no policy, for its author.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl Malformed {
    fn because<T>(why: impl Into<String>) -> Result<T, Self> {
        Err(Self(why.into()))
    }
}

impl From<Malformed> for S3Error {
    fn from(malformed: Malformed) -> Self {
        Self::with_message(S3ErrorCode::MalformedPolicy, malformed.0)
    }
}

#[cfg(test)]
mod tests;
