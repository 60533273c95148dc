//! The limit on open files: raised as far as the system lets it, and shared out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many connections may be served: `wanted`, but no more than leave a quarter of the open files to the stores and the origins.
///
/// Raises the soft limit to the hard one first.
pub(crate) fn connections(wanted: u32) -> usize {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let Some(limit) = raised() else { return wanted };
    let most = usize::try_from(limit / 4 * 3).unwrap_or(usize::MAX).max(1);
    if wanted > most {
        tracing::warn!(wanted, connections = most, open_files = limit, "fewer connections than set: the limit on open files is low");
    }
    wanted.min(most)
}

/// The limit on open files after raising it; `None` when there is none.
fn raised() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit on open files stays as it is");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::connections;

    #[test]
    fn connections_leave_files_to_the_stores() {
        assert_eq!(connections(1), 1);
        let most = connections(u32::MAX);
        assert!(super::raised().is_none_or(|limit| most as u64 <= limit / 4 * 3 || limit < 4), "{most}");
    }
}
