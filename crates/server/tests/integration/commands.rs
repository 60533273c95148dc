//! The storage, org and key commands.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use crate::support::{Done, Server, run, umbra};

const VARIABLES: [&str; 5] = ["AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "BUCKET_NAME"];

#[test]
fn a_bucket_from_creation_to_destruction() {
    let server = Server::start();
    let created = server.run(&["storage", "create", "-n", "photos", "-o", "acme", "-y"]).ok();
    let names: Vec<&str> = created.out.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
    assert_eq!(names, VARIABLES);
    assert_eq!(created.value("BUCKET_NAME"), "photos");
    assert_eq!(created.value("AWS_ENDPOINT_URL_S3"), server.s3);
    assert!(created.err.contains("Organization acme did not exist and was created."), "{}", created.err);
    server.run(&["storage", "create", "-n", "photos", "-o", "acme"]).refused(1, &["not available"]);
    server.run(&["storage", "create", "-n", "No_Bucket", "-o", "acme"]).refused(1, &["bucket is not valid"]);

    let second =
        server.run(&["storage", "create", "-n", "music", "-o", "acme", "--public", "--location", "single:fra", "--json"]).ok().json();
    assert_eq!(second["bucket"]["public"], true);
    assert_eq!(second["organization_created"], false);
    let listed = server.run(&["storage", "list", "-o", "acme", "--json"]).ok().json();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|bucket| bucket["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["music", "photos"]);

    server.run(&["storage", "update", "music"]).refused(2, &["nothing to change"]);
    let changed = server.run(&["storage", "update", "music", "--private"]).ok();
    assert!(changed.out.contains("Public   = False"), "{}", changed.out);
    server.run(&["storage", "update", "music", "--location", "moon"]).refused(1, &["no such location: moon"]);
    let status = server.run(&["storage", "status", "music", "--json"]).ok().json();
    assert_eq!((&status["bucket"]["public"], &status["bucket"]["location"]), (&false.into(), &"single:fra".into()));

    server.run(&["storage", "destroy", "music"]).refused(2, &["--yes"]);
    assert_eq!(server.run(&["storage", "destroy", "music", "-y"]).ok().out, "Your bucket music was destroyed\n");
    server.run(&["storage", "status", "music"]).refused(1, &["no such bucket: music"]);
}

/// Ends a process with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who watches a bucket goes on watching when its server starts again.
#[test]
fn a_watch_outlives_the_server() {
    let server = Server::start();
    server.run(&["storage", "create", "-n", "photos", "-o", "acme"]).ok();
    let watch = ["storage", "status", "photos", "--watch", "--json"];
    let mut watching = Running(server.command(&watch).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut shown = BufReader::new(watching.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut told = BufReader::new(watching.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(shown.any(|line| line == "}"));
    let admin = server.admin.clone();
    let dir = server.kill();
    let line = told.next().unwrap();
    assert!(line.contains("cannot reach") && line.contains("Looking again"), "{line}");
    let mut again = umbra(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", admin.strip_prefix("http://").unwrap()]);
    let _again = Running(again.arg("--data-dir").arg(dir.path().join("data")).stdout(Stdio::null()).spawn().unwrap());
    // What was shown before it was killed ended with such a line, too: from here on there is more.
    assert!(shown.any(|line| line == "{") && shown.any(|line| line == "}"));
}

#[test]
fn a_bucket_is_not_created_with_an_organization_that_cannot_be() {
    let server = Server::start();
    server.run(&["storage", "create", "-n", "photos"]).refused(1, &["name an organization"]);
    server.run(&["storage", "create", "-n", "photos", "-o", "No Org"]).refused(1, &["organization's name"]);
    server.run(&["storage", "create", "-n", "a", "-o", "fresh"]).refused(1, &["not valid"]);
    assert_eq!(server.run(&["org", "list", "--json"]).ok().json(), serde_json::json!([]));
}

/// Creates a key and gives its halves.
fn key(server: &Server, arguments: &[&str]) -> (String, String) {
    let made = server.run(&[&["key", "create"], arguments].concat()).ok();
    (made.value("AWS_ACCESS_KEY_ID"), made.value("AWS_SECRET_ACCESS_KEY"))
}

#[test]
fn organizations_do_not_see_each_other() {
    let server = Server::start();
    for (bucket, org) in [("mine", "acme"), ("also-mine", "acme"), ("theirs", "rival")] {
        server.run(&["storage", "create", "-n", bucket, "-o", org]).ok();
    }
    let admin = key(&server, &["-o", "acme", "--role", "admin"]);
    let reader = key(&server, &["--bucket", "mine", "--role", "reader"]);
    let as_admin = |arguments: &[&str]| server.run_as((&admin.0, &admin.1), arguments);
    let as_reader = |arguments: &[&str]| server.run_as((&reader.0, &reader.1), arguments);

    assert!(!as_admin(&["storage", "list"]).ok().out.contains("theirs"));
    assert!(!as_admin(&["key", "list"]).ok().out.contains("rival"));
    assert_eq!(as_admin(&["org", "list", "--json"]).ok().json().as_array().unwrap().len(), 1);
    let absent = as_admin(&["storage", "status", "no-such-bucket"]).refused(1, &[]).err;
    for command in
        [&["storage", "status", "theirs"][..], &["storage", "update", "theirs", "--public"], &["storage", "destroy", "theirs", "-y"]]
    {
        assert_eq!(as_admin(command).refused(1, &[]).err.replace("theirs", "no-such-bucket"), absent, "{command:?}");
    }
    as_admin(&["storage", "list", "-o", "rival"]).refused(1, &["no such organization: rival"]);
    as_admin(&["storage", "create", "-n", "new-one", "-o", "rival"]).refused(1, &["no such organization"]);
    as_admin(&["key", "create", "--bucket", "theirs"]).refused(1, &["no such bucket: theirs"]);
    as_admin(&["org", "create", "another"]).refused(1, &["root key"]);
    as_admin(&["storage", "create", "-n", "new-one"]).ok();

    as_reader(&["storage", "status", "mine"]).ok();
    assert_eq!(as_reader(&["storage", "status", "also-mine"]).refused(1, &[]).err.replace("also-mine", "no-such-bucket"), absent);
    as_reader(&["storage", "update", "mine", "--public"]).refused(1, &["admin key"]);
    as_reader(&["storage", "list"]).refused(1, &["admin key"]);
    as_reader(&["key", "create", "--role", "admin"]).refused(1, &["admin key"]);
}

#[test]
fn keys_come_and_go() {
    let server = Server::start();
    server.run(&["org", "create", "acme"]).ok();
    server.run(&["org", "create", "acme"]).refused(1, &["exists already"]);
    let made = server.run(&["key", "create", "-o", "acme", "--role", "admin", "--json"]).ok();
    let profile = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(profile.path(), &made.out).unwrap();
    let with_profile = |arguments: &[&str]| {
        let mut command = umbra(&[arguments, &["--admin", &server.admin, "--profile", profile.path().to_str().unwrap()]].concat());
        Done::of(command.output().unwrap())
    };
    with_profile(&["storage", "create", "-n", "photos"]).ok();
    let access_key = made.json()["access_key"].as_str().unwrap().to_owned();
    let listed = server.run(&["key", "list", "--json"]).ok();
    assert!(listed.out.contains(&access_key) && !listed.out.contains("secret"), "{}", listed.out);

    server.run(&["org", "delete", "acme"]).refused(1, &["buckets or access keys"]);
    server.run(&["key", "delete", &access_key]).ok();
    with_profile(&["storage", "list"]).refused(1, &["there is no such access key"]);
    server.run(&["key", "delete", &access_key]).refused(1, &[&format!("no such access key: {access_key}")]);

    let root = server.run(&["key", "list", "--json"]).ok().json();
    let root = root.as_array().unwrap().iter().find(|key| key["organization"].is_null()).unwrap();
    server.run(&["key", "delete", root["access_key"].as_str().unwrap()]).refused(1, &["the root key"]);
}

#[test]
fn a_new_bucket_of_an_old_name_is_closed_to_old_keys() {
    let server = Server::start();
    let made = server.run(&["storage", "create", "-n", "photos", "-o", "acme"]).ok();
    let old = (made.value("AWS_ACCESS_KEY_ID"), made.value("AWS_SECRET_ACCESS_KEY"));
    server.run_as((&old.0, &old.1), &["storage", "status", "photos"]).ok();
    server.run(&["storage", "destroy", "photos", "-y"]).ok();
    server.run(&["storage", "create", "-n", "photos", "-o", "acme"]).ok();
    server.run_as((&old.0, &old.1), &["storage", "status", "photos"]).refused(1, &["there is no such access key"]);
}

#[test]
fn what_keeps_a_command_from_the_server_is_said() {
    run(&["storage", "list", "--data-dir", "/nonexistent"]).refused(1, &["no key to sign with"]);
    let keyed = |arguments: &[&str], env: &[(&str, &str)]| Done::of(umbra(arguments).envs(env.iter().copied()).output().unwrap());
    let key = [("UMBRA_ACCESS_KEY", "a"), ("UMBRA_SECRET_KEY", "b")];
    keyed(&["storage", "list"], &key[..1]).refused(1, &["go together"]);
    // Port 1 is nobody's.
    let refused = keyed(&["storage", "list", "--admin", "http://127.0.0.1:1"], &key);
    refused.refused(1, &["cannot reach the admin address http://127.0.0.1:1: is `umbra serve` running?"]);
    keyed(&["storage", "list", "--admin", "127.0.0.1:1"], &key).refused(1, &["not of the form http://HOST:PORT"]);
    let server = Server::start();
    keyed(&["storage", "list", "--admin", &server.s3], &key).refused(1, &["is not Umbra's admin API"]);
}

#[test]
fn what_needs_no_server_needs_none() {
    assert!(run(&["settings", "--print-default"]).ok().out.contains("\nlisten = \"127.0.0.1:9000\"\n"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).ok().out.contains("umbra"), "{shell}");
    }
    assert!(run(&["--version"]).ok().out.starts_with("umbra "));
    assert_eq!(run(&[]).status, Some(2));
}
