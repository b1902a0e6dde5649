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
//!
//! # Findings on a page-mapped volume
//! | code | severity | what | a repair |
//! |---|---|---|---|
//! | `anchor-damaged` | warning beside a whole one as new, else error | a page of the anchor zone, or the first of several in a row | writes an anchor elsewhere, erases the block |
//! | `no-usable-metadata` | error | no anchor leads to a checkpoint | rebuilds from the blocks |
//! | `older-state` | error | what mounts is not the newest state | rebuilds from the blocks |
//! | `read-only` | error | nothing more can be written | – |
//! | `fallback` | warning | the volume mounts although not all is well | writes all metadata anew |
//! | `not-ended` | info | the last session was cut short | – |
//! | `metadata-copy-damaged` | warning | one copy of a metadata page, beside a whole one | writes all metadata anew |
//! | `map-page-damaged`, `map-misplaced`, `map-duplicate`, `map-wrong-block` | error | the map contradicts itself or the table, or is gone | rebuilds from the blocks |
//! | `lost-page` | error | a logical page whose content is gone: it could not be read when it was to be moved, or a rebuild did not find it | – |
//! | `data-damaged`, `data-unreadable` | error | a stored page that is not what was written | – |
//! | `summary-damaged`, `summary-disagrees` | warning | a block's summary | moves the block's data |
//! | `live-count-wrong`, `erase-count-wrong` | warning | the block table | counts again |
//! | `mapped-bad-block` | error | data in a block that is bad | moves it |
//! | `bad-mark-missing` | warning | in the table, not marked on a chip that carries marks | marks the block |
//! | `worn-past-rating` | warning | erased more often than rated | – |
//! | `mapped-past-length` | info | data past the end of the volume | – |
//! | `rebuilt-pages`, `rebuilt-discards` | info | what a rebuild comes to | – |
//! | `repair-given-up` | info | why a repair did not mend all it can: said by the repair alone | – |
//! | `rebuilt-older`, `rebuilt-damaged` | error | logical pages that a rebuild cannot give their newest version | – |
//! | `rebuilt-without-log` | warning; error where blocks may be gone whole | without the log nothing tells whether newer versions were written | – |
//! | `rebuilt-in-doubt` | error | a block that held, or may have held, what counts, and nothing says what | – |
//! | `rebuilt-unconfirmed` | info; error where the log is not all there | versions that a rebuild leaves out: nothing shows that they were committed | – |
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

pub mod any;
pub mod block;
mod finding;
pub mod page;
mod remedy;
#[cfg(feature = "std")]
pub mod undo;
pub mod wear;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::error::Result;
use crate::flash::{Block, FlashHardware};
use finding::Collector;
pub use finding::{Checked, Finding, FindingKey, Severity};
pub use remedy::Remedy;

/// What a repair comes to: the findings of `before`, with what is no longer found `after` it repaired, and what only is found
/// then. Content that is damaged elsewhere now, or otherwise, is shown as it is now.
fn merge(before: Vec<Finding>, after: &Checked) -> Checked {
    let left: BTreeMap<_, _> = after.findings.iter().map(|finding| (finding.key(), finding)).collect();
    let known: BTreeSet<_> = before.iter().map(Finding::key).collect();
    let news = after.findings.iter().filter(|f| !known.contains(&f.key())).cloned();
    let mut seen = BTreeSet::new();
    let first = |f: &Finding| f.logical_offset.is_none() || seen.insert(f.key());
    let moved =
        |f: &Finding, now: &Finding| now.block.is_some() && (now.block, now.page) != (f.block, f.page);
    let mended = |f: Finding| match left.get(&f.key()) {
        Some(&now) if now.code != f.code || moved(&f, now) => now.clone(),
        found => Finding { repaired: f.repair.is_some() && found.is_none(), ..f },
    };
    let findings = before.into_iter().filter(first).map(mended).chain(news).collect();
    Checked { findings, blocks: after.blocks, pages: after.pages, bytes: after.bytes }
}

/// Mark `bad` blocks on the chip, those that are not yet; one that takes no mark is left without.
fn mark<H: FlashHardware>(hw: &mut H, bad: &[Block]) -> Result<()> {
    for &block in bad {
        if !hw.is_bad(block)? {
            match hw.mark_bad(block) {
                Err(error) if !error.is_block_failure() => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}
