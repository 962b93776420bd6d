//! Reading a PKI directory from disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::FILE_BYTES_MAX;

/// kubeadm makes 22 files; some are added by hand.
const FILES_MAX: usize = 256;

/// Reads the regular files of `directory` and of its `etcd` directory, by their names relative to it. Links are followed,
/// other directories are not looked at. A file that is too long is cut one byte past the limit, so that the import
/// refuses it by name.
///
/// # Errors
/// If a directory or file cannot be read (the message names it), or there are more than 256 files.
pub fn read_dir(directory: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    add(&mut files, directory, "")?;
    let etcd = directory.join("etcd");
    if etcd.is_dir() {
        add(&mut files, &etcd, "etcd/")?;
    }
    Ok(files)
}

fn add(files: &mut BTreeMap<String, Vec<u8>>, directory: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(directory).map_err(|error| named(directory, &error))? {
        let path = entry?.path();
        let metadata = fs::metadata(&path).map_err(|error| named(&path, &error))?;
        let Some(name) = path.file_name().filter(|_| metadata.is_file()) else {
            continue;
        };
        if files.len() == FILES_MAX {
            let text = format!("{}: more than {FILES_MAX} files; is this the PKI directory?", directory.display());
            return Err(io::Error::other(text));
        }
        let bytes = read(&path).map_err(|error| named(&path, &error))?;
        files.insert(format!("{prefix}{}", name.to_string_lossy()), bytes);
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
