//! The types of jobs.

use serde_json::{Value, json};

use super::{count, flag, list, nullable, object, reference, text, time};

pub(super) fn jobs() -> Vec<(&'static str, Value)> {
    let settings = object(&[
        ("prefix?", text("Only keys that begin with this.")),
        ("parallel?", count("Keys worked on at once.")),
        ("bytes_per_second?", count("Bytes a second that may leave the origin for it.")),
        ("requests_per_second?", count("Requests a second to the origin.")),
        ("egress_bytes?", count("Bytes that may leave the origin for it in all; then it pauses.")),
        ("order?", json!({ "type": "string", "enum": ["key", "smallest"], "description": "In which order." })),
        ("deep?", flag("Whether contents are compared.")),
        ("dry_run?", flag("Whether only to tell what would be done.")),
    ]);
    let states = ["running", "paused", "done", "cancelled", "failed"];
    let job = object(&[
        ("kind", text("What it does.")),
        ("run", count("Tells this run from earlier ones; grows.")),
        ("state", json!({ "type": "string", "enum": states, "description": "Whether it goes on." })),
        ("reason", nullable(text("Why it does not, or what holds it up while it runs."))),
        ("settings", reference("JobSettings")),
        ("objects_done", count("Objects that are done.")),
        ("bytes_done", count("Their bytes.")),
        ("objects_left", nullable(count("Objects that are left, once it is known."))),
        ("bytes_left", nullable(count("Their bytes."))),
        ("objects_failed", count("Objects it could not do; each has a note.")),
        ("bytes_failed", count("Their bytes.")),
        ("bytes_egress", count("Bytes of content that left the origin for it.")),
        ("tallies", list("TallyView")),
        ("bytes_per_second", count("Bytes a second, of late.")),
        ("seconds_left", nullable(count("Seconds until it will be done, going on as of late."))),
        ("started", time()),
        ("updated", time()),
        ("ended", nullable(time())),
        ("complete_since", nullable(time())),
    ]);
    let note = object(&[
        ("key", text("The key.")),
        ("reason", text("What is the matter.")),
        ("attempts", count("How often it was tried.")),
        ("at", time()),
        ("size", nullable(count("Bytes of the object, where known."))),
        ("differences", list("DifferenceView")),
        ("finding", nullable(reference("FindingView"))),
    ]);
    let tally = object(&[
        ("name", text("A sort of thing that is found or done.")),
        ("objects", count("How many.")),
        ("bytes", count("Their bytes.")),
    ]);
    let finding = object(&[
        ("name", text("What sort of thing was found; a note without is a failure.")),
        ("explained", flag("Whether it is what is to be expected.")),
    ]);
    let difference = object(&[
        ("field", text("What both sides tell differently.")),
        ("local", nullable(text("What it is here."))),
        ("origin", nullable(text("What it is at the origin."))),
    ]);
    let page = object(&[("notes", list("JobNote")), ("next", nullable(text("What to ask for as `after` to get the next page.")))]);
    vec![
        ("JobSettings", settings),
        ("JobView", job),
        ("JobNotes", page),
        ("JobNote", note),
        ("DifferenceView", difference),
        ("TallyView", tally),
        ("FindingView", finding),
    ]
}
