//! What a power cut leaves of a directory.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, bail};

use super::Chance;

const PAGE_BYTES: usize = 4096;

/// What becomes of that which was written and not synchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it is gone: bytes, lengths, and the entries of directories.
    Strict,
    /// Each page of a file and its length survive or not, by chance, as on a disk that reorders; of each directory, either all
    /// its new entries do or none.
    Torn,
}

impl Cut {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Strict, Self::Torn];
}

/// Makes of `data_dir` what is left of it, given what the shim kept in `shadow`, which is emptied.
pub(super) fn rebuild(data_dir: &Path, shadow: &Path, cut: Cut, chance: &mut Chance) -> Result<()> {
    let root = fs::read_to_string(shadow.join("root")).context("the process was not started with its variables")?;
    let mut remains = Remains { shadow, written: BTreeMap::new(), cut, chance };
    remains.find_written(data_dir)?;
    let rebuilt = data_dir.with_extension("rebuilt");
    remains.directory(root.trim_end(), &rebuilt)?;
    fs::remove_dir_all(data_dir)?;
    fs::rename(&rebuilt, data_dir)?;
    fs::remove_dir_all(shadow)?;
    Ok(fs::create_dir(shadow)?)
}

struct Remains<'a> {
    shadow: &'a Path,
    /// Where each file and directory lies that was there, synchronised or not.
    written: BTreeMap<String, PathBuf>,
    cut: Cut,
    chance: &'a mut Chance,
}

struct Entry {
    is_directory: bool,
    identity: String,
    name: String,
}

impl Remains<'_> {
    fn find_written(&mut self, path: &Path) -> Result<()> {
        let (identity, is_directory) = identity(path)?;
        self.written.insert(identity, path.to_owned());
        if is_directory {
            for entry in fs::read_dir(path)? {
                self.find_written(&entry?.path())?;
            }
        }
        Ok(())
    }

    fn directory(&mut self, identity: &str, target: &Path) -> Result<()> {
        DirBuilder::new().mode(0o700).create(target)?;
        for Entry { is_directory, identity, name } in self.entries(identity)? {
            if is_directory {
                self.directory(&identity, &target.join(name))?;
            } else {
                let bytes = self.file(&identity)?;
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(0o600).open(target.join(name))?.write_all(&bytes)?;
            }
        }
        Ok(())
    }

    fn entries(&mut self, identity: &str) -> Result<Vec<Entry>> {
        match self.written.get(identity).cloned() {
            Some(path) if self.cut == Cut::Torn && self.chance.coin() => written_entries(&path),
            _ => self.synced_entries(identity),
        }
    }

    fn synced_entries(&self, identity: &str) -> Result<Vec<Entry>> {
        let list = read_if_there(&self.shadow.join("dirs").join(identity))?.unwrap_or_default();
        let list = String::from_utf8(list)?;
        let parse = |line: &str| {
            let (kind, rest) = line.split_once(' ')?;
            let (identity, name) = rest.split_once(' ')?;
            Some(Entry { is_directory: kind == "d", identity: identity.to_owned(), name: name.to_owned() })
        };
        list.lines().map(|line| parse(line).with_context(|| format!("not an entry: {line:?}"))).collect()
    }

    fn file(&mut self, identity: &str) -> Result<Vec<u8>> {
        let synced = read_if_there(&self.shadow.join("files").join(identity))?.unwrap_or_default();
        match self.written.get(identity) {
            Some(path) if self.cut == Cut::Torn => Ok(tear(&fs::read(path)?, synced, self.chance)),
            _ => Ok(synced),
        }
    }
}

fn written_entries(path: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let (identity, is_directory) = identity(&entry.path())?;
        let name = entry.file_name().into_string().ok().context("a name that is no text")?;
        entries.push(Entry { is_directory, identity, name });
    }
    Ok(entries)
}

/// What the shim calls it.
fn identity(path: &Path) -> Result<(String, bool)> {
    let status = fs::symlink_metadata(path)?;
    let Ok(born) = status.created()?.duration_since(UNIX_EPOCH) else { bail!("{} is too old", path.display()) };
    Ok((format!("{}-{}-{}", status.ino(), born.as_secs(), born.subsec_nanos()), status.is_dir()))
}

/// Of what was written, each page takes the place of what was synchronised, or does not.
fn tear(written: &[u8], mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    if written.len() != bytes.len() && chance.coin() {
        bytes.resize(written.len(), 0);
    }
    for (page, fresh) in bytes.chunks_mut(PAGE_BYTES).zip(written.chunks(PAGE_BYTES)) {
        if page.len() == fresh.len() && chance.coin() {
            page.copy_from_slice(fresh);
        }
    }
    bytes
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Copies a directory with all in it.
///
/// # Errors
/// Those of the operating system.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(source, target)?;
        }
    }
    Ok(())
}
