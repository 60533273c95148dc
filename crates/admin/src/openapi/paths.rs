//! The calls.

use serde_json::{Map, Value, json};

/// One call, as briefly as it can be told.
struct Call {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    request: Option<&'static str>,
    /// The status of success and what the answer holds.
    answer: (u16, Option<&'static str>),
    /// What can go wrong besides a bad signature and a server in trouble.
    refusals: &'static [(u16, &'static str)],
}

const CALL: Call = Call { method: "get", path: "", summary: "", query: &[], request: None, answer: (200, None), refusals: &[] };
const INVALID: (u16, &str) = (400, "Something in the request is wrong.");
const NO_BUCKET: (u16, &str) = (404, "There is no such bucket, or none this key may know of.");
const NO_REGIONS: (u16, &str) = (501, "The store has no regions.");
const NO_ORGANIZATION: (u16, &str) = (404, "There is no such organization, or none this key may know of.");
const NO_JOB: (u16, &str) = (404, "There is no such bucket or job, or none this key may know of.");
const ORIGIN_REFUSED: (u16, &str) = (422, "The origin refuses the credentials, or a right is missing.");
const ORIGIN_UNAVAILABLE: (u16, &str) = (502, "The origin cannot be reached.");
const ORGANIZATION: (&str, &str) = ("organization", "Only of this organization. By default the key's own; all of them for the root key.");

const SIGNED: &[Call] = &[
    Call {
        path: "/v1/buckets",
        summary: "List buckets by name, a page at a time",
        query: &[ORGANIZATION, ("after", "Only names behind this one."), ("limit", "The most on one page, up to 1000.")],
        answer: (200, Some("BucketList")),
        refusals: &[INVALID, NO_ORGANIZATION],
        ..CALL
    },
    Call {
        method: "post",
        path: "/v1/buckets",
        summary: "Create a bucket and a key that reaches it alone; with an origin, only if the origin can be used",
        request: Some("CreateBucket"),
        answer: (201, Some("CreatedBucket")),
        refusals: &[INVALID, NO_ORGANIZATION, (409, "The name is taken."), ORIGIN_REFUSED, ORIGIN_UNAVAILABLE],
        ..CALL
    },
    Call {
        method: "patch",
        path: "/v1/buckets/{name}",
        summary: "Change settings of a bucket, attach or change its origin, or clear it",
        request: Some("UpdateBucket"),
        answer: (200, Some("BucketView")),
        refusals: &[
            INVALID,
            NO_BUCKET,
            (409, "Somebody else is changing the shadow."),
            (503, "The origin is still being listed to find out what remains there (`listing_origin`): ask again."),
            ORIGIN_REFUSED,
            ORIGIN_UNAVAILABLE,
        ],
        ..CALL
    },
    Call {
        method: "delete",
        path: "/v1/buckets/{name}",
        summary: "Destroy a bucket with everything in it, and the keys that reach it alone; the origin is not touched",
        answer: (204, None),
        refusals: &[NO_BUCKET],
        ..CALL
    },
    Call {
        path: "/v1/buckets/{name}/status",
        summary: "Tell how a bucket and its migration are doing",
        answer: (200, Some("BucketStatus")),
        refusals: &[NO_BUCKET],
        ..CALL
    },
    Call {
        path: "/v1/buckets/{name}/placement",
        summary: "Tell in which regions a bucket's bytes are",
        answer: (200, Some("PlacementView")),
        refusals: &[NO_BUCKET, NO_REGIONS],
        ..CALL
    },
    Call {
        method: "post",
        path: "/v1/buckets/{name}/placement",
        summary: "Have it looked through whether a bucket's bytes are where its location wants them, and put right",
        answer: (200, Some("PlacementView")),
        refusals: &[NO_BUCKET, NO_REGIONS],
        ..CALL
    },
    Call {
        method: "post",
        path: "/v1/doctor",
        summary: "Look at an origin from this server's network before attaching it; with write-through, keys are written and deleted",
        request: Some("ShadowRequest"),
        answer: (200, Some("DoctorReport")),
        refusals: &[INVALID],
        ..CALL
    },
    Call {
        path: "/v1/buckets/{name}/uncarried",
        summary: "List the objects of which something could not be carried over from the origin, by key, a page at a time",
        query: &[("after", "Only keys behind this one."), ("limit", "The most on one page, up to 1000.")],
        answer: (200, Some("UncarriedList")),
        refusals: &[INVALID, NO_BUCKET],
        ..CALL
    },
    Call {
        path: "/v1/buckets/{name}/jobs/{kind}",
        summary: "Tell how a job is doing: an inventory, a backfill, a verify or a rollback",
        answer: (200, Some("JobView")),
        refusals: &[INVALID, NO_JOB],
        ..CALL
    },
    Call {
        method: "post",
        path: "/v1/buckets/{name}/jobs/{kind}",
        summary: "Start a job, unless one of its kind is running or paused",
        request: Some("JobSettings"),
        answer: (201, Some("JobView")),
        refusals: &[INVALID, NO_JOB],
        ..CALL
    },
    Call {
        method: "post",
        path: "/v1/buckets/{name}/jobs/{kind}/pause",
        summary: "Pause a job",
        answer: (200, Some("JobView")),
        refusals: &[INVALID, NO_JOB],
        ..CALL
    },
    Call {
        method: "post",
        path: "/v1/buckets/{name}/jobs/{kind}/resume",
        summary: "Let a paused or failed job go on where it was, with the settings given changed",
        request: Some("JobSettings"),
        answer: (200, Some("JobView")),
        refusals: &[INVALID, NO_JOB],
        ..CALL
    },
    Call {
        method: "post",
        path: "/v1/buckets/{name}/jobs/{kind}/cancel",
        summary: "End a job for good",
        answer: (200, Some("JobView")),
        refusals: &[INVALID, NO_JOB],
        ..CALL
    },
    Call {
        path: "/v1/buckets/{name}/jobs/{kind}/notes",
        summary: "List what the latest run of a job noted of single keys, a page at a time",
        query: &[("after", "Only keys behind this one."), ("limit", "The most on one page, up to 1000.")],
        answer: (200, Some("JobNotes")),
        refusals: &[INVALID, NO_JOB],
        ..CALL
    },
    Call { path: "/v1/regions", summary: "List the regions of the store; with the root key", answer: (200, Some("RegionList")), ..CALL },
    Call { path: "/v1/nodes", summary: "List the nodes that share the store; with the root key", answer: (200, Some("NodeList")), ..CALL },
    Call { path: "/v1/organizations", summary: "List organizations", answer: (200, Some("OrganizationList")), ..CALL },
    Call {
        method: "post",
        path: "/v1/organizations",
        summary: "Create an organization (root key only)",
        request: Some("CreateOrganization"),
        answer: (201, Some("OrganizationView")),
        refusals: &[INVALID, (409, "The name is taken.")],
        ..CALL
    },
    Call {
        method: "delete",
        path: "/v1/organizations/{name}",
        summary: "Delete an organization that has neither buckets nor keys (root key only)",
        answer: (204, None),
        refusals: &[(400, "It still has buckets or keys."), NO_ORGANIZATION],
        ..CALL
    },
    Call {
        path: "/v1/access-keys",
        summary: "List access keys, without their secrets",
        query: &[ORGANIZATION],
        answer: (200, Some("AccessKeyList")),
        refusals: &[NO_ORGANIZATION],
        ..CALL
    },
    Call {
        method: "post",
        path: "/v1/access-keys",
        summary: "Create an access key; its secret is told in this answer and never again",
        request: Some("CreateAccessKey"),
        answer: (201, Some("CreatedAccessKey")),
        refusals: &[INVALID, (404, "There is no such bucket or organization, or none this key may know of.")],
        ..CALL
    },
    Call {
        method: "delete",
        path: "/v1/access-keys/{access_key}",
        summary: "Delete an access key",
        answer: (204, None),
        refusals: &[INVALID, (404, "There is no such access key, or none this key may know of.")],
        ..CALL
    },
];

