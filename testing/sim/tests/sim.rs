//! The simulation, seed by seed.
//!
//! - `cargo test -p umbra-sim`: two thousand seeds.
//! - `UMBRA_SIM_SEEDS=100000 UMBRA_SIM_FROM=1 cargo test -p umbra-sim -- seeds --nocapture`: as many as wanted.
//! - `UMBRA_SIM_SEED=7 cargo test -p umbra-sim -- replay --nocapture`: one of them; with `UMBRA_SIM_MUTATION=DropIntents`, of a broken product.

use std::{
    env,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use umbra_sim::{EgressRule, Failure, Mutation, run, story};

/// Seeds that are run unless told otherwise.
const SEEDS: u64 = 2_000;
/// Seeds that are run twice to compare what happened.
const SEEDS_TOLD_TWICE: u64 = 100;
/// Seeds within which a broken product must be noticed.
const SEEDS_TO_NOTICE: u64 = 400;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn seeds() {
    let (from, count) = (number("UMBRA_SIM_FROM").unwrap_or(1), number("UMBRA_SIM_SEEDS").unwrap_or(SEEDS));
    let (next, operations, failed) = (AtomicU64::new(from), AtomicU64::new(0), AtomicBool::new(false));
    let keep_going = number("UMBRA_SIM_KEEP_GOING").is_some();
    let work = || {
        let mut failures: Vec<Failure> = Vec::new();
        while !failed.load(Ordering::SeqCst) || keep_going {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= from + count {
                break;
            }
            match run(seed, None, EgressRule::Ranges) {
                Ok(done) => drop(operations.fetch_add(done as u64, Ordering::SeqCst)),
                Err(failure) => {
                    failed.store(true, Ordering::SeqCst);
                    if keep_going {
                        println!("seed {}: {}", failure.seed, failure.complaints.join(" | "));
                    }
                    failures.push(failure);
                }
            }
        }
        failures
    };
    let failures: Vec<Failure> = thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(work));
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    println!("{count} seeds from {from}, {} operations, {} failed", operations.into_inner(), failures.len());
    if let Some(first) = failures.iter().min_by_key(|failure| failure.seed) {
        panic!("{first}");
    }
}

#[test]
fn replay() {
    let Some(seed) = number("UMBRA_SIM_SEED") else { return };
    let named = env::var("UMBRA_SIM_MUTATION").ok();
    let mutation = named.map(|name| Mutation::ALL.into_iter().find(|mutation| format!("{mutation:?}") == name).expect("a mutation"));
    match run(seed, mutation, EgressRule::Ranges) {
        Ok(_) => println!("seed {seed} passes:\n{}", story(seed, mutation)),
        Err(failure) => panic!("{failure}"),
    }
}

/// One seed is one world: what happened is the same each time.
#[test]
fn a_seed_decides_everything() {
    let (from, count) = (number("UMBRA_SIM_FROM").unwrap_or(1), number("UMBRA_SIM_SEEDS").unwrap_or(SEEDS_TOLD_TWICE));
    for seed in from..from + count {
        let [one, other] = [(); 2].map(|()| story(seed, None));
        let differ = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        assert!(one == other, "seed {seed} tells two stories: {differ:?} in {:?}", one.lines().next());
    }
}

/// The checks can fail: each way to break the product is noticed.
#[test]
fn a_broken_product_is_noticed() {
    for mutation in Mutation::ALL {
        let complaint = |failure: &Failure| failure.complaints.iter().find(|text| text.contains(mutation.complaint())).cloned();
        let failures = (1..=SEEDS_TO_NOTICE).filter_map(|seed| run(seed, Some(mutation), EgressRule::Ranges).err());
        let noticed = { failures }.find_map(|failure| Some((failure.seed, complaint(&failure)?)));
        let (seed, complaint) = noticed.unwrap_or_else(|| panic!("{mutation:?} went unnoticed"));
        println!("{mutation:?}: seed {seed}: {complaint}");
    }
}
