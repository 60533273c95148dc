//! Listing with a delimiter: which rows to look at, the same for every engine that can seek.

use crate::{DelimPage, Entry, KeyRange, ScanDelim, successor};

/// Rows behind one common prefix that are stepped over before a seek pays. Measured on SQLite: 40 to 60.
const STEPS_BEFORE_SEEK: usize = 40;

/// The page under way. An engine offers keys in order and does as it is told.
pub(crate) struct DelimWalk {
    scan: ScanDelim,
    page: DelimPage,
    /// Rows stepped over behind the last common prefix.
    hidden: usize,
}

/// What to do after a key was offered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Hand over its entry, then offer the next key.
    Take,
    /// Offer the next key.
    Next,
    /// Offer the first key from here on.
    Seek(Vec<u8>),
    /// Offer nothing more.
    Stop,
}

impl DelimWalk {
    pub(crate) fn new(scan: ScanDelim) -> Self {
        Self { scan, page: DelimPage::default(), hidden: 0 }
    }

    /// The keys to offer; `None` when there can be none.
    pub(crate) fn range(&self) -> Option<KeyRange> {
        let range = KeyRange::prefix(&self.scan.prefix);
        let Some(after) = &self.scan.after else { return Some(range) };
        // A key greater than `after` whose common prefix is not greater than `after` begins with the common prefix of `after`.
        let range = match common_prefix(&self.scan, after) {
            Some(common) => KeyRange { start: successor(common)?.max(range.start), ..range },
            None => range.after(after),
        };
        range.end.as_ref().is_none_or(|end| range.start < *end).then_some(range)
    }

    /// Looks at the next key of the range.
    pub(crate) fn offer(&mut self, key: &[u8]) -> Step {
        if let Some(last) = self.page.common_prefixes.last().filter(|last| key.starts_with(last)) {
            self.hidden += 1;
            if self.hidden < STEPS_BEFORE_SEEK {
                return Step::Next;
            }
            return successor(last).map_or(Step::Stop, Step::Seek);
        }
        if self.page.entries.len() + self.page.common_prefixes.len() >= self.scan.limit {
            self.page.truncated = true;
            return Step::Stop;
        }
        let Some(common) = common_prefix(&self.scan, key) else { return Step::Take };
        self.page.common_prefixes.push(common.to_vec());
        self.hidden = 0;
        Step::Next
    }

    /// Takes the entry of the key just offered.
    pub(crate) fn take(&mut self, entry: Entry) {
        self.page.entries.push(entry);
    }

    /// How many entries and common prefixes the page still takes.
    pub(crate) const fn room(&self) -> usize {
        self.scan.limit.saturating_sub(self.page.entries.len() + self.page.common_prefixes.len())
    }

    /// The listing that was asked for.
    pub(crate) const fn scan(&self) -> &ScanDelim {
        &self.scan
    }

    pub(crate) fn finish(self) -> DelimPage {
        self.page
    }
}

/// The common prefix that hides `key`, when there is one.
fn common_prefix<'a>(scan: &ScanDelim, key: &'a [u8]) -> Option<&'a [u8]> {
    let rest = key.strip_prefix(scan.prefix.as_slice())?;
    let at = match scan.delimiter.as_slice() {
        [] => None,
        [byte] => rest.iter().position(|other| other == byte),
        delimiter => rest.windows(delimiter.len()).position(|window| window == delimiter),
    }?;
    Some(&key[..scan.prefix.len() + at + scan.delimiter.len()])
}

#[cfg(test)]
mod tests {
    use super::{DelimWalk, STEPS_BEFORE_SEEK, Step};
    use crate::ScanDelim;

    fn walk(after: Option<&[u8]>) -> DelimWalk {
        DelimWalk::new(ScanDelim { prefix: b"p/".to_vec(), delimiter: b"/".to_vec(), after: after.map(<[u8]>::to_vec), limit: 10 })
    }

    #[test]
    fn a_long_common_prefix_is_jumped_over() {
        let mut walk = walk(None);
        assert_eq!(walk.offer(b"p/a/0"), Step::Next);
        for _ in 1..STEPS_BEFORE_SEEK {
            assert_eq!(walk.offer(b"p/a/1"), Step::Next);
        }
        assert_eq!(walk.offer(b"p/a/2"), Step::Seek(b"p/a0".to_vec()));
    }

    #[test]
    fn a_walk_starts_behind_the_common_prefix_it_was_cut_at() {
        let start = |after: &[u8]| walk(Some(after)).range().map(|range| range.start);
        assert_eq!(start(b"p/a/7"), Some(b"p/a0".to_vec()));
        assert_eq!(start(b"p/a/"), Some(b"p/a0".to_vec()));
        assert_eq!(start(b"p/a"), Some(b"p/a\0".to_vec()));
        assert_eq!(start(b"a"), Some(b"p/".to_vec()));
        assert_eq!(start(b"q"), None);
    }
}
