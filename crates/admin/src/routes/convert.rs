//! From what the layers below say to what the API says.

use umbra_shadow::{AttachRequest, PendingRepair, ShadowStatus};
use umbra_store::{AccessKey, Bucket, Organization, Secret};

use crate::api::{
    AccessKeyView, BucketView, CreatedAccessKey, OrganizationView, OriginErrorView, PendingRepairView, SecretText, ShadowRequest,
    ShadowStatusView, ShadowView, rfc3339,
};

pub(crate) fn bucket(bucket: &Bucket) -> BucketView {
    let shadow = bucket.settings.shadow.as_ref().map(|shadow| ShadowView {
        endpoint: shadow.endpoint.clone(),
        region: shadow.region.clone(),
        name: shadow.bucket.clone(),
        write_through: shadow.write_through,
    });
    BucketView {
        name: bucket.name.to_string(),
        organization: bucket.organization.clone(),
        created: rfc3339(bucket.created),
        public: bucket.settings.public,
        location: bucket.settings.location.clone(),
        shadow,
    }
}

pub(crate) fn shadow_status(status: ShadowStatus) -> ShadowStatusView {
    let last_errors = status.last_errors.into_iter().map(|fault| OriginErrorView {
        at: rfc3339(fault.at),
        doing: fault.doing.to_owned(),
        message: fault.message,
    });
    ShadowStatusView {
        access_key: status.access_key,
        generation: status.generation,
        origin_requests: status.origin_requests,
        origin_bytes: status.origin_bytes,
        hydrated_objects: status.hydrated_objects,
        hydrated_bytes: status.hydrated_bytes,
        discarded_copies: status.discarded_copies,
        local_reads: status.local_reads,
        cold_reads: status.cold_reads,
        pending_repairs: status.pending_repairs.into_iter().map(pending_repair).collect(),
        last_errors: last_errors.collect(),
    }
}

fn pending_repair(repair: PendingRepair) -> PendingRepairView {
    PendingRepairView {
        key: repair.key.to_string(),
        operation: repair.operation.to_owned(),
        since: rfc3339(repair.since),
        attempts: repair.attempts,
        last_error: repair.last_error,
        next_attempt: repair.next_attempt.map(rfc3339),
    }
}

pub(crate) fn attach(shadow: ShadowRequest) -> AttachRequest {
    AttachRequest {
        endpoint: shadow.endpoint,
        region: shadow.region,
        bucket: shadow.name,
        access_key: shadow.access_key,
        secret_key: shadow.secret_key.map(|secret| Secret::new(secret.expose())),
        write_through: shadow.write_through,
    }
}

pub(crate) fn organization(organization: &Organization) -> OrganizationView {
    OrganizationView { name: organization.name.clone(), created: rfc3339(organization.created) }
}

pub(crate) fn key(key: &AccessKey) -> AccessKeyView {
    AccessKeyView {
        access_key: key.id.clone(),
        organization: key.organization.clone(),
        role: key.role.into(),
        bucket: key.bucket.as_ref().map(ToString::to_string),
        created: rfc3339(key.created),
    }
}

pub(crate) fn created_key(created: &AccessKey) -> CreatedAccessKey {
    CreatedAccessKey { key: key(created), secret_key: SecretText::new(created.secret.expose()) }
}
