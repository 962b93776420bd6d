//! redb as a byte store. No other file names it.
//!
//! What must be known of redb 4.5 to use it (each point was seen in its source or on a disk):
//! - A commit with `Durability::Immediate` calls `sync_data` on its file and reports the error: `write` therefore only fills a
//!   transaction, and `sync` commits it. Whoever scans in between looks through that transaction.
//! - Dropping the database writes and synchronises once more and ignores errors: [`Redb::close`] does it by hand.
//! - A commit writes the newest data to a second slot and flips one byte in the same fsync. Torn by a power cut, the slot's
//!   checksum is wrong and redb goes back to the slot before, which is what was acknowledged last. After damage at rest it
//!   does so too, and then something acknowledged is missing: [`super::witness`] tells.
//! - Checksums are verified when the file is opened if it is told to, never when a page is read: it is told to, and the
//!   records' own checksums do the rest.
//! - Until a file that was not closed is repaired it cannot be opened for reading only: it is always opened for both.

use std::ops::Range;
use std::path::Path;

use ::redb::{
    Builder, Database, Durability, ReadableDatabase as _, ReadableTable, TableDefinition, TableError, WriteTransaction,
};

use super::Error;
use super::backend::{Backend, Batch, Visit};

/// Page cache in bytes. The log is read once at start and by lagging peers; live data is megabytes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

const FILE: &str = "log.redb";

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("log");

/// An open redb database.
pub struct Redb {
    /// What was written since the last sync. Before the database, which waits for it when both are dropped.
    unsynced: Option<WriteTransaction>,
    /// `None` once it is closed.
    database: Option<Database>,
}

impl Redb {
    /// Opens the database in `directory`, or creates it there.
    ///
    /// # Errors
    /// [`Error::Engine`] if it is locked or damaged.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create(directory.join(FILE))
            .map_err(Error::engine("open the database"))?;
        let mut opened = Self { unsynced: None, database: Some(database) };
        if !opened.has_table()? {
            opened.transaction()?.open_table(TABLE).map_err(Error::engine("make the table"))?;
            opened.sync()?;
        }
        Ok(opened)
    }

    fn has_table(&self) -> Result<bool, Error> {
        let reading = self.database()?.begin_read().map_err(Error::engine("read"))?;
        match reading.open_table(TABLE) {
            Ok(_) => Ok(true),
            Err(TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(Error::engine("read")(error)),
        }
    }

    fn database(&self) -> Result<&Database, Error> {
        self.database.as_ref().ok_or(Error::Closed)
    }

    /// The transaction that the next sync commits.
    fn transaction(&mut self) -> Result<&mut WriteTransaction, Error> {
        let database = self.database.as_ref().ok_or(Error::Closed)?;
        match &mut self.unsynced {
            Some(transaction) => Ok(transaction),
            none => {
                let mut transaction = database.begin_write().map_err(Error::engine("write"))?;
                let durability =
                    if cfg!(feature = "planted-bug-no-fsync") { Durability::None } else { Durability::Immediate };
                transaction.set_durability(durability).map_err(Error::engine("write"))?;
                Ok(none.insert(transaction))
            }
        }
    }
}

impl Backend for Redb {
    fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut table = self.transaction()?.open_table(TABLE).map_err(Error::engine("write"))?;
        for (key, value) in batch.iter() {
            match value {
                Some(value) => table.insert(key, value).map(drop),
                None => table.remove(key).map(drop),
            }
            .map_err(Error::engine("write"))?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        match self.unsynced.take() {
            Some(transaction) => transaction.commit().map_err(Error::engine("commit")),
            None => Ok(()),
        }
    }

    fn scan(&self, range: Range<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error> {
        match &self.unsynced {
            Some(transaction) => {
                visit_range(&transaction.open_table(TABLE).map_err(Error::engine("read"))?, range, visit)
            }
            None => {
                let reading = self.database()?.begin_read().map_err(Error::engine("read"))?;
                visit_range(&reading.open_table(TABLE).map_err(Error::engine("read"))?, range, visit)
            }
        }
    }

    fn close(&mut self) -> Result<(), Error> {
        self.sync()?;
        match self.database.take() {
            Some(database) => database.close().map_err(Error::engine("close the database")),
            None => Ok(()),
        }
    }
}

fn visit_range(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    range: Range<&[u8]>,
    visit: &mut Visit<'_>,
) -> Result<(), Error> {
    for pair in table.range::<&[u8]>(range).map_err(Error::engine("read"))? {
        let (key, value) = pair.map_err(Error::engine("read"))?;
        visit(key.value(), value.value())?;
    }
    Ok(())
}
