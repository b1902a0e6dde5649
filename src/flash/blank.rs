//! A chip that was never programmed: to plan on before there is a file.

use super::{Block, FlashError, FlashHardware, Geometry, PageAddr};

/// A chip of which every byte is 0xFF and no block is bad. It takes no change.
#[derive(Clone, Copy, Debug)]
pub struct BlankChip(pub Geometry);

const NOT_THERE: &str = "the chip is not there yet";

impl FlashHardware for BlankChip {
    fn geometry(&self) -> &Geometry {
        &self.0
    }

    fn read(&self, _: Block, _: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        buf.fill(0xFF);
        Ok(())
    }

    fn program(&mut self, _: PageAddr, _: &[u8]) -> Result<(), FlashError> {
        Err(FlashError::Io(NOT_THERE.into()))
    }

    fn erase(&mut self, _: Block) -> Result<(), FlashError> {
        Err(FlashError::Io(NOT_THERE.into()))
    }

    fn is_bad(&self, _: Block) -> Result<bool, FlashError> {
        Ok(false)
    }

    fn mark_bad(&mut self, _: Block) -> Result<(), FlashError> {
        Err(FlashError::Io(NOT_THERE.into()))
    }

    fn carries_marks(&self) -> bool {
        self.0.spare_size() > 0
    }

    fn sync(&mut self) -> Result<(), FlashError> {
        Ok(())
    }
}
