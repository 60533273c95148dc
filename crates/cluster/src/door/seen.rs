//! Which requests of which node have come, so that none that was listened to on its way is answered again.

use std::collections::HashMap;

/// How many requests one may be overtaken by. A node that passes on ten thousand in a second may be late by 26 s with one of them.
const WINDOW: usize = 1 << 18;

/// What has come, by the life of a node that sent it: 32 KiB for each.
#[derive(Default)]
pub(super) struct Seen(HashMap<String, Sender>);

struct Sender {
    /// The highest number that has come.
    newest: u64,
    /// Which of the last numbers have come, each at its remainder.
    bits: Box<[u64]>,
    /// When something last came.
    heard: i64,
}

impl Seen {
    /// Notes that number `number` of `from` has come at `now`. Tells whether it is the first time, as far as is known. Who was not heard of for
    /// `forget_after` is forgotten: nothing of it would be taken any more.
    pub(super) fn is_first(&mut self, from: &str, number: u64, now: i64, forget_after: i64) -> bool {
        if !self.0.contains_key(from) {
            self.0.retain(|_, sender| now.saturating_sub(sender.heard) <= forget_after);
        }
        let new = || Sender { newest: 0, bits: vec![0; WINDOW / 64].into(), heard: now };
        let sender = self.0.entry(from.to_owned()).or_insert_with(new);
        sender.heard = sender.heard.max(now);
        sender.note(number)
    }
}

impl Sender {
    fn note(&mut self, number: u64) -> bool {
        let window = WINDOW as u64;
        if number.saturating_add(window) <= self.newest {
            return false;
        }
        if number >= self.newest.saturating_add(window) {
            self.bits.fill(0);
        } else {
            for skipped in self.newest + 1..number {
                let (word, bit) = place(skipped);
                self.bits[word] &= !bit;
            }
        }
        let (word, bit) = place(number);
        let is_first = number > self.newest || self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        self.newest = self.newest.max(number);
        is_first
    }
}

/// The word and the bit of a number.
fn place(number: u64) -> (usize, u64) {
    let at = usize::try_from(number % WINDOW as u64).expect("it is less than the window");
    (at / 64, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Seen, WINDOW};

    #[test]
    fn each_comes_once_in_whatever_order() {
        let (mut seen, mut known) = (Seen::default(), HashSet::new());
        // Scattered over several windows, most of them more than once.
        for step in 0..60_000_u64 {
            let number = step * 40 + (step * 7_919) % 5_000;
            let is_first = seen.is_first("a", number + 1, 0, 600);
            assert_eq!(is_first, known.insert(number), "{number}");
            assert!(!seen.is_first("a", number + 1, 0, 600));
        }
        assert!(seen.is_first("b", 1, 0, 600), "another's are its own");
    }

    #[test]
    fn what_lies_behind_the_window_is_not_taken() {
        let (mut seen, window) = (Seen::default(), WINDOW as u64);
        for (number, is_taken) in [(window * 3, true), (window * 2, false), (window * 2 + 1, true), (window * 9, true), (window * 3, false)]
        {
            assert_eq!(seen.is_first("a", number, 0, 600), is_taken, "{number}");
        }
    }

    #[test]
    fn who_is_not_heard_of_is_forgotten() {
        let mut seen = Seen::default();
        seen.is_first("old", 1, 0, 600);
        seen.is_first("young", 1, 500, 600);
        seen.is_first("new", 1, 601, 600);
        assert_eq!(seen.0.len(), 2);
        assert!(!seen.is_first("young", 1, 601, 600));
    }
}
