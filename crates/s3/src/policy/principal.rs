//! Who a statement is about.

use serde_json::Value;

use super::{Malformed, Named};

/// Who asks; all of it is absent for an anonymous request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caller<'a> {
    /// The organization of the access key.
    pub(crate) organization: Option<&'a str>,
    /// The id of the access key.
    pub(crate) key: Option<&'a str>,
    /// The service that acts for somebody, as a delivery does.
    pub(crate) service: Option<&'a str>,
}

impl<'a> Caller<'a> {
    /// A service.
    pub(crate) const fn of_service(name: &'a str) -> Self {
        Self { organization: None, key: None, service: Some(name) }
    }
}

/// Whom a statement names, or whom it leaves out.
#[derive(Debug)]
pub(super) struct Principals {
    is_negated: bool,
    list: Vec<Principal>,
}

#[derive(Debug, PartialEq, Eq)]
enum Principal {
    Everyone,
    Organization(String),
    Key {
        organization: String,
        id: String,
    },
    Service(String),
    /// A role, a federated user: there are none here.
    Nobody,
}

impl Principals {
    /// Takes the value of `Principal`, or of `NotPrincipal`.
    pub(super) fn parse(value: &Value, is_negated: bool) -> Result<Self, Malformed> {
        let list = match value {
            Value::String(text) if text == "*" => vec![Principal::Everyone],
            Value::Object(kinds) if !kinds.is_empty() => {
                let mut list = Vec::new();
                for (kind, names) in kinds {
                    for name in super::document::texts(names).ok_or_else(invalid)? {
                        list.push(Principal::parse(kind, name)?);
                    }
                }
                list
            }
            _ => return Err(invalid()),
        };
        if list.is_empty() { Err(invalid()) } else { Ok(Self { is_negated, list }) }
    }

    /// How they name `caller`, if they do.
    pub(super) fn name(&self, caller: Caller<'_>) -> Option<Named> {
        let named = self.list.iter().filter_map(|principal| principal.name(caller)).max();
        match (self.is_negated, named) {
            (false, named) => named,
            (true, None) => Some(Named::Everyone),
            (true, Some(_)) => None,
        }
    }

    /// Whether nobody is left out, or nobody knows who is not.
    pub(super) fn name_everyone(&self) -> bool {
        self.is_negated || self.list.contains(&Principal::Everyone)
    }
}

impl Principal {
    fn parse(kind: &str, name: &str) -> Result<Self, Malformed> {
        match kind {
            "AWS" if name == "*" => Ok(Self::Everyone),
            "AWS" => Self::parse_arn(name).or_else(|| organization(name).map(Self::Organization)).ok_or_else(invalid),
            "CanonicalUser" => organization(name).map(Self::Organization).ok_or_else(invalid),
            "Service" if !name.is_empty() => Ok(Self::Service(name.to_owned())),
            "Federated" if !name.is_empty() => Ok(Self::Nobody),
            _ => Err(invalid()),
        }
    }

    fn parse_arn(arn: &str) -> Option<Self> {
        let mut fields = arn.splitn(6, ':');
        let (scheme, partition, service, region) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (account, name) = (fields.next()?, fields.next()?);
        if scheme != "arn" || !partition.starts_with("aws") || !region.is_empty() {
            return None;
        }
        let organization = organization(account)?;
        match (service, name.split_once('/')) {
            ("iam", None) if name == "root" => Some(Self::Organization(organization)),
            ("iam", Some(("user", id))) if !id.is_empty() && !id.contains('*') => Some(Self::Key { organization, id: id.to_owned() }),
            ("iam", Some(("role" | "group", name))) | ("sts", Some((_, name))) if !name.is_empty() => Some(Self::Nobody),
            _ => None,
        }
    }

    fn name(&self, caller: Caller<'_>) -> Option<Named> {
        match self {
            Self::Everyone => Some(Named::Everyone),
            Self::Organization(name) => (caller.organization == Some(name)).then_some(Named::Organization),
            Self::Key { organization, id } => (caller.organization == Some(organization) && caller.key == Some(id)).then_some(Named::Key),
            Self::Service(name) => (caller.service == Some(name)).then_some(Named::Service),
            Self::Nobody => None,
        }
    }
}

/// Organizations need not exist: one may be named before it is created.
fn organization(name: &str) -> Option<String> {
    let is_name = (1..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    is_name.then(|| name.to_owned())
}

fn invalid() -> Malformed {
    Malformed("Invalid principal in policy".to_owned())
}
