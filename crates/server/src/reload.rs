//! What is read again on SIGHUP.

use std::{io, path::PathBuf, sync::Arc};

use umbra_s3::Nearest;

use crate::{region_map, shutdown::reload_signal, tls::Tls};

/// What a server reads again when it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Reload {
    /// The certificate.
    pub(crate) tls: Option<Arc<Tls>>,
    /// What says which region is nearest, and its file.
    pub(crate) nearest: Option<(Arc<Nearest>, PathBuf)>,
}

impl Reload {
    /// Reads again whenever the process is asked to, if there is anything to read.
    pub(crate) fn listen(self) -> io::Result<()> {
        if self.tls.is_none() && self.nearest.is_none() {
            return Ok(());
        }
        let mut asked = reload_signal()?;
        tokio::spawn(async move {
            while asked.recv().await.is_some() {
                let this = self.clone();
                if let Err(error) = tokio::task::spawn_blocking(move || this.read()).await {
                    tracing::error!(%error, "reading again was cut short; what was read before stays in use");
                }
            }
        });
        Ok(())
    }

    fn read(&self) {
        if let Some(tls) = &self.tls {
            match tls.reload() {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => tracing::error!(?error, "the certificate cannot be read; the earlier one stays in use"),
            }
        }
        if let Some((nearest, file)) = &self.nearest {
            match region_map::read_file(file, nearest.addresses()) {
                Ok(map) => {
                    nearest.replace_map(map);
                    tracing::info!("the map of regions was read again");
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "the map of regions is not read again; the earlier one stays in use");
                }
            }
        }
    }
}
