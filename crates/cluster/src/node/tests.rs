use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use umbra_core::ManualClock;
use umbra_meta::{
    Batch, Committed, DelimPage, Entry, Error, KeyRange, MemoryMetaStore, MetaStore, Partition, Projection, Result, ScanDelim,
    SharedMetaStore, key::root,
};

use super::{JoinError, Leader, Node, NodeSettings};
use crate::record::{NodeRecord, encode};

/// One process's view of a store that several share.
#[derive(Debug)]
struct Handle {
    store: Arc<MemoryMetaStore>,
    fenced: Arc<Mutex<HashSet<String>>>,
    incarnation: String,
    /// Whether this process is cut off from the store.
    is_cut_off: AtomicBool,
}

impl Handle {
    fn check(&self) -> Result<()> {
        if self.is_cut_off.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("cut off".to_owned()));
        }
        // Its connections were ended, and it gets no other.
        if self.fenced.lock().contains(&self.incarnation) { Err(Error::Fenced) } else { Ok(()) }
    }
}

#[async_trait]
impl MetaStore for Handle {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>> {
        self.check()?;
        self.store.multi_get(partition, keys).await
    }

    async fn multi_scan(&self, partition: Partition, ranges: Vec<(KeyRange, usize)>, projection: Projection) -> Result<Vec<Vec<Entry>>> {
        self.check()?;
        self.store.multi_scan(partition, ranges, projection).await
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> Result<DelimPage> {
        self.check()?;
        self.store.scan_delim(partition, scan).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        // Others look at what is there before it.
        tokio::task::yield_now().await;
        self.check()?;
        self.store.commit(batch).await
    }
}

#[async_trait]
impl SharedMetaStore for Handle {
    fn incarnation(&self) -> &str {
        &self.incarnation
    }

    async fn fence(&self, incarnation: &str) -> Result<()> {
        self.check()?;
        self.fenced.lock().insert(incarnation.to_owned());
        Ok(())
    }
}

/// A store that several share.
#[derive(Default)]
struct World {
    store: Arc<MemoryMetaStore>,
    fenced: Arc<Mutex<HashSet<String>>>,
    lives: Mutex<usize>,
    /// Which machine nodes are started on.
    boot: Mutex<String>,
}

/// A node that runs, and ends when it is dropped.
struct Running {
    handle: Arc<Handle>,
    node: Arc<Node>,
    task: JoinHandle<()>,
}

impl World {
    fn handle(&self, name: &str) -> Arc<Handle> {
        let mut lives = self.lives.lock();
        *lives += 1;
        let (store, fenced) = (Arc::clone(&self.store), Arc::clone(&self.fenced));
        Arc::new(Handle { store, fenced, incarnation: format!("{name}-{lives}"), is_cut_off: AtomicBool::new(false) })
    }

    async fn try_join(&self, name: &str, url: Option<&str>) -> std::result::Result<Running, JoinError> {
        self.try_join_in(name, url, &format!("region of {name}"), &[]).await
    }

    async fn try_join_in(&self, name: &str, url: Option<&str>, region: &str, regions: &[&str]) -> std::result::Result<Running, JoinError> {
        let handle = self.handle(name);
        let (url, boot, region) = (url.map(str::to_owned), self.boot.lock().clone(), region.to_owned());
        let regions = regions.iter().map(ToString::to_string).collect();
        let settings = NodeSettings { url, boot, region, regions, ..NodeSettings::new(name) };
        let node = Node::join(handle.clone(), &ManualClock::default(), settings).await?;
        let runner = Arc::clone(&node);
        Ok(Running { handle, node, task: tokio::spawn(async move { runner.run().await }) })
    }

    /// A node that leads as soon as it is to.
    async fn join(&self, name: &str) -> Running {
        let running = self.try_join(name, Some(&format!("http://{name}"))).await.unwrap();
        let leading = Arc::clone(&running.node);
        tokio::spawn(async move {
            leading.elected().await;
            leading.lead().await.ok();
        });
        running
    }
}

impl Running {
    async fn sees(&self, leader: Leader) {
        let mut seen = self.node.leader();
        let waited = timeout(Duration::from_secs(300), seen.wait_for(|seen| *seen == leader)).await;
        assert!(waited.is_ok(), "{:?} instead of {leader:?}", self.node.leader().borrow());
    }

    fn at(&self) -> Leader {
        Leader::At { url: self.node.settings.url.clone().unwrap(), incarnation: self.node.meta.incarnation().to_owned() }
    }

