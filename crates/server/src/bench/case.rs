//! What is measured, in which order.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::size::Size;

/// As many bytes of content are under way at once: more connections would only fill memory with them.
const BYTES_UNDER_WAY_MAX: u64 = 256 << 20;

/// An operation of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Operation {
    /// Store objects.
    Put,
    /// Read objects.
    Get,
    /// Read their headers.
    Head,
    /// Delete objects.
    Delete,
    /// List a page of 1,000 keys.
    List,
    /// List a page of 1,000 common prefixes.
    ListPrefixes,
}

impl Operation {
    pub(super) const ALL: [Self; 6] = [Self::Put, Self::Get, Self::Head, Self::Delete, Self::List, Self::ListPrefixes];

    /// Whether it is measured for every size.
    const fn is_sized(self) -> bool {
        matches!(self, Self::Put | Self::Get)
    }

    /// Whether it lists.
    pub(super) const fn lists(self) -> bool {
        matches!(self, Self::List | Self::ListPrefixes)
    }
}

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Case {
    pub(super) operation: Operation,
    /// The size of the objects it is about.
    pub(super) size: Option<Size>,
    pub(super) connections: usize,
}

impl Case {
    /// Whether it fills the disk.
    pub(super) fn writes(&self) -> bool {
        self.operation == Operation::Put
    }
}

/// All there is to measure.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) cases: Vec<Case>,
    /// How many keys a listed bucket holds.
    pub(super) keys: usize,
    /// How long a case runs.
    pub(super) time: Duration,
    pub(super) rounds: usize,
}

impl Plan {
    pub(super) fn new(operations: &[Operation], sizes: &[Size], connections: &[u16], keys: u32, time: Duration, rounds: u8) -> Self {
        let smallest = sizes.iter().min().copied();
        let mut cases = Vec::new();
        let mut add = |operation, size: Option<Size>| {
            let room = size.map_or(u64::MAX, |size| (BYTES_UNDER_WAY_MAX / size.bytes()).max(1));
            for &connections in connections {
                let connections = usize::from(connections).min(usize::try_from(room).unwrap_or(usize::MAX));
                let case = Case { operation, size, connections };
                if !cases.contains(&case) {
                    cases.push(case);
                }
            }
        };
        let wanted = |operation: &Operation| operations.contains(operation);
        for &size in sizes {
            Operation::ALL
                .into_iter()
                .filter(|operation| operation.is_sized())
                .filter(wanted)
                .for_each(|operation| add(operation, Some(size)));
        }
        for operation in Operation::ALL.into_iter().filter(|operation| !operation.is_sized()).filter(wanted) {
            add(operation, if operation.lists() { None } else { smallest });
        }
        Self { cases, keys: usize::try_from(keys).expect("a number of keys"), time, rounds: usize::from(rounds) }
    }

    /// Whether a case like this is to be measured.
    pub(super) fn has(&self, operation: Operation, size: Option<Size>) -> bool {
        self.cases.iter().any(|case| case.operation == operation && case.size == size)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Case, Operation, Plan, Size};

    fn plan(operations: &[Operation], sizes: &[&str], connections: &[u16]) -> Vec<(Operation, Option<u64>, usize)> {
        let sizes: Vec<Size> = sizes.iter().map(|size| size.parse().unwrap()).collect();
        let plan = Plan::new(operations, &sizes, connections, 10, Duration::from_secs(1), 3);
        let flat = |case: &Case| (case.operation, case.size.map(Size::bytes), case.connections);
        plan.cases.iter().map(flat).collect()
    }

    #[test]
    fn cases_follow_the_sizes() {
        use Operation::{Delete, Get, Head, List, Put};
        let expected = [
            (Put, Some(4096), 1),
            (Put, Some(4096), 8),
            (Get, Some(4096), 1),
            (Get, Some(4096), 8),
            (Put, Some(64 << 20), 1),
            (Put, Some(64 << 20), 4),
            (Get, Some(64 << 20), 1),
            (Get, Some(64 << 20), 4),
            (Head, Some(4096), 1),
            (Head, Some(4096), 8),
            (List, None, 1),
            (List, None, 8),
        ];
        assert_eq!(plan(&[List, Head, Get, Put], &["4KiB", "64MiB"], &[1, 8]), expected);
        assert_eq!(plan(&[Delete], &["64KiB", "4KiB"], &[2, 2]), [(Delete, Some(4096), 2)]);
        assert_eq!(plan(&[Get], &["512MiB"], &[1, 16]), [(Get, Some(512 << 20), 1)]);
    }
}
