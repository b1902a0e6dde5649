//! Checking and mending whichever format an image holds.

use super::{Checked, block, page};
use crate::error::Result;
use crate::flash::FlashHardware;
use crate::ftl::Mapping;

/// Check everything. Nothing is changed. `progress` is told of the data bytes read so far and in all.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read, or there is no trace of a volume.
pub fn check<H: FlashHardware + Sync>(
    hw: &H,
    mapping: Mapping,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked> {
    match mapping {
        Mapping::Block => block::check(hw, progress),
        Mapping::Page => page::check_in_parallel(hw, progress),
    }
}

/// Mend what can be mended without guessing, and check again.
///
/// # Errors
/// When the chip fails; what was mended until then stays so.
pub fn repair<H: FlashHardware + Sync>(
    hw: &mut H,
    mapping: Mapping,
    before: &Checked,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked> {
    match mapping {
        Mapping::Block => block::repair(hw, before, progress),
        Mapping::Page => page::repair(hw, before, progress),
    }
}
