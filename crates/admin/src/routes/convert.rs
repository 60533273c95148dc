//! From what the layers below say to what the API says.

use std::time::Duration;

use umbra_core::{HydratePolicy, Money};
use umbra_shadow::{AttachRequest, PendingRepair, ShadowStatus, UncarriedObject, UncarriedSummary};
use umbra_store::{AccessKey, Bucket, Organization, Secret};

use crate::{
    api::{
        AccessKeyView, BucketView, CreatedAccessKey, HealthView, OrganizationView, OriginErrorView, OriginRequestsView, PendingRepairView,
        SecretText, ShadowRequest, ShadowStatusView, ShadowView, UncarriedObjectView, UncarriedSummaryView, rfc3339,
    },
    error::{ApiError, ApiResult},
};

/// The longest revalidation interval: what is asked for beyond ten years is a mistake.
const REVALIDATE_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

pub(crate) fn bucket(bucket: &Bucket) -> BucketView {
    let shadow = bucket.settings.shadow.as_ref().map(|shadow| ShadowView {
        endpoint: shadow.endpoint.clone(),
        region: shadow.region.clone(),
        name: shadow.bucket.clone(),
        write_through: shadow.write_through,
        hydrate: shadow.hydrate.as_str().to_owned(),
        revalidate_seconds: shadow.revalidate.map(|interval| interval.as_secs()),
        price_per_gb: shadow.price_per_gb.map(|price| price.to_string()),
    });
    BucketView {
        name: bucket.name.to_string(),
        organization: bucket.organization.clone(),
        created: rfc3339(bucket.created),
        public: bucket.settings.public,
        location: bucket.settings.location.to_string(),
        shadow,
    }
}

pub(crate) fn shadow_status(status: ShadowStatus, price: Option<Money>) -> ShadowStatusView {
    let counts = status.counts;
    let money = |bytes| price.map(|price| price.for_bytes(bytes).to_string());
    let last_errors = status.last_errors.into_iter().map(|fault| OriginErrorView {
        at: rfc3339(fault.at),
        doing: fault.doing.to_owned(),
        message: fault.message,
    });
    ShadowStatusView {
        access_key: status.access_key,
        generation: status.generation,
        health: HealthView { verdict: status.health.verdict.as_str().to_owned(), reason: status.health.reason },
        origin_requests: counts.origin_requests(),
        origin_requests_by_kind: OriginRequestsView {
            get: counts.origin_gets,
            head: counts.origin_heads,
            list: counts.origin_lists,
            put: counts.origin_puts,
            delete: counts.origin_deletes,
            tag: counts.origin_tags,
            multipart: counts.origin_multiparts,
        },
        origin_bytes: counts.origin_bytes,
        compared_bytes: counts.compared_bytes,
        moved_bytes: counts.moved_bytes,
        egress_ratio: counts.egress_ratio(),
        saved_bytes: counts.saved_bytes(),
        money_spent: money(counts.charged_bytes()),
        money_saved: money(counts.saved_bytes()),
        hydrated_objects: counts.hydrated_objects,
        hydrated_bytes: counts.hydrated_bytes,
        discarded_copies: counts.discarded_copies,
        discarded_bytes: counts.discarded_bytes,
        local_reads: counts.local_reads,
        local_bytes: counts.local_bytes,
        cold_reads: counts.cold_reads,
        cold_bytes: counts.cold_bytes,
        revalidations: counts.revalidations,
        revalidated_changes: counts.revalidated_changes,
        pending_repairs: status.pending_repairs.into_iter().map(pending_repair).collect(),
        last_errors: last_errors.collect(),
        uncarried: status.uncarried.iter().map(uncarried_summary).collect(),
    }
}

fn uncarried_summary(summary: &UncarriedSummary) -> UncarriedSummaryView {
    UncarriedSummaryView {
        reason: summary.reason.as_str().to_owned(),
        objects: summary.objects,
        keys: summary.keys.iter().map(ToString::to_string).collect(),
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

pub(crate) fn uncarried(object: &UncarriedObject) -> UncarriedObjectView {
    UncarriedObjectView {
        key: object.key.to_string(),
        reasons: object.reasons.iter().map(|reason| reason.as_str().to_owned()).collect(),
        unreadable_headers: object.headers.clone(),
        at: rfc3339(object.at),
    }
}

pub(crate) fn attach(shadow: ShadowRequest) -> ApiResult<AttachRequest> {
    let revalidate = shadow.revalidate_seconds.map(Duration::from_secs);
    if revalidate.is_some_and(|interval| interval > REVALIDATE_MAX) {
        return Err(ApiError::invalid(format!("revalidate_seconds must be at most {}", REVALIDATE_MAX.as_secs())));
    }
    Ok(AttachRequest {
        endpoint: shadow.endpoint,
        region: shadow.region,
        bucket: shadow.name,
        access_key: shadow.access_key,
        secret_key: shadow.secret_key.map(|secret| Secret::new(secret.expose())),
        write_through: shadow.write_through,
        hydrate: shadow.hydrate.as_deref().map(HydratePolicy::parse).transpose()?,
        revalidate,
        price_per_gb: shadow.price_per_gb.as_deref().map(Money::parse).transpose()?,
    })
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
