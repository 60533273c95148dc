use std::path::Path;

use clap::Parser;

use super::{LogFormat, Settings, SettingsError, SettingsLayer, print_default, print_effective};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    layer: SettingsLayer,
}

fn flags(arguments: &[&str]) -> SettingsLayer {
    Flags::try_parse_from([&["umbra"], arguments].concat()).unwrap().layer
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn load(arguments: &[&str], text: &str) -> Result<Settings, SettingsError> {
    Settings::load(flags(arguments), Some(file(text).path()))
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let settings =
        load(&["--region", "fra", "--shadow-allow-cidr", "10.0.0.0/8,fd00::/8"], "region = \"ams\"\nlog_format = \"json\"").unwrap();
    assert_eq!(settings.region, "fra");
    assert_eq!(settings.shadow_allow_cidr, ["10.0.0.0/8", "fd00::/8"]);
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.listen, Settings::default().listen);
}

#[test]
fn unknown_keys_are_refused_by_name_and_line() {
    let error = load(&[], "# a comment\nregion = \"fra\"\nlisten_on = 1").unwrap_err().to_string();
    assert!(error.contains("line 3: unknown field `listen_on`"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn wrong_values_are_refused() {
    for (text, expected) in [
        ("listen = \"nowhere\"", "line 1: invalid socket address syntax"),
        ("drain_secs = -1", "line 1: invalid value"),
        ("hydration_memory_mib = 0", "hydration_memory_mib must not be 0"),
        ("website_listen = \"nowhere\"", "website_listen must be an address and a port"),
        ("access_log_interval = 0", "access_log_interval must not be 0"),
        ("blobs = \"https://bucket\"", "blobs cannot be used: it must be empty or begin with s3://"),
        ("max_connections = 0", "max_connections must not be 0"),
        ("reclaim_grace = 0", "reclaim_grace must not be 0"),
        ("metadata = \"mysql://h\"", "metadata must be empty or"),
        ("metadata_connections = 0", "metadata_connections must not be 0"),
        ("region = \"a b\"", "region must consist of"),
        ("region = \"FRA\"", "region must consist of small letters"),
        ("public_url = \"s3.test\"", "public_url must be of the form"),
        ("public_url = \"https://bücher.test\"", "public_url must be of the form"),
        ("tls_cert = \"a.pem\"", "go together"),
    ] {
        let error = load(&[], text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let error = Settings::load(SettingsLayer::default(), Some(Path::new("/nonexistent/umbra.toml"))).unwrap_err();
    assert!(error.to_string().starts_with("cannot read the settings file"), "{error}");
}

#[test]
fn the_printed_defaults_are_the_defaults() {
    let printed = print_default();
    let settings = Settings::load(SettingsLayer::parse(&printed).unwrap(), None).unwrap();
    assert_eq!(settings, Settings::default());
    assert!(printed.contains("\n# The address that takes S3 requests."), "{printed}");
    assert!(printed.contains("\n# Environment: UMBRA_LISTEN\nlisten = \"127.0.0.1:9000\"\n"), "{printed}");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let settings = load(&["--domain", "a.test"], "drain_secs = 5").unwrap();
    let printed = print_effective(&settings);
    assert!(printed.starts_with("# What `umbra serve` would start with"), "{printed}");
    assert_eq!(load(&[], &printed).unwrap(), settings);
}
