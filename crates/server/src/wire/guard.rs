//! Where shadows may point.

use umbra_client::GuardPolicy;

use super::StartError;
use crate::settings::Settings;

/// What the settings allow. Whoever reaches a server that listens on loopback alone reaches everything else there, too.
pub(super) fn policy(settings: &Settings) -> Result<GuardPolicy, StartError> {
    let network = |text: &String| match text.parse() {
        // It would be this one address, which whoever leaves the length out rarely means.
        Ok(_) if !text.contains('/') => Err(StartError::NetworkLength(text.clone())),
        network => network.map_err(|error| StartError::Network(text.clone(), error)),
    };
    let allow = settings.shadow_allow_cidr.iter().map(network).collect::<Result<_, _>>()?;
    let allow_loopback = [settings.listen, settings.admin_listen].iter().all(|address| address.ip().is_loopback());
    Ok(GuardPolicy { allow, allow_loopback })
}

#[cfg(test)]
mod tests {
    use super::policy;
    use crate::settings::Settings;

    #[test]
    fn loopback_is_open_to_servers_on_loopback_alone() {
        let on = |listen: &str, admin: &str| {
            let settings = Settings { listen: listen.parse().unwrap(), admin_listen: admin.parse().unwrap(), ..Settings::default() };
            policy(&settings).unwrap().allow_loopback
        };
        assert!(on("127.0.0.1:0", "[::1]:0"));
        assert!(!on("0.0.0.0:0", "127.0.0.1:0"));
        assert!(!on("127.0.0.1:0", "10.0.0.1:0"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let with = |cidr: &str| policy(&Settings { shadow_allow_cidr: vec![cidr.to_owned()], ..Settings::default() });
        assert_eq!(with("10.0.0.0/8").unwrap().allow.len(), 1);
        for alone in ["10.0.0.0", "fd00::1"] {
            let told = format!(
                "the setting shadow_allow_cidr: {alone} has no length: write {alone}/N, with N the bits that all its addresses share"
            );
            assert_eq!(with(alone).unwrap_err().to_string(), told);
        }
        assert_eq!(with("nowhere").unwrap_err().to_string(), "the setting shadow_allow_cidr: nowhere is not a network");
    }
}
