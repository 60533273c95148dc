use clap::Parser;

use super::{Cli, command};

fn parses(arguments: &[&str]) -> bool {
    Cli::try_parse_from([&["umbra"], arguments].concat()).is_ok()
}

#[test]
fn the_command_line_is_sound() {
    command().debug_assert();
}

#[test]
fn the_commands_are_those_of_the_interface() {
    let good: [&[&str]; 18] = [
        &["serve"],
        &["serve", "--data-dir", "d", "--listen", "127.0.0.1:0", "--admin-listen", "[::1]:0", "--region", "fra", "--config", "f.toml"],
        &["storage", "create", "-n", "b", "-o", "acme", "--public", "--location", "dual:fra,ams", "-y"],
        &[
            "storage",
            "create",
            "-n",
            "b",
            "-o",
            "acme",
            "--shadow-endpoint",
            "https://s3.test",
            "--shadow-region",
            "r",
            "--shadow-name",
            "old",
            "--shadow-access-key",
            "k",
            "--shadow-secret-key",
            "-",
            "--shadow-write-through",
            "-y",
        ],
        &["storage", "create", "-n", "b", "--shadow-profile", "old", "--json"],
        &["storage", "update", "b", "--shadow-write-through=false"],
        &["storage", "update", "b", "--clear-shadow", "--force", "-y"],
        &["storage", "--admin", "http://h:1", "list", "-o", "acme"],
        &["storage", "ls", "--json", "--profile", "key.json", "--ca", "ca.pem"],
        &["storage", "status", "b", "--watch", "--data-dir", "d"],
        &["storage", "migrate", "b/2024/", "--wait", "--max-mbps", "50", "--max-rps", "20", "--max-egress", "1000000"],
        &["storage", "destroy", "b", "-y"],
        &["org", "create", "acme"],
        &["key", "create", "--bucket", "b", "--role", "reader"],
        &["key", "delete", "UMBR1"],
        &["settings", "--print-default"],
        &["completions", "bash"],
        &[
            "bench",
            "--sizes",
            "4KiB,1MiB",
            "--connections",
            "1,16",
            "--seconds",
            "0.5",
            "--rounds",
            "1",
            "--operations",
            "put,list-prefixes",
        ],
    ];
    for arguments in good {
        assert!(parses(arguments), "{arguments:?}");
    }
    let bad: [&[&str]; 8] = [
        &[],
        &["serve", "--listen", "nowhere"],
        &["storage", "create"],
        &["storage", "update", "b", "--public", "--private"],
        &["storage", "update", "b", "--clear-shadow", "--shadow-region", "r"],
        &["storage", "update", "b", "--shadow-write-through", "false"],
        &["key", "create", "--role", "owner"],
        &["storage", "migrate"],
    ];
    for arguments in bad {
        assert!(!parses(arguments), "{arguments:?}");
    }
}

#[test]
fn the_help_of_serve_tells_the_defaults() {
    let mut serve = command();
    let help = serve.find_subcommand_mut("serve").unwrap().render_long_help().to_string();
    for expected in ["[default: 127.0.0.1:9000]", "[default: ./umbra-data]", "[default: human]", "UMBRA_LISTEN"] {
        assert!(help.contains(expected), "{expected}: {help}");
    }
    let short = serve.find_subcommand_mut("serve").unwrap().render_help().to_string();
    assert!(short.contains("[default: 127.0.0.1:9001]"), "{short}");
}
