//! Discovery files over HTTPS, for machines without an agent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Server, authority, check_authority};

/// Where discovery files are served over HTTPS. Off without a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Discovery {
    /// Where they are served; 0 lets the kernel choose, which only tests want.
    pub port: Option<u16>,
    /// `HOST:PORT` by which machines reach it, of a load balancer for instance; without it, this server's own.
    pub url: Option<String>,
    /// A certificate that machines trust, in PEM, the leaf first; without one, the fleet's own is shown.
    pub certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key: Option<PathBuf>,
}

impl Discovery {
    /// What does not fit, by key.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(url) = &self.url {
            check_authority(url).map_err(|why| ("url", format!("{url:?} {why}")))?;
        }
        match (&self.certificate, &self.key) {
            (Some(_), None) => return Err(("certificate", "needs its private key in `key`".to_owned())),
            (None, Some(_)) => return Err(("key", "needs its certificate in `certificate`".to_owned())),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let alone = [("url", self.url.is_some()), ("certificate", self.certificate.is_some())];
        match alone.into_iter().find(|(_, is_set)| *is_set && self.port.is_none()) {
            Some((key, _)) => Err((key, "is of no use without `port`".to_owned())),
            None => Ok(()),
        }
    }

    /// `HOST:PORT` as machines are told; nothing where it is off.
    #[must_use]
    pub fn authority(&self, server: &Server) -> Option<String> {
        let port = self.port?;
        Some(self.url.clone().unwrap_or_else(|| authority(&server.advertised_host(), port)))
    }

    /// Certificate and key, where the operator gives them.
    #[must_use]
    pub fn files(&self) -> Option<(PathBuf, PathBuf)> {
        Some((self.certificate.clone()?, self.key.clone()?))
    }
}
