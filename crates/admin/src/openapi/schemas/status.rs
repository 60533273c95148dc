//! The types of [`crate::api`] that tell how a bucket is doing.

use serde_json::{Value, json};
use umbra_shadow::UncarriedReason;

use super::{count, flag, list, nullable, object, reference, text, time};

pub(super) fn status() -> Vec<(&'static str, Value)> {
    let status = object(&[
        ("bucket", reference("BucketView")),
        ("objects", count("How many objects are here.")),
        ("bytes", count("How many bytes they hold.")),
        ("shadow", nullable(reference("ShadowStatusView"))),
        ("jobs", list("JobView")),
        ("placement", nullable(reference("PlacementView"))),
    ]);
    let error = object(&[("at", time()), ("doing", text("What was being done.")), ("message", text("What went wrong."))]);
    let health = object(&[
        ("verdict", json!({ "type": "string", "enum": ["ok", "degraded", "failing"], "description": "How it is doing." })),
        ("reason", text("Why, in one line.")),
    ]);
    let kinds = object(&[
        ("get", count("Reads of objects and of ranges.")),
        ("head", count("Reads of headers.")),
        ("list", count("Pages of listings.")),
        ("put", count("Objects sent.")),
        ("delete", count("Deletes.")),
        ("tag", count("Tags read or written.")),
        ("multipart", count("Requests of multipart uploads.")),
    ]);
    let summary =
        object(&[("reason", reason()), ("objects", count("How many objects there are.")), ("keys", strings("The keys of a few of them."))]);
    let uncarried = object(&[
        ("key", text("Its key.")),
        ("reasons", json!({ "type": "array", "items": reason() })),
        ("unreadable_headers", strings("The names of the headers that hold what is no text.")),
        ("at", time()),
    ]);
    let page =
        object(&[("objects", list("UncarriedObjectView")), ("next", nullable(text("What to ask for as `after` to get the next page.")))]);
    vec![
        ("BucketStatus", status),
        ("ShadowStatusView", shadow()),
        ("HealthView", health),
        ("OriginRequestsView", kinds),
        ("OriginErrorView", error),
        ("UncarriedSummaryView", summary),
        ("UncarriedList", page),
        ("UncarriedObjectView", uncarried),
    ]
}

pub(super) fn placement() -> Vec<(&'static str, Value)> {
    let placement = object(&[
        ("location", text("Where objects are to live.")),
        ("regions", list("RegionUseView")),
        ("audit", nullable(reference("AuditView"))),
        ("auditing_since", nullable(time())),
        ("settled", flag("Whether the last audit was by this location, left nothing to be done, and no copy is due.")),
    ]);
    let region = object(&[
        ("region", text("The region.")),
        ("homes", count("Contents that are at home there, as the last audit counted them.")),
        ("home_bytes", count("Their bytes.")),
        ("copies", count("Copies of others.")),
        ("copy_bytes", count("Their bytes.")),
        ("due", count("Copies that have to be made there.")),
        ("due_since", nullable(time())),
        ("failing", count("How many of them failed before.")),
        ("failure", nullable(text("Why one of them failed last."))),
    ]);
    let audit = object(&[
        ("location", text("The location it judged by.")),
        ("began", time()),
        ("ended", time()),
        ("missing", count("Copies that were missing, and were queued to be made.")),
        ("lost", count("Contents that had been somewhere and were there no more: as copies, or at home while there was a copy.")),
        ("removed", count("Copies that were where they may not be, and were dropped.")),
        ("moved", count("Homes that were where they may not be, or had lost their bytes, and moved.")),
        ("pending", count("Contents of which something is still to be done, once copies are made.")),
        ("failed", count("Contents of which something could not be told or done.")),
        ("failure", nullable(text("Why it could not, of one of them."))),
        ("gone", count("Contents that had lost their bytes at home and had no copy: the log names their objects.")),
    ]);
    vec![("PlacementView", placement), ("RegionUseView", region), ("AuditView", audit)]
}

fn shadow() -> Value {
    let ratio = json!({ "type": "number", "description": "Bytes that left the origin for each that was moved, to three decimals." });
    object(&[
        ("access_key", text("The access key used at the origin. Its secret is never told.")),
        ("generation", count("Grows each time a shadow is set or cleared.")),
        ("health", reference("HealthView")),
        ("origin_requests", count("Requests to the origin, since the generation began, as all that follows.")),
        ("origin_requests_by_kind", reference("OriginRequestsView")),
        ("origin_bytes", count("Bytes of content that left the origin to be read here or to stay.")),
        ("compared_bytes", count("Bytes of content that left it only to be compared with what is here; its provider charges for both.")),
        ("moved_bytes", count("Bytes of content brought in and kept, each counted once.")),
        ("egress_ratio", nullable(ratio)),
        ("saved_bytes", count("Bytes sent to readers that did not leave the origin for it.")),
        ("money_spent", nullable(text("What the bytes that left the origin cost, those compared too, at the price that was set."))),
        ("money_saved", nullable(text("What the bytes that did not leave it would have cost."))),
        ("hydrated_objects", count("Objects brought in whole.")),
        ("hydrated_bytes", count("Their bytes.")),
        ("discarded_copies", count("Copies thrown away because something newer was here.")),
        ("discarded_bytes", count("Their bytes.")),
        ("local_reads", count("Reads answered from here.")),
        ("local_bytes", count("Bytes sent to readers by them.")),
        ("cold_reads", count("Reads answered from the origin, or while the object came in.")),
        ("cold_bytes", count("Bytes sent to readers by them.")),
        ("revalidations", count("Times that the origin was asked whether an object brought in is still the same.")),
        ("revalidated_changes", count("Times that it was not.")),
        ("pending_repairs", strings("Keys whose write is half done, at most a hundred.")),
        ("last_errors", list("OriginErrorView")),
        ("uncarried", list("UncarriedSummaryView")),
    ])
}

fn reason() -> Value {
    let reasons = UncarriedReason::ALL.map(UncarriedReason::as_str);
    json!({ "type": "string", "enum": reasons, "description": "Why something could not be carried over." })
}

fn strings(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": description })
}
