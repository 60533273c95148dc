//! Canned ACLs.

use umbra_core::{Grant, Grantee, Permission};

use super::controls;

/// The canned ACL that gives an object to the owner of its bucket as well.
pub(super) const BUCKET_OWNER_FULL_CONTROL: &str = "bucket-owner-full-control";

/// The grants that the canned ACL `name` is for something of `owner`'s; for an object with the owner of its bucket. `None` for what is none.
pub(super) fn grants(name: &str, owner: &str, bucket_owner: Option<&str>) -> Option<Vec<Grant>> {
    let grant = |grantee, permission| Grant { grantee, permission };
    let mut grants = match (name, bucket_owner) {
        // There is no EC2 here to read images.
        ("private" | "aws-exec-read", _) => vec![],
        ("public-read", _) => vec![grant(Grantee::Everyone, Permission::Read)],
        ("public-read-write", _) => vec![grant(Grantee::Everyone, Permission::Read), grant(Grantee::Everyone, Permission::Write)],
        ("authenticated-read", _) => vec![grant(Grantee::Authenticated, Permission::Read)],
        ("log-delivery-write", None) => {
            vec![grant(Grantee::LogDelivery, Permission::Write), grant(Grantee::LogDelivery, Permission::ReadAcp)]
        }
        ("bucket-owner-read" | BUCKET_OWNER_FULL_CONTROL, Some(bucket_owner)) => {
            let permission = if name == BUCKET_OWNER_FULL_CONTROL { Permission::FullControl } else { Permission::Read };
            let is_other = bucket_owner != owner;
            is_other.then(|| grant(Grantee::Organization(bucket_owner.to_owned()), permission)).into_iter().collect()
        }
        _ => return None,
    };
    grants.push(controls(owner));
    Some(grants)
}
