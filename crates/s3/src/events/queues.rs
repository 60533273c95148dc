//! Whose turn it is.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use umbra_core::{BucketName, Timestamp};

use super::{AT_ONCE, AT_ONCE_PER_ORGANIZATION, SLEEP_MAX};

/// Places that are to be free for each that an organization has, before it takes another.
const FREE_FOR_EACH: usize = 4;

/// A receiver of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Queue {
    pub(super) bucket: BucketName,
    pub(super) receiver: String,
    /// Whose the bucket is.
    pub(super) organization: String,
}

/// How the queues stand.
#[derive(Default)]
pub(super) struct Queues {
    /// Those that are to be looked at, and when.
    due: HashMap<Queue, Timestamp>,
    /// Those that are being worked on, and whether they rang meanwhile.
    running: HashMap<Queue, bool>,
    /// How many are being worked on of each organization's.
    busy: HashMap<String, usize>,
    /// How often each failed in a row.
    pub(super) failures: HashMap<Queue, u32>,
}

impl Queues {
    /// Notes that there is something in `queue`. One that failed keeps its time.
    pub(super) fn rang(&mut self, queue: Queue, now: Timestamp) {
        match self.running.get_mut(&queue) {
            Some(rang) => *rang = true,
            None => _ = self.due.entry(queue).or_insert(now),
        }
    }

    /// Has `queue` looked at when it is `at`.
    pub(super) fn put_off(&mut self, queue: Queue, at: Timestamp) {
        self.due.insert(queue, at);
    }

    /// Begins with those that are due, the longest due first, as far as they have room.
    pub(super) fn begin(&mut self, now: Timestamp) -> Vec<Queue> {
        let mut due: Vec<_> = self.due.iter().filter(|(_, at)| **at <= now).map(|(queue, at)| (*at, queue.clone())).collect();
        due.sort_unstable();
        let mut begun = Vec::new();
        for (_, queue) in due {
            if self.has_room_for(&queue) {
                self.due.remove(&queue);
                *self.busy.entry(queue.organization.clone()).or_default() += 1;
                self.running.insert(queue.clone(), false);
                begun.push(queue);
            }
        }
        begun
    }

    /// Ends the turn of `queue`. Tells whether it rang meanwhile.
    pub(super) fn end(&mut self, queue: &Queue) -> bool {
        if let Some(busy) = self.busy.get_mut(&queue.organization) {
            *busy -= 1;
            if *busy == 0 {
                self.busy.remove(&queue.organization);
            }
        }
        self.running.remove(queue).unwrap_or(false)
    }

    /// How long nothing can begin unless something ends or rings.
    pub(super) fn wait(&self, now: Timestamp) -> Duration {
        let next = self.due.iter().filter(|(queue, _)| self.has_room_for(queue)).map(|(_, at)| at).min();
        let millis = next.map_or(i64::MAX, |at| at.as_millis().saturating_sub(now.as_millis()));
        Duration::from_millis(u64::try_from(millis).unwrap_or(0)).min(SLEEP_MAX)
    }

    /// Forgets the queues of `bucket` that are none of `receivers`.
    pub(super) fn keep(&mut self, bucket: &BucketName, receivers: &HashSet<String>) {
        let is_kept = |queue: &Queue| queue.bucket != *bucket || receivers.contains(&queue.receiver);
        self.due.retain(|queue, _| is_kept(queue));
        self.failures.retain(|queue, _| is_kept(queue));
    }

    /// Whether `queue` may begin: as long as there is a place one of each organization may, and more only while so many more are free.
    fn has_room_for(&self, queue: &Queue) -> bool {
        let free = AT_ONCE.saturating_sub(self.running.len());
        let busy = self.busy.get(&queue.organization).copied().unwrap_or(0);
        free > 0 && busy < AT_ONCE_PER_ORGANIZATION && (busy == 0 || busy < free / FREE_FOR_EACH)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use umbra_core::{BucketName, Timestamp};

    use super::{Queue, Queues};
    use crate::events::{AT_ONCE, AT_ONCE_PER_ORGANIZATION, SLEEP_MAX};

    fn queue(organization: &str, number: usize) -> Queue {
        let bucket = BucketName::parse(&format!("{organization}-{number}")).unwrap();
        Queue { bucket, receiver: String::new(), organization: organization.to_owned() }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn an_organization_with_many_queues_leaves_room_for_others() {
        let mut queues = Queues::default();
        for number in 0..AT_ONCE {
            queues.rang(queue("many", number), at(1));
        }
        queues.rang(queue("one", 0), at(2));
        let begun = queues.begin(at(3));
        assert_eq!(begun.len(), AT_ONCE_PER_ORGANIZATION + 1);
        assert!(begun.contains(&queue("one", 0)));
        assert_eq!(queues.begin(at(3)), [], "no room");
        assert_eq!(queues.wait(at(3)), SLEEP_MAX, "what has no room is not waited for in a circle");
        queues.end(&begun[0]);
        assert_eq!(queues.begin(at(3)).len(), 1);
    }

    #[test]
    fn eight_organizations_leave_room_for_others() {
        let mut queues = Queues::default();
        for organization in 0..8 {
            for number in 0..AT_ONCE {
                queues.rang(queue(&format!("many{organization}"), number), at(1));
            }
        }
        let taken = queues.begin(at(1)).len();
        assert!((AT_ONCE / 2..=AT_ONCE - AT_ONCE_PER_ORGANIZATION).contains(&taken), "{taken}");
        for number in 0..AT_ONCE - taken {
            queues.rang(queue(&format!("other{number}"), 0), at(2));
        }
        assert_eq!(queues.begin(at(2)).len(), AT_ONCE - taken, "each of the others has its turn");
    }

    #[test]
    fn no_more_run_than_there_are_places() {
        let mut queues = Queues::default();
        for number in 0..2 * AT_ONCE {
            queues.rang(queue(&format!("org{number}"), number), at(1));
        }
        assert_eq!(queues.begin(at(1)).len(), AT_ONCE);
    }

    #[test]
    fn the_longest_due_is_first_and_who_had_a_turn_is_last() {
        let mut queues = Queues::default();
        for number in 0..=AT_ONCE_PER_ORGANIZATION {
            queues.rang(queue("many", number), at(100 - i64::try_from(number).unwrap()));
        }
        let begun = queues.begin(at(200));
        assert_eq!(begun[0], queue("many", AT_ONCE_PER_ORGANIZATION));
        assert!(!begun.contains(&queue("many", 0)));
        assert!(!queues.end(&begun[0]));
        queues.put_off(begun[0].clone(), at(200));
        assert_eq!(queues.begin(at(200)), [queue("many", 0)]);
    }

    #[test]
    fn what_rings_meanwhile_is_told_and_what_failed_keeps_its_time() {
        let mut queues = Queues::default();
        queues.rang(queue("a", 0), at(1));
        let begun = queues.begin(at(1));
        queues.rang(queue("a", 0), at(1));
        assert!(queues.end(&begun[0]));
        queues.put_off(queue("a", 0), at(500));
        queues.rang(queue("a", 0), at(2));
        assert_eq!(queues.begin(at(2)), []);
        assert_eq!(queues.wait(at(2)), Duration::from_millis(498));
    }
}
