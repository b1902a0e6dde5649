//! Erasing a block that is to be written.

use alloc::vec;

use crate::flash::{Block, FlashError, FlashHardware, Operation, PageAddr};

/// Erase `block`, and see that its first page reads as erased: some blocks report no failure and hold nothing any more. One that
/// does not failed to erase.
///
/// # Errors
/// When the chip fails, or the page cannot be read, or is not erased.
pub(super) fn erase<H: FlashHardware + ?Sized>(hw: &mut H, block: Block) -> Result<(), FlashError> {
    hw.erase(block)?;
    let at = PageAddr { block, page: 0 };
    let mut page = vec![0; hw.geometry().page_size() as usize];
    match hw.read(block, 0, &mut page) {
        Ok(()) if page.iter().all(|&byte| byte == 0xFF) => Ok(()),
        Ok(()) | Err(FlashError::Unreadable { .. }) => {
            Err(FlashError::Failed { operation: Operation::Erase, at, offset: hw.raw_offset(at) })
        }
        Err(error) => Err(error),
    }
}
