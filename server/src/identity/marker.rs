//! A word beside the seal key on which server this host is. It outlives the data directory, so that a host whose data is gone
//! does not come back as a blank server under its old number.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::{config::Config, storage};

/// Name of the file beside the seal key.
const FILE: &str = "member";
/// Longer is not ours.
const BYTES_MAX: usize = 512;

/// Which server of which fleet a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Its number.
    pub server: u64,
    /// The fleet.
    pub fleet: String,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {} of fleet {}", self.server, self.fleet)
    }
}

/// Where the marker of this configuration lies: beside, not in, the data directory, whatever the kind of seal key.
pub fn path(config: &Config) -> PathBuf {
    let with_default_seal = Config { seal: crate::config::Seal::default(), ..config.clone() };
    with_default_seal.seal_path().with_file_name(FILE)
}

impl Marker {
    /// Reads the marker; `None` if there is none, or none that can be understood: it only ever adds a refusal.
    pub fn read(path: &Path) -> Option<Self> {
        let bytes = fs::read(path).ok().filter(|bytes| bytes.len() <= BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).ok()?;
        let (server, fleet) = text.trim_end().strip_prefix("server ")?.split_once(" of fleet ")?;
        Some(Self { server: server.parse().ok()?, fleet: fleet.to_owned() })
    }

    /// Writes the marker durably, in place of another.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write(&self, path: &Path) -> Result<(), storage::Error> {
        if Self::read(path).as_ref() == Some(self) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(storage::Error::io("create", parent))?;
        }
        storage::directory::replace_file(path, format!("{self}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_and_replaced_as_a_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("data-seal/member");
        assert_eq!(Marker::read(&path), None);
        for server in [2, 3] {
            let marker = Marker { server, fleet: "f-1".into() };
            marker.write(&path).unwrap();
            assert_eq!(Marker::read(&path), Some(marker));
        }
    }

    #[test]
    fn what_is_no_marker_says_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("member");
        for text in ["", "server", "server x of fleet f", "server 1 fleet f", &"server 1 of fleet f".repeat(100)] {
            fs::write(&path, text).unwrap();
            assert_eq!(Marker::read(&path), None, "{text}");
        }
    }

    #[test]
    fn it_lies_beside_the_data_directory_wherever_the_seal_key_comes_from() {
        let mut config = Config::default();
        config.server.data_dir = PathBuf::from("/var/lib/muster");
        config.seal.path = Some(PathBuf::from("/run/credentials/key"));
        assert_eq!(path(&config), Path::new("/var/lib/muster-seal/member"));
    }
}
