//! Tells when an origin's listing stands still.
//!
//! An origin may answer with pages that have nothing on them and yet are not the last: it passes over what was deleted there. One that does so
//! for ever would keep a job, or a request, for ever.

use std::fmt;

use umbra_core::{Error, ErrorKind, Result};

/// How many pages in a row may have nothing on them: some ten million keys that were deleted there and are still looked through.
pub(crate) const EMPTY_PAGES_MAX: u32 = 10_000;
/// The same where one key would do.
pub(crate) const EMPTY_PAGES_FOR_ONE_MAX: u32 = 64;

/// Watches one listing.
#[derive(Debug)]
pub(crate) struct Advance {
    empty_pages_max: u32,
    /// Pages with nothing on them since there was something.
    empty_pages: u32,
    /// A token seen on the way: one that comes again leads round and round.
    mark: Option<String>,
}

/// How a listing stands still. It is the source of the error that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stalled {
    /// So many pages in a row had nothing on them.
    EmptyPages(u32),
    /// It leads back to where it was.
    Repeats,
}

impl Default for Advance {
    fn default() -> Self {
        Self::new(EMPTY_PAGES_MAX)
    }
}

impl Advance {
    /// Watches a listing that may have `empty_pages_max` pages with nothing on them in a row.
    pub(crate) const fn new(empty_pages_max: u32) -> Self {
        Self { empty_pages_max, empty_pages: 0, mark: None }
    }

    /// Takes note of a page: whether there was nothing on it, and how it goes on.
    pub(crate) fn take(&mut self, is_empty: bool, next: Option<&str>) -> Result<()> {
        if !is_empty || next.is_none() {
            (self.empty_pages, self.mark) = (0, None);
            return Ok(());
        }
        self.empty_pages += 1;
        if self.mark.as_deref() == next {
            return Err(Stalled::Repeats.into());
        }
        if self.empty_pages >= self.empty_pages_max {
            return Err(Stalled::EmptyPages(self.empty_pages).into());
        }
        // Set anew ever less often, so that it is soon met again in a circle of any length.
        if self.empty_pages.is_power_of_two() {
            self.mark = next.map(str::to_owned);
        }
        Ok(())
    }
}

impl Stalled {
    /// Whether that is what `error` says.
    pub(crate) fn is_source_of(error: &Error) -> bool {
        std::error::Error::source(error).is_some_and(|source| source.is::<Self>())
    }
}

impl From<Stalled> for Error {
    fn from(stalled: Stalled) -> Self {
        Self::new(ErrorKind::OriginUnavailable, "the origin's listing does not advance").because(stalled)
    }
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyPages(pages) => write!(f, "{pages} pages in a row had nothing on them"),
            Self::Repeats => f.write_str("it leads back to where it was"),
        }
    }
}

impl std::error::Error for Stalled {}

#[cfg(test)]
mod tests {
    use super::{Advance, Stalled};

    /// How many empty pages were taken before it was seen that the listing stands still, and how.
    fn stalls(max: u32, token: impl Fn(u32) -> u32) -> (u32, String) {
        let mut advance = Advance::new(max);
        for page in 0..100_000 {
            if let Err(error) = advance.take(true, Some(&token(page).to_string())) {
                assert!(Stalled::is_source_of(&error));
                return (page + 1, std::error::Error::source(&error).unwrap().to_string());
            }
        }
        panic!("it was never seen");
    }

    #[test]
    fn a_listing_without_end_is_seen() {
        assert_eq!(stalls(100, |page| page), (100, "100 pages in a row had nothing on them".to_owned()));
        for length in [1, 2, 3, 7, 64, 1000] {
            let (pages, how) = stalls(10_000, |page| page % length);
            assert!(pages <= 3 * length + 1 && how == "it leads back to where it was", "{length}: {pages}, {how}");
        }
        assert_eq!(stalls(10_000, |page| page.min(500)).1, "it leads back to where it was");
    }

    #[test]
    fn what_shows_something_now_and_then_goes_on() {
        let mut advance = Advance::new(10);
        for page in 0..1000 {
            advance.take(page % 10 > 0, Some(&page.to_string())).unwrap();
        }
        for _ in 0..3 {
            advance.take(true, Some("t")).ok();
            advance.take(true, None).unwrap();
        }
    }
}
