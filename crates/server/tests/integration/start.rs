//! Starting and stopping.

use rustix::process::Signal;

use crate::support::{Server, key_in, mode, run};

#[test]
fn a_first_start_makes_keys_for_the_owner_alone() {
    let server = Server::start();
    let dir = server.data_dir();
    assert_eq!(mode(&dir), 0o700);
    for file in ["root-key.json", "secret.key"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
    let (access_key, secret_key) = key_in(&dir.join("root-key.json"));
    assert!(server.greeting.contains(dir.join("root-key.json").to_str().unwrap()), "{}", server.greeting);
    assert!(server.greeting.contains(&access_key));
    assert!(!server.greeting.contains(&secret_key) && !server.log().contains(&secret_key));
    // The commands to try next work as they are printed.
    let commands: Vec<&str> = server.greeting.lines().filter_map(|line| line.trim_start().strip_prefix("umbra ")).collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        run(&command.split_whitespace().collect::<Vec<_>>()).ok();
    }
}

#[test]
fn health_and_metrics_need_no_signature() {
    let server = Server::start();
    assert_eq!(server.get("/readyz").0, 200);
    assert_eq!(server.get("/healthz").0, 200);
    assert_eq!(server.get("/v1/openapi.json").0, 200);
    let (status, metrics) = server.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("# TYPE umbra_admin_requests counter"), "{metrics}");
    assert!(metrics.contains(r#"umbra_admin_requests_total{method="GET",route="/readyz",status="200"} 1"#), "{metrics}");
    assert_eq!(server.get("/v1/buckets").0, 403);
    assert_eq!(server.get("/nothing").0, 404);
}

#[test]
fn it_stops_in_order_and_finds_everything_again() {
    let mut dir = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start_in(dir, &[], &[]);
        if signal == Signal::TERM {
            server.run(&["storage", "create", "-n", "kept", "-o", "acme"]).ok();
        }
        assert!(server.run(&["storage", "list"]).ok().out.contains("kept  acme"));
        let status;
        (status, dir) = server.stop(signal);
        assert_eq!(status, Some(0));
    }
}

#[test]
fn the_root_key_of_the_environment_replaces_that_of_the_file() {
    let server = Server::start();
    let kept = key_in(&server.data_dir().join("root-key.json"));
    let (_, dir) = server.stop(Signal::TERM);
    let given = ("ROOT_OF_THE_TEST", "secret/of+the=test");
    let server = Server::start_in(dir, &[], &[("UMBRA_ROOT_ACCESS_KEY", given.0), ("UMBRA_ROOT_SECRET_KEY", given.1)]);
    assert!(server.greeting.contains("from UMBRA_ROOT_ACCESS_KEY"), "{}", server.greeting);
    server.run_as(given, &["storage", "list"]).ok();
    server.run(&["storage", "list"]).refused(1, &["there is no such access key"]);
    let (_, dir) = server.stop(Signal::TERM);
    let server = Server::start_in(dir, &[], &[]);
    server.run_as((&kept.0, &kept.1), &["storage", "list"]).ok();
    server.run_as(given, &["storage", "list"]).refused(1, &["there is no such access key"]);
}

#[test]
fn the_environment_wins_over_the_file_and_flags_over_both() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("umbra.toml");
    std::fs::write(&file, "region = \"by-file\"\ndomain = \"by.file\"\nlog = \"warn\"\n").unwrap();
    let mut command = crate::support::umbra(&["settings", "--log", "debug"]);
    command.env("UMBRA_CONFIG", &file).env("UMBRA_DOMAIN", "by.environment").env("UMBRA_LOG", "error");
    let shown = crate::support::Done::of(command.output().unwrap()).ok().out;
    for line in ["region = \"by-file\"", "domain = \"by.environment\"", "log = \"debug\"", "listen = \"127.0.0.1:9000\""] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
}

#[test]
fn log_lines_can_be_json() {
    let server = Server::start_in(tempfile::tempdir().unwrap(), &["--log-format", "json"], &[]);
    server.run(&["storage", "create", "-n", "photos", "-o", "acme"]).ok();
    let log = server.log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let created = lines.iter().find(|line| line["message"] == "bucket created").unwrap();
    assert_eq!((&created["level"], &created["bucket"]), (&"INFO".into(), &"photos".into()));
}
