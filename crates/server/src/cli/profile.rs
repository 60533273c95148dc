//! Profiles as the AWS command line keeps them: a small reader of their two files.
//!
//! <https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html>

use std::{
    collections::HashMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use super::{Failure, Outcome};

/// What a profile says about an origin.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
}

/// Sections by name, each with its values by key.
type Sections = HashMap<String, HashMap<String, String>>;

/// Reads profile `name` from the files that the AWS command line would read.
pub(crate) fn load(name: &str) -> Outcome<Profile> {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let file = |variable, default| env::var_os(variable).map_or_else(|| home.join(default), PathBuf::from);
    let credentials = sections(&file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"))?;
    let config = sections(&file("AWS_CONFIG_FILE", ".aws/config"))?;
    find(name, &credentials, &config)
}

fn sections(path: &Path) -> Outcome<Sections> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Sections::new()),
        Err(error) => Err(Failure::new(format!("read {}", path.display())).because(&error)),
    }
}

fn find(name: &str, credentials: &Sections, config: &Sections) -> Outcome<Profile> {
    let in_config = if name == "default" { "default".to_owned() } else { format!("profile {name}") };
    let value = |key: &str| {
        let sections = [credentials.get(name), config.get(&in_config)];
        sections.into_iter().flatten().find_map(|section| section.get(key)).cloned()
    };
    if value("aws_session_token").is_some() {
        return Err(Failure::new(format!("the profile {name} holds temporary credentials: a shadow needs lasting ones")));
    }
    let (Some(access_key), Some(secret_key)) = (value("aws_access_key_id"), value("aws_secret_access_key")) else {
        return Err(Failure::new(format!("the profile {name} holds no aws_access_key_id and aws_secret_access_key")));
    };
    Ok(Profile { access_key, secret_key, region: value("region"), endpoint: value("endpoint_url") })
}

/// Indented lines belong to a nested table, of which nothing is needed here.
fn parse(text: &str) -> Sections {
    let mut sections = Sections::new();
    let mut current = None;
    for line in text.lines() {
        let comment = line.trim_start().starts_with(['#', ';']);
        if comment || line.trim().is_empty() || line.starts_with([' ', '\t']) {
            continue;
        }
        if let Some(name) = line.trim_end().strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            current = Some(sections.entry(name).or_default());
        } else if let (Some(section), Some((key, value))) = (current.as_mut(), line.split_once('=')) {
            section.insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::{Profile, find, parse};

    const CREDENTIALS: &str = "# keys\n[default]\naws_access_key_id = AKD\naws_secret_access_key=a=b/c+d==\n\n[old]\n\
        AWS_ACCESS_KEY_ID = AKO\naws_secret_access_key = so\n[half]\naws_access_key_id = AKH\n[sso]\naws_access_key_id = AKS\n\
        aws_secret_access_key = ss\naws_session_token = t\n";
    const CONFIG: &str = "[default]\nregion = eu-central-1\n[profile  old]\r\nregion = us-west-2\r\ns3 =\n  endpoint_url = nested\n\
        endpoint_url = https://old.test\n; end\n";

    #[test]
    fn a_profile_is_put_together_from_both_files() {
        let (credentials, config) = (parse(CREDENTIALS), parse(CONFIG));
        let profile = |access_key: &str, secret_key: &str, region: &str, endpoint: Option<&str>| Profile {
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            region: Some(region.to_owned()),
            endpoint: endpoint.map(str::to_owned),
        };
        assert_eq!(find("default", &credentials, &config).unwrap(), profile("AKD", "a=b/c+d==", "eu-central-1", None));
        assert_eq!(find("old", &credentials, &config).unwrap(), profile("AKO", "so", "us-west-2", Some("https://old.test")));
    }

    #[test]
    fn what_is_no_use_is_refused() {
        let (credentials, config) = (parse(CREDENTIALS), parse(CONFIG));
        for (name, expected) in [("half", "holds no aws_access_key_id and"), ("none", "holds no"), ("sso", "temporary credentials")] {
            let failure = find(name, &credentials, &config).unwrap_err();
            assert!(failure.message().contains(expected), "{name}: {failure:?}");
        }
    }

    #[test]
    fn anything_may_stand_in_the_file() {
        for text in ["", "=", "[", "[]\n=", "a=b", "[a\nb=c", "\u{feff}[x]", "[x]\nnovalue\n"] {
            parse(text);
        }
    }
}
