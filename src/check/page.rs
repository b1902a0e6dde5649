//! Checking and mending a volume of the page-mapped format.

use super::Checked;
use crate::error::Result;
use crate::flash::FlashHardware;

/// Check everything, over all cores. Nothing is changed.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read, or there is no trace of a volume.
pub fn check_in_parallel<H: FlashHardware + Sync>(_: &H, _: &mut dyn FnMut(u64, u64)) -> Result<Checked> {
    unimplemented!()
}

/// Mend what can be mended without guessing, and check again.
///
/// # Errors
/// When the chip fails; what was mended until then stays so.
pub fn repair<H: FlashHardware + Sync>(
    _: &mut H,
    _: &Checked,
    _: &mut dyn FnMut(u64, u64),
) -> Result<Checked> {
    unimplemented!()
}
