//! Group commit above Raft: what one entry takes.
//!
//! openraft appends one entry per fsync inside its core loop, so one entry per command would mean one fsync per command. While
//! one entry is on its way the next commands gather; nothing ever lingers, so a lone command goes at once.

use super::codec;
use crate::storage::record::PAYLOAD_BYTES_MAX;

/// Commands in one entry at most. Applying them holds the state's lock once; at 256 that stays near a millisecond.
pub const ENTRY_COMMANDS_MAX: usize = 256;

/// Parcels in one entry at most: their headings must fit beside the commands.
pub const ENTRY_PARCELS_MAX: usize = 64;

/// Bytes of one entry beyond which nothing further is added. An entry is one fsync and one message to each peer; at
/// 256 KiB neither delays a heartbeat.
pub const ENTRY_BYTES_TARGET: usize = 256 * 1024;

/// The largest command in bytes: alone in its entry it still fits one record.
pub const COMMAND_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - codec::BATCH_OVERHEAD_BYTES;

/// Bytes of commands that may wait, counted in units of [`ROOM_UNIT_BYTES`] so that small ones are bounded by number too: 16
/// MiB or 4,096 commands, about a second of work on a small machine. Who would wait longer is better told so at once.
pub const ROOM_BYTES: usize = 16 * 1024 * 1024;

/// The least that a waiting command counts for, in bytes.
pub const ROOM_UNIT_BYTES: usize = 4 * 1024;

/// Units of room that a command of this size takes.
pub(super) fn room_units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(ROOM_UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// What an entry, or a parcel, holds so far.
#[derive(Debug, Default)]
pub(super) struct Load {
    parcels: usize,
    commands: usize,
    bytes: usize,
}

impl Load {
    /// Takes this much more in, unless that would be too much. Something always fits where nothing is yet.
    pub(super) fn take(&mut self, parcels: usize, commands: usize, bytes: usize) -> bool {
        let fits = self.parcels + parcels <= ENTRY_PARCELS_MAX
            && self.commands + commands <= ENTRY_COMMANDS_MAX
            && self.bytes + bytes <= ENTRY_BYTES_TARGET;
        if !fits && self.commands > 0 {
            return false;
        }
        self.parcels += parcels;
        self.commands += commands;
        self.bytes += bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_bounded_in_commands_parcels_and_bytes() {
        for (parcels, commands, bytes, fit) in [
            (1, 1, 1, ENTRY_PARCELS_MAX),
            (0, 1, 1, ENTRY_COMMANDS_MAX),
            (0, 1, ENTRY_BYTES_TARGET / 4, 4),
            (1, ENTRY_COMMANDS_MAX, 1, 1),
        ] {
            let mut load = Load::default();
            assert_eq!((0..1000).take_while(|_| load.take(parcels, commands, bytes)).count(), fit);
        }
    }

    #[test]
    fn the_largest_command_goes_alone() {
        let mut load = Load::default();
        assert!(load.take(1, 1, COMMAND_BYTES_MAX));
        assert!(!load.take(1, 1, 1));
    }

    #[test]
    fn an_entry_of_many_parcels_fits_a_record() {
        let headings = ENTRY_PARCELS_MAX * codec::BATCH_OVERHEAD_BYTES;
        assert!(ENTRY_BYTES_TARGET + headings <= PAYLOAD_BYTES_MAX);
    }
}
