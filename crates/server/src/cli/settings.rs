//! `umbra settings`.

use std::path::PathBuf;

use clap::Args;

use super::{Outcome, out};
use crate::settings::{Settings, SettingsLayer, print_default, print_effective};

/// Prints the settings that `umbra serve` would start with, given the same flags, environment and file. It asks no running server.
#[derive(Debug, Args)]
pub(crate) struct SettingsCommand {
    /// Print every setting with its default and its documentation, as a settings file to start from.
    #[arg(long)]
    print_default: bool,

    /// The settings file.
    #[arg(long, env = "UMBRA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    layer: SettingsLayer,
}

impl SettingsCommand {
    pub(crate) fn run(self) -> Outcome {
        if self.print_default {
            return out::text_of(print_default());
        }
        let settings = Settings::load(self.layer, self.config.as_deref())?;
        out::text_of(print_effective(&settings))
    }
}
