//! How a command fails: one clear line and an exit status.

use std::{error::Error, io::Write, process::ExitCode};

use umbra_core::with_causes;

/// What a command ends with.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command failed, in one line for a person.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// What was asked for failed.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    /// The command was used wrongly.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 2 }
    }

    /// Adds a cause, with the causes behind it.
    pub(crate) fn because(mut self, cause: &(dyn Error + 'static)) -> Self {
        self.message = format!("{}: {}", self.message, with_causes(cause));
        self
    }

    /// Tells the user, and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        let line = self.message.replace('\n', " ");
        // There is nobody left to tell when standard error is closed.
        drop(writeln!(std::io::stderr(), "error: {line}"));
        ExitCode::from(self.status)
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let failure = Self::new(error.to_string());
        match error.source() {
            Some(source) => failure.because(source),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[derive(Debug, thiserror::Error)]
    #[error("open the store")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn the_line_holds_the_whole_chain_once() {
        let failure = Failure::from(Outer(std::io::Error::other("disk on fire")));
        assert_eq!(failure.message(), "open the store: disk on fire");
        let failure = Failure::new("start").because(&Outer(std::io::Error::other("disk on fire")));
        assert_eq!(failure.message(), "start: open the store: disk on fire");
    }
}
