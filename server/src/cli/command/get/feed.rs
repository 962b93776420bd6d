//! Changes, printed as they come: rows under one header, or one document each.

use std::collections::BTreeMap;

use muster_proto::admin::v1::{Event, EventList};

use super::Listing;
use crate::cli::args::Format;
use crate::cli::console::Console;
use crate::cli::exit::Failure;

/// What was printed last of each thing, so that a stream that was opened again repeats nothing.
#[derive(Debug, Default)]
pub(in crate::cli::command) struct Feed {
    printed: BTreeMap<String, String>,
    header: bool,
}

impl Feed {
    /// Prints those items that are not as they were printed last.
    pub(super) fn changes(&mut self, listing: &Listing, console: &mut Console) -> Result<(), Failure> {
        let texts = listing.texts(console.format)?;
        let changed: Vec<bool> = texts.iter().map(|(name, text)| self.printed.get(name) != Some(text)).collect();
        if !changed.contains(&true) {
            return Ok(());
        }
        self.print(&listing.pick(&changed), console)?;
        let there: BTreeMap<_, _> = texts.into_iter().collect();
        self.printed.extend(there);
        Ok(())
    }

    /// Prints an event, which never changes.
    pub(in crate::cli::command) fn event(&mut self, event: Event, console: &mut Console) -> Result<(), Failure> {
        self.print(&Listing::Events(EventList { items: vec![event] }), console)
    }

    fn print(&mut self, listing: &Listing, console: &mut Console) -> Result<(), Failure> {
        match console.format {
            Format::Json | Format::Yaml => {
                listing.texts(console.format)?.iter().try_for_each(|(_, text)| console.data(text))
            }
            Format::Name => listing.names().iter().try_for_each(|name| console.data(name)),
            Format::Table | Format::Wide => {
                let table = listing.table(console.format == Format::Wide, console).with_widths(listing.widths());
                if std::mem::replace(&mut self.header, true) { console.rows(&table) } else { console.table(&table) }
            }
        }
    }
}
