//! `umbra storage migrate`, and the gate behind it.

use crate::{
    shadow::{Origin, client, create, put},
    support::Server,
};

async fn world(keys: usize) -> (Origin, Server) {
    let (origin, server) = (Origin::start(), Server::start());
    let there = client(&origin.created);
    for n in 0..keys {
        put(&there, &format!("{}/{n:03}", if n % 2 == 0 { "even" } else { "odd" }), b"ten bytes!").await;
    }
    create(&server, &origin.flags(&origin.secret()), &[]).ok();
    (origin, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_moves_and_the_origin_can_go() {
    let (origin, server) = world(40).await;
    server.run(&["storage", "update", "new", "--clear-shadow"]).refused(1, &["40 objects are still only at the origin", "migrate"]);
    server.run(&["storage", "migrate", "new", "--pause"]).refused(1, &["error: the bucket new has no backfill\n"]);
    let done = server.run(&["storage", "migrate", "new/odd/", "--wait", "--json"]).ok();
    assert_eq!((done.json()["objects_done"].as_u64(), done.json()["state"].as_str()), (Some(20), Some("done")));
    assert_eq!(done.err, "", "a progress bar is for terminals");
    let done = server.run(&["storage", "migrate", "new", "--wait", "--parallel", "4", "--max-rps", "1000"]).ok();
    assert!(
        done.out.contains("= done\n") && done.out.contains("= 20 objects, ") && done.out.contains("= 0 objects, 0 B\n"),
        "{}",
        done.out
    );
    server.run(&["storage", "update", "new", "--clear-shadow"]).ok();
    drop(origin);
    assert_eq!(server.run(&["storage", "status", "new", "--json"]).ok().json()["objects"], 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_pauses_it_and_it_can_be_resumed_and_cancelled() {
    let (_origin, server) = world(20).await;
    let paused = server.run(&["storage", "migrate", "new", "--wait", "--max-egress", "40"]);
    paused.refused(1, &["the backfill is paused: the egress budget of 40 bytes"]);
    server.run(&["storage", "migrate", "new"]).refused(1, &["paused already", "resume or cancel"]);
    server.run(&["storage", "migrate", "new", "--resume", "--max-egress", "1MiB", "--wait"]).ok();
    server.run(&["storage", "migrate", "new", "--resume"]).refused(1, &["is done"]);
    let cancelled = server.run(&["storage", "migrate", "new", "--cancel", "--json"]).ok();
    assert_eq!(cancelled.json()["state"], "done", "what is over stays as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_limits_a_running_one_has_is_said() {
    let (_origin, server) = world(20).await;
    server.run(&["storage", "migrate", "new", "--max-rps", "1"]).ok();
    let joined = server.run(&["storage", "migrate", "new", "--max-rps", "1000", "--max-egress", "1MiB", "--wait"]).ok();
    let expected = "is running already; it now goes on with 1000 requests a second at most, a budget of 1.0 MiB that leave the origin.";
    assert!(joined.err.contains(expected), "{}", joined.err);
    let nothing = server.run(&["storage", "migrate", "new", "--max-egress", "0"]);
    assert!(nothing.status == Some(2) && nothing.err.contains("0 would stop it at once"), "{}", nothing.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_is_refused() {
    let server = Server::start();
    server.run(&["storage", "create", "-n", "plain", "-o", "us"]).ok();
    server.run(&["storage", "migrate", "plain"]).refused(1, &["error: the bucket plain has no shadow\n"]);
    server.run(&["storage", "migrate", "nowhere"]).refused(1, &["no such bucket: nowhere"]);
    let wrong = server.run(&["storage", "migrate", "plain", "--pause", "--wait"]);
    assert_eq!(wrong.status, Some(2), "{}", wrong.err);
    for flag in ["--pause", "--resume", "--cancel"] {
        server.run(&["storage", "migrate", "plain/2024/", flag]).refused(2, &[flag, "bucket alone"]);
    }
}

/// A server that is killed goes on where it was when it starts again, and who waits for it is not told off.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_goes_on() {
    let (origin, server) = world(60).await;
    let job = server.run(&["storage", "migrate", "new", "--max-rps", "20", "--json"]).ok().json();
    assert_eq!(job["state"], "running");
    loop {
        let job = server.run(&["storage", "migrate", "new", "--json"]).ok().json();
        if job["objects_done"].as_u64().unwrap() >= 5 {
            break;
        }
    }
    let dir = server.kill();
    let server = Server::start_in(dir, &[], &[]);
    server.run(&["storage", "migrate", "new", "--resume", "--max-rps", "10000", "--wait"]).ok();
    let done = server.run(&["storage", "migrate", "new", "--wait"]).ok();
    assert!(done.out.contains("= 0 objects, 0 B\n"), "{}", done.out);
    server.run(&["storage", "update", "new", "--clear-shadow"]).ok();
    assert_eq!(server.run(&["storage", "status", "new", "--json"]).ok().json()["objects"], 60);
    drop(origin);
}
