#![doc = include_str!("SPEC.md")]
//!
//! # In code
//! Pure bytes to records and back; no I/O here, and no decision about what a record means for a volume.

#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

pub mod ftlj;
pub mod linux_bbt;
pub mod paged;
