//! The macro behind the one declaration of every setting.

/// Declares the settings: the struct with every value, and the layer of those that one source gives.
///
/// ```text
/// /// What it is for.
/// name: Type = default, [arguments of clap];
/// ```
macro_rules! declare_settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr, [$($arg:tt)*];)*) => {
        /// What an operator can set. The fields are described where they are declared.
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        pub(crate) struct Settings {
            $($(#[$doc])* pub(crate) $name: $type,)*
        }

        /// The settings that one source gives: the command line with the environment, or the file.
        #[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct SettingsLayer {
            $($(#[$doc])* #[arg(long, $($arg)*)] pub(crate) $name: Option<$type>,)*
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Settings {
            /// What `layer` gives, and the defaults for the rest.
            fn from_layer(layer: SettingsLayer) -> Self {
                let default = Self::default();
                Self { $($name: layer.$name.unwrap_or(default.$name),)* }
            }
        }

        impl SettingsLayer {
            /// What this layer gives, else what `lower` gives.
            fn or(self, lower: Self) -> Self {
                Self { $($name: self.$name.or(lower.$name),)* }
            }
        }
    };
}

pub(super) use declare_settings;
