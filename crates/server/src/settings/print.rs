//! Settings as a commented file.

use clap::{Args, Command};

use super::{Settings, SettingsLayer};

/// The defaults, each with its documentation, as a settings file.
pub(crate) fn print_default() -> String {
    let head = "# The settings of Umbra, with their defaults. Flags win over the environment, the environment over this file.\n";
    let values = values(&Settings::default());
    let arguments = SettingsLayer::augment_args(Command::new("umbra"));
    arguments.get_arguments().fold(head.to_owned(), |mut out, argument| {
        let name = argument.get_id().as_str();
        let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        out.push('\n');
        for line in help.lines() {
            out.push_str(format!("# {line}").trim_end());
            out.push('\n');
        }
        if let Some(env) = argument.get_env() {
            out.push_str(&format!("# Environment: {}\n", env.to_string_lossy()));
        }
        let value = values.get(name).map(ToString::to_string).unwrap_or_default();
        out.push_str(&format!("{name} = {value}\n"));
        out
    })
}

/// Says behind the help of each setting of `command` what its default is.
pub(crate) fn tell_defaults(command: Command) -> Command {
    let values = values(&Settings::default());
    command.mut_args(|argument| {
        let Some(value) = values.get(argument.get_id().as_str()).map(shown).filter(|value| !value.is_empty()) else { return argument };
        let told = |help: &clap::builder::StyledStr| format!("{help} [default: {value}]");
        let (short, long) = (argument.get_help().map(told), argument.get_long_help().map(|help| format!("{help}\n\n[default: {value}]")));
        let argument = short.into_iter().fold(argument, clap::Arg::help);
        long.into_iter().fold(argument, clap::Arg::long_help)
    })
}

/// A value as a flag takes it; nothing for what is empty.
fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The settings as they stand, as a settings file.
pub(crate) fn print_effective(settings: &Settings) -> String {
    let head = "# What `umbra serve` would start with, given the same flags, environment and file. A server that runs keeps what it was started with.";
    format!("{head}\n{}", values(settings))
}

fn values(settings: &Settings) -> toml::Table {
    toml::Table::try_from(settings).expect("every setting has a form in TOML")
}