    fn cut_off(&self, is_cut_off: bool) {
        self.handle.is_cut_off.store(is_cut_off, Ordering::SeqCst);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_others_know_which() {
    let world = World::default();
    let (a, b) = (world.join("a").await, world.join("b").await);
    a.sees(Leader::Us).await;
    b.sees(a.at()).await;
    assert!(a.node.leads() && !b.node.leads());
    sleep(Duration::from_secs(120)).await;
    assert!(a.node.leads() && !b.node.leads(), "it stays so");
    let members = b.node.members();
    let seen: Vec<_> = members.iter().map(|member| (member.name.as_str(), member.leads)).collect();
    assert_eq!(seen, [("a", true), ("b", false)]);
}

/// A leader that is to lead, and is not ready, is nobody's yet.
#[tokio::test(start_paused = true)]
async fn who_is_not_ready_does_not_lead_yet() {
    let world = World::default();
    let a = world.try_join("a", Some("http://a")).await.unwrap();
    a.node.elected().await;
    let b = world.join("b").await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!((a.node.leader().borrow().clone(), b.node.leader().borrow().clone()), (Leader::Nobody, Leader::Nobody));
    a.node.lead().await.unwrap();
    b.sees(a.at()).await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_followed_at_once() {
    let world = World::default();
    let (a, b) = (world.join("a").await, world.join("b").await);
    b.sees(a.at()).await;
    let left = Instant::now();
    a.node.leave().await;
    b.sees(Leader::Us).await;
    assert!(left.elapsed() < b.node.settings.lease / 2);
    assert_eq!(b.node.members().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_withdraws_is_seen_no_more_unless_it_leads() {
    let world = World::default();
    let (a, b) = (world.join("a").await, world.join("b").await);
    b.sees(a.at()).await;
    for node in [&a, &b] {
        node.node.withdraw().await;
    }
    let c = world.join("c").await;
    c.sees(a.at()).await;
    assert_eq!(c.node.members().len(), 2, "the one that leads and itself");
}

#[tokio::test(start_paused = true)]
async fn who_dies_is_followed_after_the_lease_and_commits_nothing() {
    let world = World::default();
    let (a, b) = (world.join("a").await, world.join("b").await);
    b.sees(a.at()).await;
    a.task.abort();
    let died = Instant::now();
    b.sees(Leader::Us).await;
    assert!(died.elapsed() >= b.node.settings.lease);
    assert!(a.handle.commit(Batch::new(Partition(1)).put("k", "", "")).await.is_err(), "it is fenced");
    let c = world.join("c").await;
    c.sees(b.at()).await;
}

/// The same directory on another machine: whoever led under its name may only be cut off.
#[tokio::test(start_paused = true)]
async fn who_is_started_elsewhere_waits_for_the_lease() {
    let world = World::default();
    *world.boot.lock() = "one machine".to_owned();
    let a = world.join("a").await;
    a.sees(Leader::Us).await;
    a.cut_off(true);
    *world.boot.lock() = "another".to_owned();
    let again = world.join("a").await;
    again.sees(Leader::Us).await;
    a.node.deposed().await;
    assert!(a.node.state.lock().lease.is_some_and(|lease| lease.renewed.elapsed() > a.node.settings.resign_after));
}

/// The same directory starts again: there is no need to wait, whoever led under its name is dead.
#[tokio::test(start_paused = true)]
async fn who_is_restarted_goes_on_at_once() {
    let world = World::default();
    *world.boot.lock() = "one machine".to_owned();
    let a = world.join("a").await;
    a.sees(Leader::Us).await;
    a.task.abort();
    let died = Instant::now();
    let again = world.join("a").await;
    again.sees(Leader::Us).await;
    assert!(died.elapsed() < a.node.settings.lease / 2);
    assert!(world.fenced.lock().contains(&a.handle.incarnation));
}

/// A data directory that was copied: the one that runs is left alone.
#[tokio::test(start_paused = true)]
async fn who_has_the_name_of_one_that_lives_is_refused() {
    let world = World::default();
    let a = world.join("a").await;
    a.sees(Leader::Us).await;
    assert!(matches!(world.try_join("a", Some("http://twin")).await, Err(JoinError::Twin(name)) if name == "a"));
    sleep(Duration::from_secs(60)).await;
    assert!(a.node.leads() && world.fenced.lock().is_empty());
}

/// A leader that is cut off ends by itself before another takes over.
#[tokio::test(start_paused = true)]
async fn who_is_cut_off_ends_before_another_leads() {
    let world = World::default();
    let (a, b) = (world.join("a").await, world.join("b").await);
    b.sees(a.at()).await;
    a.cut_off(true);
    a.node.deposed().await;
    assert_ne!(*b.node.leader().borrow(), Leader::Us);
    b.sees(Leader::Us).await;
}

/// While the store answers nobody, nobody is taken for dead.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_deposes_nobody_but_the_leader_by_itself() {
    let world = World::default();
    let (a, b) = (world.join("a").await, world.join("b").await);
    b.sees(a.at()).await;
    for node in [&a, &b] {
        node.cut_off(true);
    }
    sleep(a.node.settings.resign_after / 2).await;
    for node in [&a, &b] {
        node.cut_off(false);
    }
    sleep(Duration::from_secs(30)).await;
    assert!(a.node.leads() && !b.node.leads());
    assert!(world.fenced.lock().is_empty());
}

/// Who is to be alone waits for the store as long as it takes: nobody may take over.
#[tokio::test(start_paused = true)]
async fn who_is_alone_outlasts_a_store_that_is_away() {
    let world = World::default();
    let a = world.try_join("a", None).await.unwrap();
    a.node.elected().await;
    a.node.lead().await.unwrap();
    a.cut_off(true);
    sleep(a.node.settings.lease * 10).await;
    a.cut_off(false);
    a.sees(Leader::Us).await;
    sleep(Duration::from_secs(10)).await;
    assert!(a.node.leads() && world.fenced.lock().is_empty());
}

/// Nobody is sent to a region in which nobody answers; it is known again as soon as somebody does.
#[tokio::test(start_paused = true)]
async fn a_region_lives_as_long_as_one_of_its_nodes_is_heard_of() {
    let world = World::default();
    let (a, b) = (world.join("a").await, world.join("b").await);
    b.sees(a.at()).await;
    sleep(Duration::from_secs(2)).await;
    assert!(a.node.lives_in("region of a") && a.node.lives_in("region of b") && !a.node.lives_in("nowhere"));
    b.cut_off(true);
    sleep(Duration::from_secs(10)).await;
    assert!(a.node.lives_in("region of a") && !a.node.lives_in("region of b"));
    b.cut_off(false);
    sleep(Duration::from_secs(3)).await;
    assert!(a.node.lives_in("region of b"));
}

/// A copy of a store, or one taken back to an earlier moment, has the rows of nodes that live elsewhere.
#[tokio::test(start_paused = true)]
async fn nothing_is_for_a_leader_that_only_a_copy_has() {
    let (world, copy) = (World::default(), World::default());
    *copy.lives.lock() = 10;
    let (a, b) = (world.join("a").await, world.join("b").await);
    b.sees(a.at()).await;
    let rows = world.store.multi_scan(Partition::ROOT, vec![(KeyRange::prefix(b""), 100)], Projection::Full).await.unwrap();
    let copied = rows[0].iter().fold(Batch::new(Partition::ROOT), |batch, row| batch.put(row.key.clone(), "", row.body.clone()));
    copy.store.commit(copied).await.unwrap();
    let c = copy.join("c").await;
    let (mut leader, joined) = (c.node.leader(), Instant::now());
    let first = leader.wait_for(|leader| *leader != Leader::Nobody).await.unwrap().clone();
    assert_eq!(first, Leader::Us, "after {:?}", joined.elapsed());
    let d = copy.join("d").await;
    d.sees(c.at()).await;
    assert!(a.node.leads() && world.fenced.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_for_long_is_shut_out() {
    let world = World::default();
    let (a, b) = (world.join("a").await, world.join("b").await);
    b.sees(a.at()).await;
    b.cut_off(true);
    sleep(a.node.settings.forget_after * 2).await;
    assert_eq!(a.node.members().len(), 1);
    b.cut_off(false);
    b.node.deposed().await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_do_not_reach_one_another_are_refused() {
    let world = World::default();
    let a = world.join("a").await;
    let refused = world.try_join("b", None).await;
    assert!(matches!(refused, Err(JoinError::NoAddress(name)) if name == "a"));
    a.node.leave().await;
    let b = world.try_join("b", None).await.unwrap();
    let refused = world.try_join("c", Some("http://c")).await;
    assert!(matches!(refused, Err(JoinError::NoAddress(name)) if name == "b"));
    // Should it be dead, that is found out.
    b.task.abort();
    world.try_join("c", Some("http://c")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nodes_that_would_not_find_what_is_in_each_others_region_are_refused() {
    let world = World::default();
    let join = async |name: &str, region: &str, regions: &[&str]| world.try_join_in(name, Some("http://n"), region, regions).await;
    let a = join("a", "fra", &["fra", "iad"]).await.unwrap();
    join("b", "iad", &["fra", "iad"]).await.unwrap();
    for (region, regions) in [("sin", &["sin", "fra", "iad"][..]), ("fra", &[]), ("iad", &["iad"]), ("iad", &["iad", "sin"])] {
        let refused = join("c", region, regions).await;
        assert!(matches!(refused, Err(JoinError::Strangers(_))), "{region} {regions:?}");
    }
    // One may know of more regions than there are nodes of, and those of a region come once all others know it.
    let d = join("d", "fra", &["fra", "iad", "sin"]).await.unwrap();
    assert!(matches!(join("e", "sin", &["fra", "iad", "sin"]).await, Err(JoinError::Strangers(name)) if name != "d"));
    for stale in [&a.node, &d.node] {
        stale.leave().await;
    }
    // What died is waited for, and does not stand in the way.
    join("e", "sin", &["fra", "iad", "sin"]).await.unwrap();
}

/// Nobody is there yet for either of them, and both have looked before one writes anything.
#[tokio::test(start_paused = true)]
async fn of_two_that_come_at_once_and_could_not_work_together_one_is_refused() {
    let urls = [Some("http://x"), Some("http://y")];
    for (names, urls, regions) in [
        (["x", "y"], urls, [&["fra", "iad"][..], &[]]),
        (["x", "y"], urls, [&["fra", "iad"], &["iad", "sin"]]),
        (["x", "y"], [None, Some("http://y")], [&[], &[]]),
        (["x", "y"], [None, None], [&[], &[]]),
        (["x", "x"], urls, [&[], &[]]),
    ] {
        let world = World::default();
        let join = |n: usize| world.try_join_in(names[n], urls[n], ["fra", "iad"][n], regions[n]);
        let came = tokio::join!(join(0), join(1));
        let (stays, refused) = match came {
            (Ok(stays), Err(refused)) | (Err(refused), Ok(stays)) => (stays, refused),
            _ => panic!("{names:?} {urls:?} {regions:?}: not one of both, but {} and {}", came.0.is_ok(), came.1.is_ok()),
        };
        match refused {
            JoinError::Strangers(_) => assert!(!regions[0].is_empty()),
            JoinError::NoAddress(_) => assert_eq!(urls[0], None),
            JoinError::Twin(_) => assert_eq!(names, ["x", "x"]),
            JoinError::Store(error) => panic!("{error}"),
        }
        sleep(Duration::from_secs(60)).await;
        assert_eq!(stays.node.members().len(), 1, "it is there, and has heard of nobody else");
        assert!(world.fenced.lock().is_empty());
    }
}

/// Who comes while others do is not refused for that.
#[tokio::test(start_paused = true)]
async fn several_come_at_once() {
    let world = World::default();
    let (a, b, c) = tokio::join!(world.join("a"), world.join("b"), world.join("c"));
    sleep(Duration::from_secs(5)).await;
    for node in [&a, &b, &c] {
        assert_eq!(node.node.members().len(), 3);
    }
    assert_eq!([&a, &b, &c].iter().filter(|node| node.node.leads()).count(), 1);
}

/// Releases are replaced one node after the other, also by the first that tells which regions it knows.
#[tokio::test(start_paused = true)]
async fn a_node_of_a_release_that_tells_no_regions_is_no_stranger() {
    let world = World::default();
    let (url, boot) = ("http://old".to_owned(), String::new());
    let mut old = NodeRecord { name: "old".into(), url, region: "fra".into(), turn: 1, since: 0, boot, replica: None, regions: None };
    let store = Arc::clone(&world.store);
    let living = tokio::spawn(async move {
        loop {
            old.turn += 1;
            let batch = Batch::new(Partition::ROOT).put(root::node("old-0"), "", encode(&old));
            store.commit(batch).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    });
    tokio::task::yield_now().await;
    let join = async |name: &str, region: &str, regions: &[&str]| world.try_join_in(name, Some("http://n"), region, regions).await;
    assert!(matches!(join("c", "iad", &["iad", "sin"]).await, Err(JoinError::Strangers(name)) if name == "old"));
    let a = join("a", "iad", &["fra", "iad"]).await.unwrap();
    let told = async |of: &Running| {
        let nodes = of.node.look().await.unwrap().nodes;
        nodes.into_iter().find(|(who, _)| who == of.node.meta.incarnation()).unwrap().1.regions
    };
    assert_eq!(told(&a).await, Some(vec!["fra".to_owned(), "iad".to_owned()]));
    a.node.leave().await;
    let b = join("b", "fra", &[]).await.unwrap();
    assert_eq!(told(&b).await, Some(Vec::new()), "none is not the same as not told");
    living.abort();
}
