//! What a byte store must offer to carry the log: ordered keys, atomic batches, an honest sync.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Error;

/// The longest value a backend is given, in bytes.
///
/// sled moves a page above a quarter of its segment (128 KiB) to a file in `blobs/` that it never fsyncs, and a page is a
/// whole leaf: up to 16 values, 20 for a moment after a merge. 20 × (4 KiB + key) is 82 KiB, so a leaf of the largest
/// values stays clear of it. A limit on single values alone (64 KiB, say) would not: three of them make a blob.
pub const VALUE_BYTES_MAX: usize = 4 * 1024;

/// Writes that become visible and durable together; the last write to a key wins.
#[derive(Default)]
pub struct Batch {
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Batch {
    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`VALUE_BYTES_MAX`]: this is the one door to every backend.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Error> {
        if value.len() > VALUE_BYTES_MAX {
            let (bytes, limit) = (value.len(), VALUE_BYTES_MAX);
            return Err(Error::TooLarge { what: "a stored value", bytes, limit });
        }
        self.writes.insert(key, Some(value));
        Ok(())
    }

    /// Removes `key`, whether it exists or not.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    /// True if the batch would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The writes in key order; `None` is a removal.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.writes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }
}

/// An engine under the durability layer. It is owned and called by one thread.
///
/// Any error is final: the layer above ends the process, it never calls again.
pub trait Backend: Send + 'static {
    /// Applies the batch as one: after a crash all of it is there or none. Visible to [`Backend::scan`] on return, not yet
    /// durable.
    ///
    /// # Errors
    /// Whatever the engine or the operating system says.
    fn write(&mut self, batch: &Batch) -> Result<(), Error>;

    /// Returns only when everything written so far would survive a power cut.
    ///
    /// # Errors
    /// Whatever the engine or the operating system says; what was written since the last success may be lost.
    fn sync(&mut self) -> Result<(), Error>;

    /// Visits the pairs with keys in `range`, in key order, and stops at the visitor's first error.
    ///
    /// # Errors
    /// Those of the engine and those of `visit`.
    fn scan(&self, range: Range<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error>;

    /// Makes durable what was written, lets go of all files, and only then returns; nothing may be called after it. Dropping
    /// lets go of them too, but cannot tell what went wrong.
    ///
    /// # Errors
    /// Whatever the engine or the operating system says; what was written since the last sync may be lost.
    fn close(&mut self) -> Result<(), Error>;
}

/// A visitor of key and value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Error> + 'a;

#[cfg(test)]
pub(crate) mod memory;
