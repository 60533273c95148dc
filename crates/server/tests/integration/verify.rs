//! `umbra storage verify` and `umbra storage rollback`.

use crate::{
    shadow::{Origin, client, create, get, put},
    support::Server,
};

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_told_and_those_that_matter_fail() {
    let (origin, server) = (Origin::start(), Server::start());
    let there = client(&origin.created);
    put(&there, "a/same", b"1").await;
    put(&there, "a/changed", b"2").await;
    put(&there, "b/cold", b"3").await;
    let here = client(&create(&server, &origin.flags(&origin.secret()), &[]).ok());
    server.run(&["storage", "verify", "new", "--last"]).refused(1, &["the bucket new has no verify"]);
    get(&here, "a/same").await;
    get(&here, "a/changed").await;
    put(&here, "b/here", b"4").await;
    let hydrated = || server.run(&["storage", "status", "new", "--json"]).ok().json()["shadow"]["hydrated_objects"] == 2;
    while !hydrated() {
        tokio::task::yield_now().await;
    }

    let done = server.run(&["storage", "verify", "new"]).ok();
    for words in ["KEY", "Cold", "b/here", "only-here", "The Same", "Unexplained"] {
        assert!(done.out.contains(words), "{words}: {}", done.out);
    }
    assert!(!done.out.contains("b/cold"), "what was not moved yet is counted, not listed: {}", done.out);
    let all = server.run(&["storage", "verify", "new", "--last", "--all"]).ok();
    assert!(all.out.contains("b/cold") && all.out.contains("b/here") && !all.out.contains("more"), "{}", all.out);
    put(&there, "a/changed", b"another").await;
    let report = tempfile::NamedTempFile::new().unwrap();
    let path = report.path().to_str().unwrap();
    let done = server.run(&["storage", "verify", "new/a/", "--deep", "--report", path]);
    assert_eq!(done.status, Some(1), "{}{}", done.out, done.err);
    assert!(done.err.contains("--deep reads what is here from the origin once more: up to"), "{}", done.err);
    assert!(done.err.ends_with("error: 1 key differs in a way that the migration does not explain\n"), "{}", done.err);
    let lines: Vec<serde_json::Value> =
        std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["key"], &lines[0]["explained"]), (1, &"a/changed".into(), &false.into()));
    let last = server.run(&["storage", "verify", "new", "--last", "--json"]);
    assert_eq!((last.status, &last.json()["job"]["objects_done"]), (Some(1), &2.into()));
    assert_eq!(last.json()["differences"], serde_json::Value::from(lines));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_newer_here_goes_back_when_it_is_asked_for() {
    let (origin, server) = (Origin::start(), Server::start());
    let there = client(&origin.created);
    put(&there, "gone", b"1").await;
    let here = client(&create(&server, &origin.flags(&origin.secret()), &[]).ok());
    // What the origin holds is listed first: else nobody knew what was deleted here.
    server.run(&["storage", "update", "new", "--clear-shadow"]).refused(1, &["still only at the origin"]);
    put(&here, "new", b"newer").await;
    here.delete_object("gone").await.unwrap();
    let done = server.run(&["storage", "rollback", "new", "--dry-run"]).ok();
    for words in ["would do this", "switched on first", "copied", "deleted"] {
        assert!(done.out.contains(words), "{words}: {}", done.out);
    }
    assert_eq!(get(&there, "gone").await, b"1");
    let done = server.run(&["storage", "rollback", "new"]).ok();
    assert!(
        done.out.contains("The origin has everything that is here. The application can be pointed back to old at http"),
        "{}",
        done.out
    );
    assert_eq!(get(&there, "new").await, b"newer");
    assert!(there.head_object("gone", &Default::default()).await.is_err());
    let again = server.run(&["storage", "rollback", "new"]).ok();
    assert!(again.out.contains("nothing had to be copied"), "{}", again.out);
    let json = server.run(&["storage", "rollback", "new", "--json"]).ok().json();
    assert_eq!(json["can_point_back"], true);
    server.run(&["storage", "rollback", "absent"]).refused(1, &["no such bucket"]);
    server.run(&["storage", "rollback"]).status.filter(|status| *status == 2).unwrap();
}
