//! Checks, and what they find.
//!
//! What is wrong with a volume is data ([`Finding`]), not an error: an error says that the check could not be done.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

pub mod block;
mod finding;
#[cfg(feature = "std")]
pub mod undo;
pub mod wear;

use finding::Collector;
pub use finding::{Checked, Finding, Severity};
