//! Which engine keeps a log: chosen in the settings, recorded in the data directory, opened here.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;
use super::backend::{Backend, Batch, Visit};
use super::redb::Redb;
use super::sled::Sled;

/// An engine for the log. The names are stored and are settings: never change one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// sled 0.34, as a byte store only.
    #[default]
    Sled,
    /// redb 4, with a commit that is durable on return.
    Redb,
}

impl Engine {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Redb];

    /// Its name in the settings and in the data directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        }
    }

    /// The engine of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }

    /// Opens the files of this engine in `directory`, or makes them there.
    ///
    /// # Errors
    /// [`Error::Engine`] if they are locked or damaged, [`Error::Io`].
    pub fn open(self, directory: &Path) -> Result<Box<dyn Backend>, Error> {
        Ok(match self {
            Self::Sled => Box::new(Sled::open(directory)?),
            Self::Redb => Box::new(Redb::open(directory)?),
        })
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One call per batch goes through the table of an engine chosen at run time: nothing beside an fsync.
impl Backend for Box<dyn Backend> {
    fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        (**self).write(batch)
    }

    fn sync(&mut self) -> Result<(), Error> {
        (**self).sync()
    }

    fn scan(&self, range: Range<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error> {
        (**self).scan(range, visit)
    }

    fn close(&mut self) -> Result<(), Error> {
        (**self).close()
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;
