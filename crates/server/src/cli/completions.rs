//! `umbra completions`.

use clap::Args;
use clap_complete::{Shell, generate};

use super::{Outcome, out};

/// Prints completions for a shell: source what it prints, or put it where the shell looks.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Outcome {
        let mut script = Vec::new();
        generate(self.shell, &mut super::command(), "umbra", &mut script);
        out::text_of(String::from_utf8_lossy(&script))
    }
}
