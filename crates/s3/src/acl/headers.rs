//! ACLs in headers.

use s3s::{S3Error, S3ErrorCode};
use umbra_core::{Error, Fault, Grant, Permission};
use umbra_store::Catalog;

use super::{GRANTS_MAX, canned, document};
use crate::{access::Stated, error::Failure};

/// The headers that grant, in the order in which S3 shows what they grant.
const HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

/// What the headers of a request say of an ACL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `x-amz-acl`.
    pub(super) canned: Option<String>,
    /// `x-amz-grant-*`, as they are written.
    pub(super) grants: Vec<(Permission, String)>,
}

impl Asked {
    /// What `stated` says.
    pub(crate) fn of(stated: &Stated<'_>) -> Self {
        let text = |name| stated.header(name).filter(|text| !text.is_empty()).map(|text| text.into_owned());
        Self {
            canned: text("x-amz-acl"),
            grants: HEADERS.iter().filter_map(|(name, permission)| Some((*permission, text(name)?))).collect(),
        }
    }

    /// Whether they say anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.canned.is_none() && self.grants.is_empty()
    }

    /// The grants that they are for something of `owner`'s; those of a private one if they say nothing.
    pub(super) async fn resolve(&self, catalog: &Catalog, owner: &str, bucket_owner: Option<&str>) -> Result<Vec<Grant>, Failure> {
        if self.grants.is_empty() {
            let name = self.canned.as_deref().unwrap_or("private");
            return canned::grants(name, owner, bucket_owner)
                .ok_or_else(|| Error::invalid(Fault::InvalidArgument, format!("{name:?} is no canned ACL here")).into());
        }
        if self.canned.is_some() {
            let message = "Specifying both Canned ACLs and Header Grants is not allowed";
            return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message).into());
        }
        let mut grants = Vec::new();
        for (permission, text) in &self.grants {
            let named = grantees(text).ok_or_else(|| Error::invalid(Fault::InvalidArgument, "Argument format not recognized"))?;
            for (kind, name) in named {
                if grants.len() == GRANTS_MAX {
                    return Err(S3ErrorCode::MalformedACLError.into());
                }
                let grantee = document::grantee(catalog, &kind, &name).await?;
                grants.push(Grant { grantee, permission: *permission });
            }
        }
        Ok(grants)
    }
}

/// The grantees of one header: `id="…", uri="…", emailAddress="…"`, by kind and name.
pub(super) fn grantees(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (kind, name) = pair.split_once('=')?;
        let name = name.trim();
        let name = match name.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"')?,
            None => name,
        };
        let kind = kind.trim();
        (matches!(kind, "id" | "uri" | "emailAddress") && !name.is_empty()).then(|| (kind.to_owned(), name.to_owned()))
    };
    text.split(',').map(pair).collect()
}
