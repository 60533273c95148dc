//! ACLs in documents.

use s3s::{
    S3Error, S3ErrorCode, dto,
    dto::{AccessControlPolicy, Type},
};
use umbra_core::{Acl, Error, Fault, Grant, Grantee, Permission};
use umbra_store::Catalog;

use super::GRANTS_MAX;
use crate::{call, error::Failure};

const EVERYONE: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// Takes the grants of a document for something of `owner`'s. Its owner is not changed by it.
pub(crate) async fn taken(catalog: &Catalog, document: AccessControlPolicy, owner: &str) -> Result<Acl, Failure> {
    if document.owner.and_then(|owner| owner.id).is_some_and(|named| named != owner) {
        return Err(S3Error::with_message(S3ErrorCode::AccessDenied, "The owner cannot be changed by an ACL").into());
    }
    let given = document.grants.unwrap_or_default();
    if given.len() > GRANTS_MAX {
        return Err(S3ErrorCode::MalformedACLError.into());
    }
    let mut grants = Vec::with_capacity(given.len());
    for dto::Grant { grantee, permission } in given {
        grants.push(taken_grant(catalog, grantee, permission.as_ref().map(dto::Permission::as_str)).await?);
    }
    Ok(Acl { owner: owner.to_owned(), grants })
}

/// Takes the grants on logs in a bucket of `owner`'s, but for those that give the owner what it has anyway.
pub(crate) async fn taken_of_logs(catalog: &Catalog, given: Vec<dto::TargetGrant>, owner: &str) -> Result<Vec<Grant>, Failure> {
    if given.len() > GRANTS_MAX {
        return Err(S3ErrorCode::MalformedACLError.into());
    }
    let mut grants = Vec::with_capacity(given.len());
    for dto::TargetGrant { grantee, permission } in given {
        let grant = taken_grant(catalog, grantee, permission.as_ref().map(dto::BucketLogsPermission::as_str)).await?;
        if matches!(grant.permission, Permission::ReadAcp | Permission::WriteAcp) {
            return Err(S3ErrorCode::MalformedXML.into());
        }
        if grant.grantee != Grantee::Organization(owner.to_owned()) {
            grants.push(grant);
        }
    }
    Ok(grants)
}

/// How grants on logs are shown.
pub(crate) fn shown_of_logs(grants: &[Grant]) -> Option<Vec<dto::TargetGrant>> {
    let shown = |grant| {
        let dto::Grant { grantee, permission } = shown_grant(grant);
        dto::TargetGrant { grantee, permission: permission.map(|permission| permission.as_str().to_owned().into()) }
    };
    (!grants.is_empty()).then(|| grants.iter().map(shown).collect())
}

async fn taken_grant(catalog: &Catalog, named: Option<dto::Grantee>, permission: Option<&str>) -> Result<Grant, Failure> {
    let named = named.ok_or(S3ErrorCode::MalformedACLError)?;
    let permission = permission.and_then(parse).ok_or(S3ErrorCode::MalformedACLError)?;
    let (kind, name) = match named.type_.as_str() {
        Type::CANONICAL_USER => ("id", named.id),
        Type::GROUP => ("uri", named.uri),
        Type::AMAZON_CUSTOMER_BY_EMAIL => ("emailAddress", named.email_address),
        _ => return Err(S3ErrorCode::MalformedACLError.into()),
    };
    let name = name.ok_or(S3ErrorCode::MalformedACLError)?;
    Ok(Grant { grantee: grantee(catalog, kind, &name).await?, permission })
}

/// Whom a grant of this kind names.
pub(super) async fn grantee(catalog: &Catalog, kind: &str, name: &str) -> Result<Grantee, Failure> {
    match (kind, name) {
        ("uri", EVERYONE) => Ok(Grantee::Everyone),
        ("uri", AUTHENTICATED) => Ok(Grantee::Authenticated),
        ("uri", LOG_DELIVERY) => Ok(Grantee::LogDelivery),
        ("uri", _) => Err(Error::invalid(Fault::InvalidArgument, "Invalid group uri").into()),
        ("id", name) if catalog.has_organization(name).await? => Ok(Grantee::Organization(name.to_owned())),
        ("id", _) => Err(Error::invalid(Fault::InvalidArgument, "Invalid id").into()),
        // Organizations have no addresses, and S3 resolves none any more either.
        _ => {
            let message = "The email address you provided does not match any account on record.";
            Err(S3Error::with_message(S3ErrorCode::UnresolvableGrantByEmailAddress, message).into())
        }
    }
}

/// How `acl` is shown: groups first, as S3 shows what a canned ACL became.
pub(crate) fn shown(acl: &Acl) -> (dto::Owner, Vec<dto::Grant>) {
    let mut grants: Vec<_> = acl.grants.iter().collect();
    grants.sort_by_key(|grant| matches!(grant.grantee, Grantee::Organization(_)));
    (call::owner(&acl.owner), grants.into_iter().map(shown_grant).collect())
}

fn shown_grant(grant: &Grant) -> dto::Grant {
    let group = |uri: &str| dto::Grantee {
        display_name: None,
        email_address: None,
        id: None,
        type_: Type::from_static(Type::GROUP),
        uri: Some(uri.to_owned()),
    };
    let grantee = match &grant.grantee {
        Grantee::Organization(name) => dto::Grantee {
            display_name: Some(name.clone()),
            email_address: None,
            id: Some(name.clone()),
            type_: Type::from_static(Type::CANONICAL_USER),
            uri: None,
        },
        Grantee::Everyone => group(EVERYONE),
        Grantee::Authenticated => group(AUTHENTICATED),
        Grantee::LogDelivery => group(LOG_DELIVERY),
    };
    let permission = match grant.permission {
        Permission::Read => dto::Permission::READ,
        Permission::Write => dto::Permission::WRITE,
        Permission::ReadAcp => dto::Permission::READ_ACP,
        Permission::WriteAcp => dto::Permission::WRITE_ACP,
        Permission::FullControl => dto::Permission::FULL_CONTROL,
    };
    dto::Grant { grantee: Some(grantee), permission: Some(dto::Permission::from_static(permission)) }
}

fn parse(permission: &str) -> Option<Permission> {
    Some(match permission {
        dto::Permission::READ => Permission::Read,
        dto::Permission::WRITE => Permission::Write,
        dto::Permission::READ_ACP => Permission::ReadAcp,
        dto::Permission::WRITE_ACP => Permission::WriteAcp,
        dto::Permission::FULL_CONTROL => Permission::FullControl,
        _ => return None,
    })
}
