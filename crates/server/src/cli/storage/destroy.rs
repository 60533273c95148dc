//! `umbra storage destroy`.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use crate::cli::{Failure, Outcome, out, target::Target};

/// Destroys a bucket with everything in it. The origin is not touched.
#[derive(Debug, Args)]
pub(crate) struct Destroy {
    /// The bucket.
    name: String,

    /// Do not ask first.
    #[arg(short, long)]
    yes: bool,
}

impl Destroy {
    pub(crate) async fn run(self, target: &Target) -> Outcome {
        let client = target.client()?;
        if !self.yes && !confirmed(&self.name)? {
            return Err(Failure::new("nothing was destroyed"));
        }
        client.destroy_bucket(&self.name).await?;
        if target.json {
            return out::json(&serde_json::json!({ "destroyed": self.name }));
        }
        out::line(format_args!("Your bucket {} was destroyed", self.name))
    }
}

fn confirmed(name: &str) -> Outcome<bool> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("to destroy a bucket when not running interactively, --yes must be given"));
    }
    out::note("Destroying a bucket is not reversible.");
    let mut question = io::stderr();
    write!(question, "Do you want to destroy the bucket named {name}? [y/N] ")?;
    question.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
