//! Whether homes follow a lasting change, and do not flap.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use umbra_core::Timestamp;

use super::{Claims, DWELL_WINDOWS, DemandSettings, PARTS, READS_MIN, SILENT_WINDOWS_MAX, Score, decide};
use crate::record::claim::ClaimRecord;

const REGIONS: [&str; 3] = ["fra", "iad", "sin"];
const SETTINGS: DemandSettings = DemandSettings { window: Duration::from_secs(3600), copy_idle: Duration::ZERO };

/// Regions that read one blob, window after window, and what becomes of its home: as the rows and the leader do it, without them.
struct Model {
    home: &'static str,
    /// The windows in which it moved.
    moves: Vec<u64>,
    claims: Claims,
    window: u64,
    dwells: bool,
}

impl Model {
    fn new(dwells: bool) -> Self {
        Self { home: "fra", moves: Vec::new(), claims: Claims::default(), window: 100, dwells }
    }

    /// A window in which the regions read so often.
    fn pass(&mut self, reads: [u64; 3]) {
        let window = self.window;
        for (region, reads) in REGIONS.into_iter().zip(reads) {
            let is_asked = self.claims.0.iter().any(|(other, _)| other != region);
            let known = self.claims.0.iter_mut().find(|(known, _)| known == region);
            match known {
                Some((_, claim)) if reads > 0 => *claim = claim.clone().add(window, reads),
                None if reads > 0 && is_asked || reads >= READS_MIN && region != self.home => {
                    self.claims.0.push((region.to_owned(), ClaimRecord::new(window, reads)));
                }
                _ => {}
            }
        }
        if self.claims.is_counted(window) {
            let stayed = self.moves.last().filter(|_| self.dwells).map(|moved| SETTINGS.window * u32::try_from(window - moved).unwrap());
            let scores = self.claims.scores(window);
            let decided = decide(&scores, self.home, stayed, &SETTINGS).and_then(|to| REGIONS.into_iter().find(|region| *region == to));
            if let Some(region) = decided {
                self.home = region;
                self.moves.push(window);
                self.claims = Claims::default();
            } else if self.claims.is_over(self.home, window) {
                self.claims = Claims::default();
            }
        }
        self.window += 1;
    }
}

/// About `mean`, more or less by nearly a third.
fn about(random: &mut StdRng, mean: f64) -> u64 {
    // Not negative, and small.
    (mean * random.random_range(0.7..1.3)).round() as u64
}

#[test]
fn homes_do_not_flap() {
    // Whatever two regions read, within what noise makes of steady means: even without a dwell time the home moves once at most, to stay.
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let (here, there) = (random.random_range(1.0..200.0), random.random_range(1.0..200.0));
        let mut model = Model::new(false);
        for _ in 0..300 {
            let reads = [about(&mut random, here), about(&mut random, there), 0];
            model.pass(reads);
        }
        assert!(model.moves.len() <= 1, "seed {seed}: {here} and {there} moved it at {:?}", model.moves);
        assert!(model.moves.is_empty() || there > here, "seed {seed}: it left whoever reads most");
    }
}

#[test]
fn homes_move_once_per_dwell_at_most() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut model = Model::new(true);
        let (mut reader, mut left) = (0, 0);
        for _ in 0..500 {
            if left == 0 {
                (reader, left) = (random.random_range(0..3), random.random_range(1..40));
            }
            left -= 1;
            let mut reads = [0; 3].map(|_: u64| random.random_range(0..10));
            reads[reader] += random.random_range(0..1000);
            model.pass(reads);
        }
        for pair in model.moves.windows(2) {
            assert!(pair[1] - pair[0] >= DWELL_WINDOWS, "seed {seed}: {:?}", model.moves);
        }
        assert!(!model.moves.is_empty());
    }
}

#[test]
fn homes_follow_a_lasting_change() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut model = Model::new(true);
        for reader in [1, 2, 0, 1] {
            let often = random.random_range(20.0..500.0);
            // Some still read where it was read before.
            let seldom = often / 7.0;
            for window in 0..DWELL_WINDOWS + 12 {
                let mut reads = [0; 3].map(|_: u64| about(&mut random, seldom));
                reads[reader] = about(&mut random, often);
                model.pass(reads);
                assert!(window > DWELL_WINDOWS + 8 || model.moves.len() <= 4);
            }
            assert_eq!(model.home, REGIONS[reader], "seed {seed}");
        }
        assert_eq!(model.moves.len(), 4, "seed {seed}: {:?}", model.moves);
    }
}

#[test]
fn a_first_move_needs_no_dwell_and_two_whole_windows() {
    let mut model = Model::new(true);
    for _ in 0..2 {
        model.pass([0, 50, 0]);
        assert_eq!(model.home, "fra", "its home has not counted for a whole window");
    }
    model.pass([0, 50, 0]);
    assert_eq!((model.home, model.moves.as_slice()), ("iad", &[102][..]));
    // What is at home where it is read is nobody's claim.
    model.pass([0, 50, 0]);
    assert!(model.claims.0.is_empty());
}

#[test]
fn decisions_are_those_that_were_meant() {
    let score = |low: u64, high: u64| Score { low: low * PARTS, high: high * PARTS };
    let stayed = |windows: u32| Some(SETTINGS.window * windows);
    for (iad, fra, stayed, moves) in [
        (score(8, 8), score(4, 4), None, true),
        (score(7, 9), score(0, 0), None, false),
        (score(8, 8), score(4, 5), None, false),
        (score(100, 100), score(0, 0), stayed(23), false),
        (score(100, 100), score(0, 0), stayed(24), true),
    ] {
        let decided = decide(&[("fra", fra), ("iad", iad)], "fra", stayed, &SETTINGS);
        assert_eq!(decided.is_some(), moves, "{iad:?} {fra:?} {stayed:?}");
        assert_eq!(decide(&[("fra", fra), ("iad", iad)], "iad", stayed, &SETTINGS), None, "it is there");
    }
    assert_eq!(decide(&[], "fra", None, &SETTINGS), None);
    assert_eq!(decide(&[("iad", score(8, 8)), ("sin", score(8, 8))], "fra", None, &SETTINGS), None, "neither of both");
}

#[test]
fn claims_fade_and_are_forgotten() {
    let claim = ClaimRecord::new(10, 64).add(10, 64).add(11, 64);
    assert_eq!((claim.reads, claim.mean()), (64, 96 * PARTS), "of two windows, 128 and 64");
    assert_eq!(claim.score(11), Score { low: 64 * PARTS, high: 96 * PARTS });
    assert_eq!(claim.score(13), Score { low: 0, high: 24 * PARTS });
    assert_eq!(claim.clone().add(13, 8).mean(), (48 + 8) * PARTS / 2, "a window without a read between");
    assert_eq!(claim.clone().add(9, 1000), claim, "too late");
    assert!(!claim.is_silent(11 + SILENT_WINDOWS_MAX) && claim.is_silent(12 + SILENT_WINDOWS_MAX));
    let claims = Claims(vec![("iad".to_owned(), claim)]);
    assert!(!claims.is_over("fra", 11) && claims.is_over("iad", 11) && claims.is_over("fra", 16));
    let far = ClaimRecord { since: 0, window: 0, reads: u64::MAX, before: Some(u64::MAX) };
    assert_eq!(far.clone().add(u64::MAX, 1).score(u64::MAX).low, PARTS / 2, "nothing of it is left");
    assert_eq!(SETTINGS.window_of(Timestamp::from_millis(-1)), 0);
}
