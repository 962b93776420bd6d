//! The harness of the scenarios in `tests/`.

pub mod disk;
