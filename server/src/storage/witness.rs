//! A number outside the engine that tells how far its log must reach.
//!
//! After damage to its last segment sled takes the rest for a write that was cut short and drops it, checksums, extent and
//! all: of 450 disks with one damaged place 9 opened with acknowledged writes missing. Each batch therefore carries a
//! number, and after it was synchronised the number is written here too, before anything is acknowledged. It is not fsynced:
//! after a power cut it may be behind the log, which is harmless, but never ahead of it. An engine that is behind has lost
//! what was acknowledged.
//!
//! ```text
//! WITNESS = "MUSTWITN" number:u64be sha256(all before)
//! ```

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Error;
use super::directory::replace_file;

const MAGIC: &[u8; 8] = b"MUSTWITN";
const BYTES: usize = 8 + 8 + 32;

/// The file, open for the storage thread.
pub struct Witness {
    path: PathBuf,
    file: File,
}

impl Witness {
    /// Opens the witness at `path` and holds the engine's number against it. One that is missing or unreadable bears witness
    /// to nothing: it is made anew, and the log says so.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the engine is behind, [`Error::Io`].
    pub fn open(path: PathBuf, number: u64) -> Result<Self, Error> {
        match read(&path)? {
            Some(witnessed) if witnessed > number => {
                let detail = format!("it ends with batch {number}, but batch {witnessed} was acknowledged");
                return Err(Error::damaged("the log", detail));
            }
            Some(_) => {}
            None => {
                if path.exists() {
                    tracing::error!(path = %path.display(), "the witness of the log is damaged and is made anew");
                }
                replace_file(&path, &render(number))?;
            }
        }
        let file = OpenOptions::new().write(true).open(&path).map_err(Error::io("open", &path))?;
        Ok(Self { path, file })
    }

    /// Notes that the batch of this number is durable; call it between the sync and the acknowledgement.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn note(&self, number: u64) -> Result<(), Error> {
        self.file.write_all_at(&render(number), 0).map_err(Error::io("write", &self.path))
    }
}

fn read(path: &Path) -> Result<Option<u64>, Error> {
    let mut bytes = [0; BYTES];
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    }
    let number = bytes[8..].first_chunk::<8>().map(|number| u64::from_be_bytes(*number));
    Ok(number.filter(|number| render(*number) == bytes))
}

fn render(number: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&number.to_be_bytes());
    let digest = Sha256::digest(&bytes[..16]);
    bytes[16..].copy_from_slice(&digest);
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn opened(path: &Path, number: u64) -> Result<Witness, Error> {
        Witness::open(path.to_owned(), number)
    }

    #[test]
    fn an_engine_that_is_behind_is_refused_and_one_that_is_ahead_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("WITNESS");
        opened(&path, 3).unwrap().note(7).unwrap();
        let refused = opened(&path, 6).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("ends with batch 6") && refused.contains("batch 7 was acknowledged"), "{refused}");
        opened(&path, 7).unwrap();
        opened(&path, 9).unwrap();
    }

    #[test]
    fn a_damaged_witness_is_made_anew_and_counts_again() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("WITNESS");
        for damage in 0..BYTES {
            opened(&path, 0).unwrap().note(7).unwrap();
            let mut bytes = fs::read(&path).unwrap();
            bytes[damage] ^= 1;
            fs::write(&path, &bytes[..]).unwrap();
            opened(&path, 5).unwrap();
            assert!(opened(&path, 4).is_err());
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn the_stored_bytes_never_change() {
        let digest = "cc6eb28146fb10b73ee75a0196994644506026911498656c7b91c1e8a056a032";
        assert_eq!(hex::encode(render(0x0102)), format!("4d5553545749544e0000000000000102{digest}"));
    }
}
