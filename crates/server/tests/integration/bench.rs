//! `umbra bench`: every case once, on a server of its own and on another, and nothing is left behind.

use std::{ffi::OsStr, fs};

use crate::support::{Server, key_in, run, text, umbra};

const SHORT: [&str; 11] = ["bench", "--sizes", "4KiB,100KiB", "--connections", "3", "--keys", "40", "--seconds", "0.05", "--rounds", "2"];

#[test]
fn every_case_is_measured_on_both_servers() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let (access_key, secret_key) = key_in(&server.data_dir().join("root-key.json"));
    let pid = server.pid().to_string();
    let path = dir.path();
    let against = ["--dir", text(&path), "--against", &server.s3, "--against-access-key", &access_key];
    let named = ["--against-name", "second", "--against-pid", &pid, "--json"];
    let mut command = umbra(&[&SHORT[..], &against, &named].concat());
    let done = crate::support::Done::of(command.env("UMBRA_BENCH_AGAINST_SECRET_KEY", secret_key).output().unwrap()).ok();

    let report = done.json();
    let results = report["results"].as_array().unwrap();
    // Two sizes to put and get, and four operations beside.
    assert_eq!(results.len(), (2 * 2 + 4) * 2, "{report:#}");
    for row in results {
        assert!(row["ops_per_s"].as_f64().unwrap() > 0.0, "{row:#}");
        assert!(row["p99_us"].as_f64() >= row["p50_us"].as_f64() && row["cpu_us_per_op"].is_number(), "{row:#}");
        assert_eq!((row["errors"].as_u64(), row["ops_ratio"].is_number()), (Some(0), row["server"] == "umbra"), "{row:#}");
    }
    let servers = report["servers"].as_array().unwrap();
    assert_eq!((&servers[0]["name"], &servers[1]["name"]), (&"umbra".into(), &"second".into()));
    assert!(servers.iter().all(|server| server["rss_peak_bytes"].as_u64() > Some(0)), "{servers:?}");

    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the data of the server of its own");
    let buckets = server.run(&["storage", "list", "--json"]).ok();
    assert_eq!(buckets.json().as_array().map(Vec::len), Some(0), "{}", buckets.out);
    let own = servers[0]["pid"].as_u64().unwrap();
    let executable = fs::read_link(format!("/proc/{own}/exe")).ok();
    assert_ne!(executable.as_deref().and_then(|path| path.file_name()), Some(OsStr::new("umbra")), "its own server still runs");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let with_key = |endpoint| run(&["bench", "--endpoint", endpoint, "--access-key", "k", "--secret-key", "s"]);
    with_key("http://192.0.2.1:9000").refused(2, &["only loopback"]);
    with_key("http://127.0.0.1:1").refused(1, &["connect to 127.0.0.1:1"]);
    let server = Server::start();
    let done = with_key(&server.s3);
    assert!(done.status == Some(1) && done.err.contains("error: umbra: PUT /umbra-bench-") && done.err.contains("403"), "{}", done.err);
}
