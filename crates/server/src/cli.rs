//! The command line.

mod backup;
mod completions;
mod demo;
mod failure;
mod interval;
mod key;
mod metadata;
mod node;
mod org;
pub(crate) mod out;
mod profile;
mod region;
mod serve;
mod settings;
mod storage;
pub(crate) mod table;
mod target;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::settings::tell_defaults;

pub(crate) use failure::{Failure, Outcome};

/// A self-hosted S3-compatible object store whose buckets can shadow a bucket elsewhere.
#[derive(Debug, Parser)]
#[command(name = "umbra", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Box<serve::Serve>),
    /// Create, change, list, look at and destroy buckets.
    Storage(Box<storage::Storage>),
    /// Create, list and delete organizations.
    Org(org::Org),
    /// Create, list and delete access keys.
    Key(key::Key),
    /// Show the nodes that share a store.
    Node(node::Node),
    /// Show the regions of a store.
    Region(region::Region),
    /// Move the server's metadata between engines.
    Metadata(Box<metadata::Metadata>),
    /// Copy the data directory while its server runs.
    Backup(Box<backup::Backup>),
    /// Show the settings that a server would start with.
    Settings(Box<settings::SettingsCommand>),
    /// Print completions for a shell.
    Completions(completions::Completions),
    /// See a migration happen: two servers in a temporary directory, one shadowing the other.
    Demo(demo::Demo),
    /// Measure a server, alone or beside another.
    Bench(Box<crate::bench::Bench>),
}

/// Parses the command line, does what it says, and gives the exit status.
pub(crate) fn main() -> ExitCode {
    // `parse` by hand, for the sake of the defaults in the help of `serve`.
    let mut matches = command().get_matches();
    let cli = Cli::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit());
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The command line as clap sees it.
fn command() -> clap::Command {
    let command = Cli::command();
    ["serve", "settings"].into_iter().fold(command, |command, name| command.mut_subcommand(name, tell_defaults))
}

fn run(command: Command) -> Outcome {
    let workers = matches!(command, Command::Serve(_) | Command::Demo(_));
    let mut builder = if workers { tokio::runtime::Builder::new_multi_thread() } else { tokio::runtime::Builder::new_current_thread() };
    let runtime = builder.enable_all().build().map_err(|error| Failure::new("start the runtime").because(&error))?;
    runtime.block_on(async {
        match command {
            Command::Serve(serve) => serve.run().await,
            Command::Storage(storage) => storage.run().await,
            Command::Org(org) => org.run().await,
            Command::Key(key) => key.run().await,
            Command::Node(node) => node.run().await,
            Command::Region(region) => region.run().await,
            Command::Metadata(metadata) => metadata.run().await,
            Command::Backup(backup) => backup.run(),
            Command::Settings(settings) => settings.run(),
            Command::Completions(completions) => completions.run(),
            Command::Demo(demo) => demo.run().await,
            Command::Bench(bench) => bench.run().await,
        }
    })
}

#[cfg(test)]
mod tests;
