//! Errors at the edge of the admin API: one exhaustive match from kinds to HTTP.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use umbra_core::{Entity, Error, ErrorKind, Fault, with_causes};
use umbra_shadow::StillListing;

use crate::api::{ErrorBody, ErrorDetail};

/// The code of an answer that is not known before the origin is listed through: ask again.
pub(crate) const LISTING_ORIGIN: &str = "listing_origin";
/// The code of an answer of a node that does not lead and found none that does: nothing was done, ask again.
pub(crate) const NO_LEADER: &str = "no_leader";

/// An error on its way out as an answer.
#[derive(Debug)]
pub(crate) struct ApiError(Error);

/// What a route answers with.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// Something is wrong with the request.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self(Error::invalid(Fault::InvalidArgument, message))
    }

    /// The caller lacks the right.
    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self(Error::new(ErrorKind::Denied, message))
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = self.0.kind();
        let (status, mut code) = describe(kind);
        if StillListing::of(&self.0).is_some() {
            code = LISTING_ORIGIN;
        } else if status.is_server_error() {
            tracing::warn!(error = ?self.0, "admin request failed");
        }
        let body = ErrorBody { error: ErrorDetail { code: code.to_owned(), message: message(&self.0) } };
        (status, Json(body)).into_response()
    }
}

/// The line for a person. What the origin said belongs to whoever configures it; causes within us stay in the log.
fn message(error: &Error) -> String {
    let is_of_origin = matches!(error.kind(), ErrorKind::OriginUnavailable | ErrorKind::OriginRefused);
    if is_of_origin { with_causes(error) } else { error.message().to_owned() }
}

/// The status and the code that each kind of error is answered with.
const fn describe(kind: ErrorKind) -> (StatusCode, &'static str) {
    match kind {
        ErrorKind::NotFound(entity) => (StatusCode::NOT_FOUND, missing(entity)),
        ErrorKind::AlreadyExists(entity) => (StatusCode::CONFLICT, taken(entity)),
        ErrorKind::Precondition => (StatusCode::PRECONDITION_FAILED, "precondition_failed"),
        ErrorKind::NotModified => (StatusCode::NOT_MODIFIED, "not_modified"),
        ErrorKind::Invalid(Fault::BucketNotEmpty) => (StatusCode::CONFLICT, "bucket_not_empty"),
        ErrorKind::Invalid(Fault::EntityTooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        ErrorKind::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
        ErrorKind::Denied => (StatusCode::FORBIDDEN, "denied"),
        ErrorKind::Conflict => (StatusCode::CONFLICT, "conflict"),
        ErrorKind::Throttled => (StatusCode::SERVICE_UNAVAILABLE, "throttled"),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        ErrorKind::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
        ErrorKind::OriginUnavailable => (StatusCode::BAD_GATEWAY, "origin_unavailable"),
        ErrorKind::OriginRefused => (StatusCode::UNPROCESSABLE_ENTITY, "origin_refused"),
        ErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "corrupt"),
        ErrorKind::Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported"),
        ErrorKind::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "cancelled"),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

const fn missing(entity: Entity) -> &'static str {
    match entity {
        Entity::Bucket => "no_such_bucket",
        Entity::Object => "no_such_object",
        Entity::Version => "no_such_version",
        Entity::Upload => "no_such_upload",
        Entity::Part => "no_such_part",
        Entity::Organization => "no_such_organization",
        Entity::AccessKey => "no_such_access_key",
        Entity::Shadow => "no_shadow",
        Entity::Setting => "no_such_setting",
        Entity::Job => "no_such_job",
    }
}

const fn taken(entity: Entity) -> &'static str {
    match entity {
        Entity::Bucket => "bucket_exists",
        Entity::Organization => "organization_exists",
        Entity::AccessKey => "access_key_exists",
        Entity::Object | Entity::Version | Entity::Upload | Entity::Part | Entity::Shadow | Entity::Setting | Entity::Job => "exists",
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use umbra_core::{Entity, Error, ErrorKind, Fault};

    use super::{ApiError, describe, message};

    #[test]
    fn every_kind_has_its_answer() {
        let table = [
            (ErrorKind::NotFound(Entity::Bucket), 404, "no_such_bucket"),
            (ErrorKind::NotFound(Entity::Organization), 404, "no_such_organization"),
            (ErrorKind::NotFound(Entity::AccessKey), 404, "no_such_access_key"),
            (ErrorKind::NotFound(Entity::Shadow), 404, "no_shadow"),
            (ErrorKind::NotFound(Entity::Job), 404, "no_such_job"),
            (ErrorKind::AlreadyExists(Entity::Bucket), 409, "bucket_exists"),
            (ErrorKind::AlreadyExists(Entity::Organization), 409, "organization_exists"),
            (ErrorKind::Precondition, 412, "precondition_failed"),
            (ErrorKind::NotModified, 304, "not_modified"),
            (ErrorKind::Invalid(Fault::InvalidArgument), 400, "invalid"),
            (ErrorKind::Invalid(Fault::InvalidBucketName), 400, "invalid"),
            (ErrorKind::Invalid(Fault::BucketNotEmpty), 409, "bucket_not_empty"),
            (ErrorKind::Invalid(Fault::EntityTooLarge), 413, "too_large"),
            (ErrorKind::Denied, 403, "denied"),
            (ErrorKind::Conflict, 409, "conflict"),
            (ErrorKind::Throttled, 503, "throttled"),
            (ErrorKind::Unavailable, 503, "unavailable"),
            (ErrorKind::DiskFull, 507, "disk_full"),
            (ErrorKind::OriginUnavailable, 502, "origin_unavailable"),
            (ErrorKind::OriginRefused, 422, "origin_refused"),
            (ErrorKind::Corrupt, 500, "corrupt"),
            (ErrorKind::Unsupported, 501, "unsupported"),
            (ErrorKind::Cancelled, 503, "cancelled"),
            (ErrorKind::Internal, 500, "internal"),
        ];
        for (kind, status, code) in table {
            let described = describe(kind);
            assert_eq!((described.0.as_u16(), described.1), (status, code), "{kind:?}");
            assert_eq!(ApiError::from(Error::new(kind, "text")).into_response().status().as_u16(), status, "{kind:?}");
        }
    }

    #[test]
    fn only_what_the_origin_said_is_told_with_its_cause() {
        let cause = || Box::<dyn std::error::Error + Send + Sync>::from("403 SignatureDoesNotMatch");
        let origin = Error::new(ErrorKind::OriginRefused, "the origin refuses to be listed").because(cause());
        assert_eq!(message(&origin), "the origin refuses to be listed: 403 SignatureDoesNotMatch");
        let ours = Error::new(ErrorKind::Unavailable, "metadata cannot answer").because(cause());
        assert_eq!(message(&ours), "metadata cannot answer");
    }
}
