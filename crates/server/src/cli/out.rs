//! Standard output.

use std::{
    fmt,
    io::{self, ErrorKind, IsTerminal, Write},
};

use serde::Serialize;

use super::{Failure, Outcome};

/// Writes one line.
pub(crate) fn line(text: impl fmt::Display) -> Outcome {
    text_of(format_args!("{text}\n"))
}

/// Writes text as it is.
pub(crate) fn text_of(text: impl fmt::Display) -> Outcome {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        // Whoever reads has read enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Failure::new("write to standard output").because(&error)),
    }
}

/// Writes `value` as JSON, indented.
pub(crate) fn json(value: &impl Serialize) -> Outcome {
    line(serde_json::to_string_pretty(value).map_err(|error| Failure::new("write JSON").because(&error))?)
}

/// Writes `value` as JSON on one line.
pub(crate) fn json_line(value: &impl Serialize) -> Outcome {
    line(serde_json::to_string(value).map_err(|error| Failure::new("write JSON").because(&error))?)
}

/// Writes a line for a person beside what standard output is for.
pub(crate) fn note(text: impl fmt::Display) {
    // A closed standard error is no reason to fail.
    drop(writeln!(io::stderr(), "{text}"));
}

/// Whether a person looks at standard output.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
