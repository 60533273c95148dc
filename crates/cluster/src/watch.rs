//! Tells how long others have been silent, by nothing but what was seen of them.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// When each of those that are watched was last seen to change.
///
/// Only time in which looking worked counts: where the database was away, nobody could have been heard.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Longer between two looks than this, and nobody was watched in between.
    gap_max: Duration,
    looked: Option<Instant>,
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    turn: u64,
    silent: Duration,
    lives: bool,
}

impl Watch {
    pub(crate) fn new(gap_max: Duration) -> Self {
        Self { gap_max, looked: None, seen: HashMap::new() }
    }

    /// Notes what a look that began at `now` has shown: everybody's turn.
    pub(crate) fn note<'a>(&mut self, now: Instant, turns: impl Iterator<Item = (&'a str, u64)>) {
        let passed = self.looked.map_or(Duration::ZERO, |looked| now.saturating_duration_since(looked));
        let passed = if passed > self.gap_max { Duration::ZERO } else { passed };
        let is_first = self.looked.replace(now).is_none();
        let mut seen = HashMap::new();
        for (who, turn) in turns {
            let (silent, lives) = match self.seen.get(who) {
                Some(before) if before.turn == turn => (before.silent + passed, before.lives),
                Some(_) => (Duration::ZERO, true),
                None => (Duration::ZERO, !is_first),
            };
            seen.insert(who.to_owned(), Seen { turn, silent, lives });
        }
        self.seen = seen;
    }

    /// How long `who` has been silent; nothing is known of who was not seen.
    pub(crate) fn silence(&self, who: &str) -> Duration {
        self.seen.get(who).map_or(Duration::ZERO, |seen| seen.silent)
    }

    /// Whether `who` was seen to come, or to do anything, since the first look. What stood there before may be a copy of a row whose node lives
    /// elsewhere.
    pub(crate) fn has_lived(&self, who: &str) -> bool {
        self.seen.get(who).is_some_and(|seen| seen.lives)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Watch;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_what_was_watched() {
        let (mut watch, start) = (Watch::new(SECOND * 3), Instant::now());
        let mut look = |second: u32, turn| {
            watch.note(start + SECOND * second, [("a", turn)].into_iter());
            watch.silence("a")
        };
        assert_eq!(look(0, 1), Duration::ZERO);
        assert_eq!(look(1, 1), SECOND);
        assert_eq!(look(3, 1), SECOND * 3);
        assert_eq!(look(4, 2), Duration::ZERO, "it said something");
        assert_eq!(look(5, 2), SECOND);
        assert_eq!(look(60, 2), SECOND, "nobody looked in between");
        assert_eq!(look(61, 2), SECOND * 2);
        assert_eq!(watch.silence("b"), Duration::ZERO);
    }

    #[test]
    fn who_was_there_before_lives_once_it_does_something() {
        let (mut watch, start) = (Watch::new(SECOND * 3), Instant::now());
        let mut look = |second: u32, turns: &[(&'static str, u64)]| {
            watch.note(start + SECOND * second, turns.iter().copied());
            ["a", "b"].map(|who| watch.has_lived(who))
        };
        assert_eq!(look(0, &[("a", 7)]), [false, false]);
        assert_eq!(look(100, &[("a", 7), ("b", 1)]), [false, true], "one came, the other may be a copy");
        assert_eq!(look(101, &[("a", 8), ("b", 1)]), [true, true]);
        assert_eq!(look(102, &[("a", 8)]), [true, false], "one left");
    }
}