const UNSIGNED: &[(&str, &str, &str)] = &[
    ("/v1/openapi.json", "application/json", "This document"),
    ("/readyz", "text/plain", "200 once S3 requests are served, 503 before and while stopping"),
    ("/healthz", "text/plain", "200 while the process is alive"),
    ("/metrics", "application/openmetrics-text", "Metrics in the text form of Prometheus"),
];

/// Every path with its calls.
pub(super) fn paths() -> Value {
    let mut paths = Map::new();
    for call in SIGNED {
        insert(&mut paths, call.path, call.method, signed(call));
    }
    for (path, content, summary) in UNSIGNED {
        let answer = json!({ "description": "OK", "content": { *content: {} } });
        insert(&mut paths, path, "get", json!({ "summary": summary, "security": [], "responses": { "200": answer } }));
    }
    Value::Object(paths)
}

fn insert(paths: &mut Map<String, Value>, path: &str, method: &str, operation: Value) {
    let calls = paths.entry(path).or_insert_with(|| json!({}));
    calls[method] = operation;
}

fn signed(call: &Call) -> Value {
    let in_path = call.path.split(['{', '}']).skip(1).step_by(2);
    let in_path = in_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = call.query.iter().map(|(name, description)| {
        let kind = if *name == "limit" { "integer" } else { "string" };
        json!({ "name": name, "in": "query", "description": description, "schema": { "type": kind } })
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let mut operation = json!({ "summary": call.summary, "parameters": parameters, "responses": responses(call) });
    if let Some(schema) = call.request {
        operation["requestBody"] = json!({ "required": true, "content": content(schema) });
    }
    operation
}

fn responses(call: &Call) -> Value {
    let (status, schema) = call.answer;
    let success = match schema {
        Some(schema) => json!({ "description": "Done.", "content": content(schema) }),
        None => json!({ "description": "Done." }),
    };
    let mut responses = json!({ status.to_string(): success });
    let denied = (403, "The signature does not match, or the key lacks the right.");
    for (status, description) in call.refusals.iter().chain([&denied]) {
        responses[status.to_string()] = json!({ "description": description, "content": content("ErrorBody") });
    }
    responses["default"] = json!({ "description": "The server is in trouble.", "content": content("ErrorBody") });
    responses
}

fn content(schema: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
}
