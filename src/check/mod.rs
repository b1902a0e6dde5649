//! Checks, and what they find.
//!
//! What is wrong with a volume is data ([`Finding`]), not an error: an error says that the check could not be done.
//!
//! # Findings on a block-mapped volume
//! | code | severity | what | a repair |
//! |---|---|---|---|
//! | `no-valid-slot` | error | neither copy of the metadata is usable | – |
//! | `slot-torn`, `slot-corrupt`, `slot-unreadable`, `slot-wrong-tables` | warning beside a good copy that is newer, else error | one copy of the metadata | writes it anew, beside a newer good one |
//! | `sequence-tie` | warning | two copies with one sequence number, and they differ | commits |
//! | `sequence-exhausted` | error | no sequence number is left | begins at 1 again |
//! | `bad-slot-block` | error | a block of a slot is bad: the volume is read-only | – |
//! | `bad-table-incomplete` | warning | marked on the chip, not in the table | commits |
//! | `bad-mark-missing` | warning | in the table, not marked on a chip that carries marks | marks the block |
//! | `bad-table-long`, `map-short` | warning | a table of unusual size | commits |
//! | `map-long` | warning | the map has room for more than the format's logical blocks | – |
//! | `length-past-map` | error | the length claims more than the map can hold | – |
//! | `length-past-capacity` | warning | it can be read, not lengthened | – |
//! | `map-out-of-range`, `map-duplicate` | error | a map entry contradicts the geometry or another entry | – |
//! | `mapped-bad-block` | error | data in a block that is bad | moves it |
//! | `data-unreadable` | error | a page of data cannot be read | – |
//! | `worn-past-rating` | warning | erased more often than rated | – |
//! | `mapped-past-length` | info | data past the end of the volume | – |
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

pub mod any;
pub mod block;
mod finding;
pub mod page;
#[cfg(feature = "std")]
pub mod undo;
pub mod wear;

use finding::Collector;
pub use finding::{Checked, Finding, Severity};
