//! Runs the world of a seed from beginning to end.

use std::{fmt, sync::Arc, time::Duration};

use umbra_core::Result;

use crate::{
    client::Client,
    egress::EgressRule,
    env::{Dials, Env},
    history::{Mode, Switch},
    judge::{judge, trace},
    life::{Life, World},
    mutation::Mutation,
    origin::FaultyOrigin,
    reference::Keeps,
    stores::{SimBlobs, SimMeta},
    writes::Writes,
};

/// Steps of a life that crashes early, and of one that crashes late.
const STEPS_MAX: [u64; 3] = [100, 1_000, 6_000];
/// How long the actors of a life may take, in the world's own time, before it counts as stuck.
const LIFE_MAX: Duration = Duration::from_secs(3_600);

/// How long it takes a server to stop once everything is answered, in the world's own time.
const LEAVING: Duration = Duration::from_secs(5);

/// A world in which something was wrong.
#[derive(Clone)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was wrong.
    pub complaints: Vec<String>,
    /// What happened to the keys concerned.
    pub trace: String,
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}:\n{}", self.seed, self.complaints.join("\n"))?;
        writeln!(f, "what happened:\n{}", self.trace)?;
        write!(f, "again: UMBRA_SIM_SEED={} cargo test --ignore-rust-version -p umbra-sim -- replay --nocapture", self.seed)
    }
}

/// Runs the world of `seed`; `mutation` breaks the product first. Gives how many operations there were.
pub fn run(seed: u64, mutation: Option<Mutation>, egress: EgressRule) -> Result<usize, Failure> {
    let world = simulate(seed, mutation);
    let history = world.history.lock();
    let wrong = judge(&world, &history, egress);
    if wrong.is_empty() {
        return Ok(history.ops.len());
    }
    let key = wrong.iter().find_map(|(key, _)| key.as_deref().filter(|key| !key.is_empty()));
    let complaints = wrong.iter().map(|(key, text)| format!("{}: {text}", key.as_deref().unwrap_or("all"))).collect();
    let trace = format!("{:?}\n{}", world.env.dials, trace(&world, &history, key));
    Err(Failure { seed, complaints, trace })
}

/// Everything that happens in the world of `seed`.
pub fn story(seed: u64, mutation: Option<Mutation>) -> String {
    let world = simulate(seed, mutation);
    let history = world.history.lock();
    format!("{:?}\n{}", world.env.dials, trace(&world, &history, None))
}

fn simulate(seed: u64, mutation: Option<Mutation>) -> World {
    let env = Arc::new(Env::new(seed, Dials::of(seed, mutation)));
    let world = World {
        writes: Arc::new(Writes::default()),
        origin: Arc::new(FaultyOrigin::new(env.clone())),
        meta: Arc::new(SimMeta::new(env.clone())),
        blobs: Arc::new(SimBlobs::new(env.clone())),
        history: Arc::default(),
        env,
    };
    for life in 0..=world.env.dials.crashes {
        live(&world, life);
    }
    rest(&world);
    world
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime without a driver needs nothing")
}

/// One life: it ends when everybody has done what they wanted, or is cut off in the middle.
fn live(world: &World, number: usize) {
    let runtime = runtime();
    runtime.block_on(async {
        let crashes = number < world.env.dials.crashes;
        let steps = crashes.then(|| 1 + world.env.below(*world.env.pick(&STEPS_MAX) as usize) as u64);
        // The first life begins with a bucket, whatever else happens.
        if number == 0 {
            world.env.begin_life(None);
            if let Err(error) = found(world).await {
                world.history.lock().complain(None, format!("the world cannot begin: {error:?}"));
            }
        }
        world.env.begin_life(steps);
        let act = async {
            match tokio::time::timeout(LIFE_MAX, act(world)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => world.history.lock().complain(None, format!("our side does not start: {error:?}")),
                Err(_) => world.history.lock().complain(None, "our side is stuck"),
            }
        };
        tokio::select! {
            biased;
            () = world.env.crashed() => world.history.lock().crashes += 1,
            () = act => {}
        }
        let tick = world.env.end_life();
        world.history.lock().end_life(tick);
    });
    // Everything in flight goes with it.
    drop(runtime);
}

