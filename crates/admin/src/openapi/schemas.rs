//! The types.

mod jobs;
mod status;

use serde_json::{Value, json};

use status::{placement, status};

/// Every type of [`crate::api`], by name.
pub(super) fn schemas() -> Value {
    let mut all = json!({});
    let all_types =
        buckets().into_iter().chain(status()).chain(placement()).chain(doctor()).chain(jobs::jobs()).chain(organizations_and_keys());
    for (name, schema) in all_types {
        all[name] = schema;
    }
    all
}

fn buckets() -> Vec<(&'static str, Value)> {
    let shadow_request = object(&[
        ("endpoint?", text("The origin's endpoint: a URL.")),
        ("region?", text("The region its requests are signed for; `auto` by default.")),
        ("name?", text("The origin's bucket; the bucket's own name by default.")),
        ("access_key?", text("The access key at the origin.")),
        ("secret_key?", text("The secret key at the origin. Never told again.")),
        ("write_through?", flag("Whether writes and deletes go to the origin first.")),
        ("hydrate?", hydrate()),
        ("revalidate_seconds?", count("After how long unmodified hydrated objects are held against the origin; 0 for never.")),
        ("price_per_gb?", text("What a gigabyte (10^9 bytes) leaving the origin costs, as `0.09`, for estimates; `0` for none.")),
    ]);
    let create = object(&[
        ("name", text("Its name.")),
        ("organization?", text("The organization it belongs to. The root key creates it if need be.")),
        ("public?", flag("Whether anyone may read its objects.")),
        ("location?", text("`global` (default), `multi:GEO`, `dual:A,B` or `single:REGION`.")),
        ("shadow?", reference("ShadowRequest")),
    ]);
    let update = object(&[
        ("public?", flag("Whether anyone may read its objects.")),
        ("location?", text("Where objects live.")),
        ("shadow?", reference("ShadowRequest")),
        ("clear_shadow?", flag("Detaches the origin. Refused while objects remain there alone or repairs are pending.")),
        ("force?", flag("Detaches it all the same.")),
    ]);
    let bucket = object(&[
        ("name", text("Its name.")),
        ("organization", text("The organization it belongs to.")),
        ("created", time()),
        ("public", flag("Whether anyone may read its objects.")),
        ("location", text("Where objects live.")),
        ("shadow", nullable(reference("ShadowView"))),
    ]);
    let shadow = object(&[
        ("endpoint", text("The origin's endpoint.")),
        ("region", text("The region its requests are signed for.")),
        ("name", text("The origin's bucket.")),
        ("write_through", flag("Whether writes and deletes go to the origin first.")),
        ("hydrate", hydrate()),
        ("revalidate_seconds", nullable(count("After how long unmodified hydrated objects are held against the origin; null for never."))),
        ("price_per_gb", nullable(text("What a gigabyte leaving the origin costs; null when nobody said."))),
    ]);
    let created = object(&[
        ("bucket", reference("BucketView")),
        ("access_key", reference("CreatedAccessKey")),
        ("endpoint", text("Where S3 requests go.")),
        ("region", text("The region to sign them for.")),
        ("organization_created", flag("Whether the organization was created on the way.")),
    ]);
    let page = object(&[("buckets", list("BucketView")), ("next", nullable(text("What to ask for as `after` to get the next page.")))]);
    vec![
        ("ShadowRequest", shadow_request),
        ("CreateBucket", create),
        ("UpdateBucket", update),
        ("BucketView", bucket),
        ("ShadowView", shadow),
        ("CreatedBucket", created),
        ("BucketList", page),
    ]
}

fn hydrate() -> Value {
    json!({ "type": "string", "enum": ["whole", "touched"], "description": "How much of a cold object a reader brings here." })
}

fn organizations_and_keys() -> Vec<(&'static str, Value)> {
    let role = json!({ "type": "string", "enum": ["reader", "editor", "admin"], "description": "What it may do." });
    let key = [
        ("access_key", text("The access key itself.")),
        ("organization", nullable(text("The organization it belongs to; null for the root key."))),
        ("role", role.clone()),
        ("bucket", nullable(text("The only bucket it reaches; null for all of the organization's."))),
        ("created", time()),
    ];
    let create_key = object(&[
        ("organization?", text("The organization it belongs to: that of the bucket, or of the caller, by default.")),
        ("role", role),
        ("bucket?", text("The only bucket it reaches; all of the organization's by default.")),
    ]);
    let mut with_secret = key.to_vec();
    with_secret.push(("secret_key", text("Its secret, told once.")));
    let node = object(&[
        ("name", text("What tells it from the others.")),
        ("url", text("Where the others reach it; empty when they cannot.")),
        ("region", text("Its region.")),
        ("leads", flag("Whether it leads: it keeps the buckets with an origin, and changes buckets and keys.")),
        ("silent_seconds", count("For how many seconds nothing was heard of it.")),
        ("replica", nullable(reference("ReplicaView"))),
    ]);
    let replica = object(&[
        ("trusted", flag("Whether it is read.")),
        ("behind_ms", count("For how many milliseconds it has not been known to have everything; 0 while it does not answer.")),
    ]);
    let region = object(&[
        ("name", text("Its name.")),
        ("contents", text("Where its contents are: bucket and prefix, or a node's data directory.")),
        ("nodes", count("How many of its nodes live.")),
        ("is_own", flag("Whether the node that answers is one of them.")),
    ]);
    let error = object(&[(
        "error",
        object(&[("code", text("The kind of error: stable, in snake case.")), ("message", text("One line for a person."))]),
    )]);
    vec![
        ("CreateOrganization", object(&[("name", text("Its name."))])),
        ("OrganizationView", object(&[("name", text("Its name.")), ("created", time())])),
        ("OrganizationList", object(&[("organizations", list("OrganizationView"))])),
        ("NodeList", object(&[("nodes", list("NodeView"))])),
        ("NodeView", node),
        ("ReplicaView", replica),
        ("RegionList", object(&[("regions", list("RegionView"))])),
        ("RegionView", region),
        ("CreateAccessKey", create_key),
        ("AccessKeyView", object(&key)),
        ("CreatedAccessKey", object(&with_secret)),
        ("AccessKeyList", object(&[("access_keys", list("AccessKeyView"))])),
        ("ErrorBody", error),
    ]
}

fn doctor() -> Vec<(&'static str, Value)> {
    let report = object(&[("healthy", flag("Whether nothing has failed.")), ("findings", list("DoctorFindingView"))]);
    let finding = object(&[
        ("check", text("What was checked, in a word or two.")),
        ("verdict", json!({ "type": "string", "enum": ["ok", "warning", "failed"], "description": "How it came out." })),
        ("meaning", text("What that means, in one line.")),
        ("advice", nullable(text("What to do about it, where there is something to do."))),
    ]);
    vec![("DoctorReport", report), ("DoctorFindingView", finding)]
}

/// An object with these fields. A question mark at the end of a name says that the field may be left out.
fn object(fields: &[(&str, Value)]) -> Value {
    let mut properties = json!({});
    let mut required = Vec::new();
    for (name, schema) in fields {
        let optional = name.strip_suffix('?');
        properties[optional.unwrap_or(name)] = schema.clone();
        if optional.is_none() {
            required.push(*name);
        }
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn flag(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

fn count(description: &str) -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 0, "description": description })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time", "description": "When it was." })
}

fn list(of: &str) -> Value {
    json!({ "type": "array", "items": reference(of) })
}

fn reference(to: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{to}") })
}

fn nullable(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}
