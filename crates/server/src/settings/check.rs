//! Whether settings make sense, subject by subject.

use umbra_s3::WebHooks;

use super::{Settings, SettingsError};
use crate::{blob_place::BlobPlace, region_blobs, region_map};

type Checked = Result<(), SettingsError>;

fn wrong(name: &'static str, why: &str) -> Checked {
    Err(SettingsError::Value(name, why.to_owned()))
}

impl Settings {
    /// Refuses what makes no sense, by the name of the setting.
    pub(super) fn check(&self) -> Checked {
        self.check_metadata()?;
        self.check_contents()?;
        self.check_addresses()?;
        self.check_nodes()?;
        self.check_buckets()?;
        self.check_limits()
    }

    fn check_metadata(&self) -> Checked {
        if !self.metadata.is_embedded() && !self.metadata.is_database() {
            return wrong("metadata", "must be empty or begin with postgres://");
        }
        if self.metadata_connections == 0 {
            return wrong("metadata_connections", "must not be 0");
        }
        if !self.metadata_replica.is_embedded() && !self.metadata_replica.is_database() {
            return wrong("metadata_replica", "must be empty or begin with postgres://");
        }
        if !self.metadata_replica.is_embedded() && self.metadata.is_embedded() {
            return wrong("metadata_replica", "needs the database that it is a replica of: give the setting metadata");
        }
        Ok(())
    }

    fn check_contents(&self) -> Checked {
        // Clients sign for it, and no signature can be for another spelling.
        let is_spelt = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.region.is_empty() || !self.region.bytes().all(is_spelt) {
            return wrong("region", "must consist of small letters, digits and dashes");
        }
        if let Err(why) = BlobPlace::parse(&self.blobs) {
            return wrong("blobs", &format!("cannot be used: {why}"));
        }
        if let Err((name, why)) = region_blobs::topology(self) {
            return wrong(name, &why);
        }
        if let Err((name, why)) = region_map::addresses(self) {
            return wrong(name, &why);
        }
        if self.reclaim_grace == 0 {
            return wrong("reclaim_grace", "must not be 0: readers need a moment to finish");
        }
        Ok(())
    }

    fn check_addresses(&self) -> Checked {
        if self.tls_cert.as_os_str().is_empty() != self.tls_key.as_os_str().is_empty() {
            return wrong("tls_cert", "and the setting tls_key go together: give both or neither");
        }
        if !self.website_listen.is_empty() && self.website_listen().is_none() {
            return wrong("website_listen", "must be an address and a port, as 127.0.0.1:9002");
        }
        if !self.public_url.is_empty() && !is_plain_url(&self.public_url) {
            return wrong("public_url", "must be of the form http://HOST:PORT or https://HOST:PORT, in ASCII");
        }
        Ok(())
    }

    fn check_nodes(&self) -> Checked {
        if !self.node_listen.is_empty() && self.node_listen().is_none() {
            return wrong("node_listen", "must be an address and a port, as 10.0.0.1:9003");
        }
        if !self.node_listen.is_empty() && self.metadata.is_embedded() {
            return wrong("node_listen", "needs a metadata database that nodes share: give the setting metadata");
        }
        if !self.node_url.is_empty() && (self.node_listen.is_empty() || !is_plain_url(&self.node_url) || self.node_url.starts_with("https"))
        {
            return wrong("node_url", "must be of the form http://HOST:PORT, and needs node_listen");
        }
        if self.node_listen().is_some_and(|address| address.ip().is_unspecified()) && self.node_url.is_empty() {
            return wrong("node_listen", "is every address of this machine: say in node_url which of them the others are to use");
        }
        Ok(())
    }

    /// What buckets may ask for: events, rules, logs.
    fn check_buckets(&self) -> Checked {
        if let Err(error) = WebHooks::parse(self.webhook.iter().map(String::as_str)) {
            return wrong("webhook", &format!("cannot be used: {error}"));
        }
        if self.lifecycle_day == 0 {
            return wrong("lifecycle_day", "must not be 0");
        }
        if self.access_log_interval == 0 {
            return wrong("access_log_interval", "must not be 0: every request would be an object of its own");
        }
        Ok(())
    }

    fn check_limits(&self) -> Checked {
        if self.hydration_memory_mib == 0 {
            return wrong("hydration_memory_mib", "must not be 0");
        }
        if self.max_connections == 0 {
            return wrong("max_connections", "must not be 0");
        }
        Ok(())
    }
}

fn is_plain_url(text: &str) -> bool {
    // It is told in headers as it is given.
    let is_a_word = text.bytes().all(|byte| byte.is_ascii_graphic());
    is_a_word && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.path() == "/")
}