/// Makes the bucket and fills the origin.
async fn found(world: &World) -> Result<()> {
    let quiet = Life::open_quietly(world).await?;
    quiet.create_bucket().await?;
    let dials = &world.env.dials;
    for key in &dials.keys {
        if world.env.chance(if dials.reads_only { 0.9 } else { 0.6 }) {
            world.own_put(key);
        }
    }
    let begun = world.env.tick();
    let mode = Mode::Detached;
    let none =
        Switch { what: "no shadow".to_owned(), begun, ended: Some(begun), mode, effect: None, applied: Some(true), acknowledged: false };
    world.history.lock().switches.push(none);
    let through = dials.write_through && !dials.owner;
    if dials.versions && world.env.chance(0.5) {
        quiet.turn(Keeps::All).await;
    }
    quiet.switch(if through { Mode::Through } else { Mode::Here }, false).await;
    world.env.resume();
    Ok(())
}

/// What everybody does in one life.
async fn act(world: &World) -> Result<()> {
    let life = Life::open(world.clone()).await?;
    life.settle_switch().await?;
    life.settle_turn().await?;
    // The binary would try again; a start that fails for want of its store is one that did not happen.
    while life.shadow.start().await.is_err() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut actors = tokio::task::JoinSet::new();
    for number in 0..world.env.dials.clients {
        actors.spawn(Client { life: life.clone(), name: format!("client-{number}") }.run());
    }
    if world.env.dials.admin {
        actors.spawn(life.clone().administer());
    }
    if world.env.dials.versions {
        actors.spawn(life.clone().turn_versions());
    }
    if world.env.dials.jobs {
        actors.spawn(life.clone().run_jobs());
    }
    if world.env.dials.owner {
        actors.spawn(world.clone().own());
    }
    let reclaimer = tokio::spawn(life.reclaimer().run());
    while let Some(ended) = actors.join_next().await {
        if let Err(error) = ended {
            world.history.lock().complain(None, format!("an actor panicked: {error}"));
        }
    }
    // Half of the time what is under way comes to its end; else it is cut off here.
    if world.env.chance(0.5) {
        life.shadow.shutdown().await;
        // What those who have just left leave behind is deleted by tasks of its own.
        tokio::time::sleep(LEAVING).await;
    } else {
        world.history.lock().crashes += 1;
    }
    reclaimer.abort();
    Ok(())
}

/// The last life: nothing fails any more, and everything must come to rest.
fn rest(world: &World) {
    let runtime = runtime();
    world.env.heal();
    let rested = runtime.block_on(async {
        world.env.begin_life(None);
        let rested = tokio::time::timeout(LIFE_MAX, come_to_rest(world)).await;
        let tick = world.env.end_life();
        world.history.lock().end_life(tick);
        rested
    });
    match rested {
        Ok(Ok(())) => {}
        Ok(Err(error)) => world.history.lock().complain(None, format!("it does not come to rest: {error:?}")),
        Err(_) => world.history.lock().complain(None, "it does not come to rest"),
    }
}

async fn come_to_rest(world: &World) -> Result<()> {
    let life = Life::open(world.clone()).await?;
    life.settle_switch().await?;
    life.settle_turn().await?;
    life.shadow.start().await?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let last = Client { life: life.clone(), name: "last".to_owned() };
    last.list_everything().await;
    // Now and then a key is left as it is.
    let keys = &world.env.dials.keys[..world.env.dials.keys.len() - world.env.below(2)];
    for key in keys {
        last.head(key).await;
        last.get(key).await;
    }
    last.list_everything().await;
    if world.env.dials.versions {
        last.list_versions("", "", 3).await;
    }
    life.audit().await?;
    life.compare_sides(keys).await?;
    life.audit_jobs().await?;
    life.roll_back().await?;
    life.shadow.shutdown().await;
    let unanswered = |op: &&crate::history::Op| op.who == "last" && op.outcome == crate::history::Outcome::Failed;
    let mut history = world.history.lock();
    let failed: Vec<_> = history.ops.iter().filter(unanswered).map(|op| (op.key.clone(), op.answer.clone())).collect();
    for (key, answer) in failed {
        history.complain(Some(&key), format!("at rest, with nothing wrong: {answer}"));
    }
    Ok(())
}

impl Life {
    /// Opens the stores while nothing fails: [`Env::resume`] ends that.
    async fn open_quietly(world: &World) -> Result<Self> {
        world.env.heal();
        Self::open(world.clone()).await
    }
}
