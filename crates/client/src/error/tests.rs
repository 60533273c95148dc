use umbra_core::{Entity, ErrorKind, Fault};

use super::{Error, S3Error};

fn answer(status: u16, code: &str) -> S3Error {
    S3Error { status, code: code.into(), message: None, request_id: None, region: None, endpoint: None, retry_after: None, date: None }
}

#[test]
fn answers_have_their_kinds() {
    let cases = [
        (304, "", ErrorKind::NotModified),
        (301, "PermanentRedirect", ErrorKind::OriginRefused),
        (307, "TemporaryRedirect", ErrorKind::OriginRefused),
        (400, "AuthorizationHeaderMalformed", ErrorKind::OriginRefused),
        (400, "ExpiredToken", ErrorKind::OriginRefused),
        (400, "", ErrorKind::OriginRefused),
        (400, "InvalidArgument", ErrorKind::Invalid(Fault::InvalidArgument)),
        (400, "EntityTooLarge", ErrorKind::Invalid(Fault::EntityTooLarge)),
        (400, "InvalidPart", ErrorKind::Invalid(Fault::InvalidPart)),
        (400, "BadDigest", ErrorKind::Invalid(Fault::BadDigest)),
        (400, "RequestTimeout", ErrorKind::OriginUnavailable),
        (401, "", ErrorKind::OriginRefused),
        (403, "AccessDenied", ErrorKind::OriginRefused),
        (403, "SignatureDoesNotMatch", ErrorKind::OriginRefused),
        (403, "", ErrorKind::OriginRefused),
        (403, "InvalidObjectState", ErrorKind::Invalid(Fault::InvalidObjectState)),
        (404, "NoSuchKey", ErrorKind::NotFound(Entity::Object)),
        (404, "NoSuchVersion", ErrorKind::NotFound(Entity::Object)),
        (404, "NoSuchUpload", ErrorKind::NotFound(Entity::Upload)),
        (404, "NoSuchTagSet", ErrorKind::NotFound(Entity::Setting)),
        (404, "NoSuchBucket", ErrorKind::OriginRefused),
        // Absence is never guessed: a web server's 404 is none.
        (404, "", ErrorKind::OriginRefused),
        (403, "NoSuchKey", ErrorKind::OriginRefused),
        (405, "MethodNotAllowed", ErrorKind::OriginRefused),
        (408, "", ErrorKind::OriginUnavailable),
        (409, "OperationAborted", ErrorKind::Conflict),
        (409, "", ErrorKind::Conflict),
        (412, "", ErrorKind::Precondition),
        (412, "PreconditionFailed", ErrorKind::Precondition),
        (416, "", ErrorKind::Invalid(Fault::InvalidRange)),
        (429, "", ErrorKind::OriginUnavailable),
        (500, "InternalError", ErrorKind::OriginUnavailable),
        (501, "NotImplemented", ErrorKind::Unsupported),
        (502, "", ErrorKind::OriginUnavailable),
        (503, "SlowDown", ErrorKind::OriginUnavailable),
        (504, "", ErrorKind::OriginUnavailable),
        (200, "InternalError", ErrorKind::OriginUnavailable),
        (200, "InvalidPart", ErrorKind::Invalid(Fault::InvalidPart)),
    ];
    for (status, code, kind) in cases {
        assert_eq!(answer(status, code).kind(), kind, "{status} {code}");
        assert_eq!(Error::from(answer(status, code)).kind(), kind, "{status} {code}");
    }
}

#[test]
fn errors_say_whether_the_origin_may_have_acted() {
    let core = || umbra_core::Error::internal("x");
    let cases = [
        (Error::Blocked("x".into()), ErrorKind::OriginRefused, false),
        (Error::Connect("x".into()), ErrorKind::OriginUnavailable, false),
        (Error::Timeout, ErrorKind::OriginUnavailable, true),
        (Error::Broken { sent: true, source: "x".into() }, ErrorKind::OriginUnavailable, true),
        (Error::Broken { sent: false, source: "x".into() }, ErrorKind::OriginUnavailable, false),
        (Error::Body(core()), ErrorKind::Internal, false),
        (Error::BodySize { expected: 1, got: 2 }, ErrorKind::Invalid(Fault::IncompleteBody), false),
        (Error::bad_response("x"), ErrorKind::OriginUnavailable, true),
        (answer(403, "AccessDenied").into(), ErrorKind::OriginRefused, false),
        (answer(412, "").into(), ErrorKind::Precondition, false),
        (answer(429, "").into(), ErrorKind::OriginUnavailable, false),
        (answer(503, "SlowDown").into(), ErrorKind::OriginUnavailable, false),
        (answer(500, "InternalError").into(), ErrorKind::OriginUnavailable, true),
        (answer(502, "").into(), ErrorKind::OriginUnavailable, true),
        (answer(501, "NotImplemented").into(), ErrorKind::Unsupported, false),
        (answer(200, "InternalError").into(), ErrorKind::OriginUnavailable, true),
    ];
    for (error, kind, unknown) in cases {
        assert_eq!((error.kind(), error.outcome_unknown()), (kind, unknown), "{error:?}");
        assert_eq!(umbra_core::Error::from(error).kind(), kind);
    }
}

#[test]
fn a_redirect_says_where_to() {
    let error = S3Error { region: Some("eu-west-1".into()), endpoint: Some("b.s3.example".into()), ..answer(301, "PermanentRedirect") };
    assert_eq!(error.to_string(), "301 PermanentRedirect (its region is eu-west-1) (its endpoint is b.s3.example)");
    let error = S3Error { message: Some("no".into()), ..answer(403, "AccessDenied") };
    assert_eq!(Error::from(error).to_string(), "the origin answered 403 AccessDenied: no");
}
