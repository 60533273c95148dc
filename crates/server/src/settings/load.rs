//! Where settings come from: what is given, a file, the defaults.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Settings, SettingsLayer};

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings file {0}")]
    Read(PathBuf, #[source] std::io::Error),
    /// The file is not what it should be.
    #[error("in the settings file {0}: {1}")]
    File(PathBuf, String),
    /// A value makes no sense.
    #[error("the setting {0} {1}")]
    Value(&'static str, String),
}

impl Settings {
    /// Puts the settings together: what `given` has (flags and environment), else what the file has, else the defaults.
    pub(crate) fn load(given: SettingsLayer, file: Option<&Path>) -> Result<Self, SettingsError> {
        let file = file.map(SettingsLayer::read).transpose()?.unwrap_or_default();
        let settings = Self::from_layer(given.or(file));
        settings.check()?;
        Ok(settings)
    }
}

impl SettingsLayer {
    fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(path).map_err(|error| SettingsError::Read(path.to_owned(), error))?;
        Self::parse(&text).map_err(|message| SettingsError::File(path.to_owned(), message))
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let message = error.message().replace('\n', " ");
            line.map_or_else(|| message.clone(), |line| format!("line {line}: {message}"))
        })
    }
}
