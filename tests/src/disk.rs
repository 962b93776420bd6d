//! Disks that tests pull from under a process.
//!
//! In reading order: [`Mains`] is the power of one or several disks, cut for all of them at the same instant; [`Cut`] says what
//! of the bytes that were not synchronised is still there afterwards; [`Fault`] is what else a disk can do; [`Load`] is the
//! program `storage_load` on such a disk; [`Chance`] is repeatable. What makes all this happen is `powerloss.c`, which is preloaded
//! into the process.

mod chance;
mod fault;
mod load;
mod mains;
mod rebuild;

pub use chance::Chance;
pub use fault::Fault;
pub use load::{Load, Setup, serial_in};
pub use mains::{Mains, Variable};
pub use rebuild::{Cut, copy_tree};
