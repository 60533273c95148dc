//! The metrics of a server, and the page that lists them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    shadow::{Origin, client, create, get, moved, put},
    support::Server,
};

/// What `/metrics` tells of one family.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// The labels of its samples; `None` when it has none.
    labels: Option<BTreeSet<String>>,
}

fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => {
                name.clone_into(&mut last);
                families.entry(last.clone()).or_default().help = help.to_owned();
            }
            ["#", "TYPE", name, kind] => families.get_mut(name).unwrap().kind = kind.to_owned(),
            _ => {
                assert!(line.starts_with(&last), "a sample of another family: {line}");
                let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
                let names = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
                families.get_mut(&last).unwrap().labels.get_or_insert_default().extend(names.filter(|name| name != "le"));
            }
        }
    }
    families
}

/// The rows of the page's table: name, kind, labels, help.
fn documented() -> BTreeMap<String, [String; 3]> {
    let page = include_str!("../../../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `umbra_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(|cell| cell.trim().trim_end_matches('`')).collect();
        let [name, kind, labels, help] = cells[..] else { panic!("{row}") };
        (format!("umbra_{name}"), [kind, labels, help].map(str::to_owned))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_what_is_documented() {
    let (origin, server) = (Origin::start(), Server::start());
    put(&client(&origin.created), "a", b"from the old place").await;
    let created = create(&server, &origin.flags(&origin.secret()), &[]).ok();
    let here = client(&created);
    get(&here, "a").await;
    moved(&server, 1).await;
    get(&here, "a").await;
    let text = server.get("/metrics").1;
    assert!(text.ends_with("# EOF\n"));
    for line in [
        r#"umbra_shadow_origin_bytes_total{bucket="new"} 18"#,
        r#"umbra_shadow_egress_ratio{bucket="new"} 1.0"#,
        r#"umbra_shadow_origin_requests_total{bucket="new",kind="get"} 1"#,
        r#"umbra_shadow_read_bytes_total{bucket="new",source="local"} 18"#,
        r#"umbra_shadow_health{bucket="new"} 0"#,
        "umbra_shadow_buckets 1",
        r#"umbra_s3_requests_total{operation="get_object",status="2xx"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    let (told, mut documented) = (families(&text), documented());
    for (name, family) in &told {
        let Some([kind, labels, help]) = documented.remove(name) else { panic!("{name} is not documented") };
        assert_eq!((kind.as_str(), help.as_str()), (family.kind.as_str(), family.help.as_str()), "{name}");
        let labels: BTreeSet<String> = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        assert_eq!(family.labels.as_ref().unwrap_or(&labels), &labels, "{name}");
    }
    assert!(documented.is_empty(), "documented, and not told: {documented:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_buckets_can_be_left_out() {
    let origin = Origin::start();
    let server = Server::start_in(tempfile::tempdir().unwrap(), &["--metrics-buckets=false"], &[]);
    create(&server, &origin.flags(&origin.secret()), &[]).ok();
    let text = server.get("/metrics").1;
    assert!(text.contains("umbra_shadow_buckets 1\n") && !text.contains("bucket=\""), "{text}");
}
