//! What can go wrong below the seam, and what it is called above it.

use std::{error::Error as _, fmt::Write, time::Duration};

use rand::Rng;
use tokio::time::{Instant, sleep};
use tokio_postgres::error::{Severity, SqlState};

use crate::Error;

/// A failure while the database works.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is an error of the seam, and asking again would not change it.
    Answer(Error),
    /// The connection is of no use any more. What was asked may be asked again on another.
    Lost(String),
    /// The database undid the transaction for the sake of another one. It may be asked again.
    Again(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = text(&error);
        match error.as_db_error() {
            Some(answer) => Self::of(answer.code(), answer.parsed_severity(), text),
            None => Self::Lost(text),
        }
    }
}

impl Failure {
    /// What the database said, by its code.
    fn of(code: &SqlState, severity: Option<Severity>, text: String) -> Self {
        if is_for_the_sake_of_others(code) {
            return Self::Again(text);
        }
        if is_hopeless(code) {
            return Self::Answer(Error::Unavailable(text));
        }
        if ends_the_connection(code, severity) {
            return Self::Lost(text);
        }
        let code = code.code();
        Self::Answer(match code {
            "53100" => Error::Full(text),
            _ if code.starts_with("54") => Error::Full(text),
            "XX001" | "XX002" => Error::Corrupt { what: "the database".to_owned(), why: text },
            _ => Error::Unavailable(text),
        })
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Answer(error) => error,
            Failure::Lost(why) | Failure::Again(why) => Self::Unavailable(why),
        }
    }
}

fn is_for_the_sake_of_others(code: &SqlState) -> bool {
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE].contains(code)
}

/// Whether connecting again would end the same: a wrong password, a database that does not exist.
fn is_hopeless(code: &SqlState) -> bool {
    code.code().starts_with("28") || *code == SqlState::INVALID_CATALOG_NAME
}

/// Whether the database ends the connection, or will not take writes on it: after a failover it has become a standby's.
fn ends_the_connection(code: &SqlState, severity: Option<Severity>) -> bool {
    matches!(severity, Some(Severity::Fatal | Severity::Panic))
        || [
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
        ]
        .contains(code)
        || code.code().starts_with("08")
}

/// What the error says, in one line. Neither the database nor the driver puts a password into it.
pub(super) fn text(error: &tokio_postgres::Error) -> String {
    if let Some(answer) = error.as_db_error() {
        return format!("{} ({})", answer.message(), answer.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Many layers repeat what is below them.
        let below = error.to_string();
        if !text.contains(&below) {
            write!(text, ": {below}").expect("a string can be written to");
        }
        cause = error.source();
    }
    text
}

/// Pauses between attempts: longer each time, and never the same for two that collided.
pub(super) struct Attempts {
    deadline: Instant,
    pause: Duration,
}

impl Attempts {
    const FIRST: Duration = Duration::from_millis(4);
    const LONGEST: Duration = Duration::from_millis(400);

    /// Attempts within `patience`, the first of which is made in any case.
    pub(super) fn within(patience: Duration) -> Self {
        Self { deadline: Instant::now() + patience, pause: Self::FIRST }
    }

    /// Waits before the next attempt; gives `failure` back when there is to be none.
    pub(super) async fn next(&mut self, failure: Failure) -> Result<(), Error> {
        if matches!(failure, Failure::Answer(_)) || Instant::now() + self.pause >= self.deadline {
            return Err(failure.into());
        }
        let jitter = rand::rng().random_range(0.5..1.0);
        sleep(self.pause.mul_f64(jitter)).await;
        self.pause = (self.pause * 2).min(Self::LONGEST);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::error::{Severity, SqlState};
    use umbra_core::ErrorKind;

    use super::Failure;
    use crate::Error;

    #[test]
    fn every_code_tells_what_to_do() {
        let answer = |kind| ("answer", Some(kind));
        let cases = [
            ("40001", Severity::Error, ("again", None)),
            ("40P01", Severity::Error, ("again", None)),
            ("55P03", Severity::Error, ("again", None)),
            ("25006", Severity::Error, ("lost", None)),
            ("57P01", Severity::Fatal, ("lost", None)),
            ("57P03", Severity::Fatal, ("lost", None)),
            ("53300", Severity::Fatal, ("lost", None)),
            ("25P03", Severity::Fatal, ("lost", None)),
            ("08006", Severity::Error, ("lost", None)),
            ("28P01", Severity::Fatal, answer(ErrorKind::Unavailable)),
            ("3D000", Severity::Fatal, answer(ErrorKind::Unavailable)),
            ("53100", Severity::Error, answer(ErrorKind::DiskFull)),
            ("54000", Severity::Error, answer(ErrorKind::DiskFull)),
            ("XX001", Severity::Error, answer(ErrorKind::Corrupt)),
            ("57014", Severity::Error, answer(ErrorKind::Unavailable)),
            ("42P01", Severity::Error, answer(ErrorKind::Unavailable)),
        ];
        for (code, severity, expected) in cases {
            let found = match Failure::of(&SqlState::from_code(code), Some(severity), code.to_owned()) {
                Failure::Again(_) => ("again", None),
                Failure::Lost(_) => ("lost", None),
                Failure::Answer(error) => ("answer", Some(Error::kind(&error))),
            };
            assert_eq!(found, expected, "{code}");
        }
    }
}
