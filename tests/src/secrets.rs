//! Looks for every secret of a fleet where none may be.
//!
//! An [`Inventory`] holds what is secret: everything that a stopped server's data directory holds sealed, opened with its
//! seal key, and whatever a scenario adds (enrolment tokens, machines' own keys). [`Inventory::scan`] then searches files for
//! each of them in every form in which it could have been written by accident.
//!
//! A scan that knows no secret, or could not find one, would always be content: see [`Inventory::is_empty`], and the tests
//! that plant secrets.

mod forms;
mod key_material;
mod scan;
mod state;

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};

pub use scan::Hit;
pub use state::state_of;

/// Anything shorter could be found by chance, or is public anyway.
const BYTES_MIN: usize = 12;

/// One thing that must not be seen.
pub(crate) struct Secret {
    name: String,
    /// What makes it secret, without anything public around it.
    material: Vec<u8>,
}

// By hand: a secret's name is all that may be seen of it.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// All secrets that are known.
#[derive(Debug, Default)]
pub struct Inventory {
    secrets: Vec<Secret>,
}

impl Inventory {
    /// The secrets of the server with this id, from a copy of its data directory; the original is only read.
    ///
    /// # Errors
    /// If the data can't be read or the key does not open it. A directory without a fleet gives an empty inventory.
    pub async fn of_server(data_dir: &Path, seal_key: &Path, id: u64) -> Result<Self> {
        let mut inventory = Self::default();
        state::add(&mut inventory, data_dir, seal_key, id).await?;
        Ok(inventory)
    }

    /// Adds a secret that is text, as it is typed.
    pub fn add_text(&mut self, name: &str, text: &str) {
        self.add(name, text.as_bytes());
    }

    /// Adds an enrolment token, whole and its secret part alone.
    pub fn add_token(&mut self, token: &str) {
        let mut parts = token.trim().splitn(3, '-');
        let (id, secret) = (parts.nth(1).unwrap_or_default(), parts.next().unwrap_or_default());
        self.add(&format!("enrolment token {id}"), secret.as_bytes());
    }

    /// Adds the private key in a PEM text or in DER: its private numbers, not what is public of it.
    ///
    /// # Errors
    /// If it holds no private key.
    pub fn add_private_key(&mut self, name: &str, key: &[u8]) -> Result<()> {
        for (what, material) in key_material::of(key).with_context(|| name.to_owned())? {
            self.add(&format!("{name}, {what}"), &material);
        }
        Ok(())
    }

    /// Adds bytes that are secret as they are.
    pub fn add(&mut self, name: &str, material: &[u8]) {
        if material.len() >= BYTES_MIN {
            self.secrets.push(Secret { name: name.to_owned(), material: material.to_vec() });
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// There is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(|secret| secret.name.as_str())
    }

    /// The secret of that name, for planting it.
    pub fn material(&self, name: &str) -> Option<&[u8]> {
        self.secrets.iter().find(|secret| secret.name == name).map(|secret| secret.material.as_slice())
    }

    /// Searches files and directories, all levels deep.
    ///
    /// # Errors
    /// If one of them is not there or can't be read: what was not looked at is not clean.
    pub fn scan(&self, paths: &[&Path]) -> Result<Vec<Hit>> {
        scan::scan(&self.secrets, paths)
    }
}
