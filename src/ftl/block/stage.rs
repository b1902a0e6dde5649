//! Staging in blocks.

use super::map::{LogicalBlock, Mapping};
use super::{BlockVolume, Volume, slots};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware};
use crate::ftl::erase::erase;
use crate::ftl::staging::{self, Staging, Unit};
use crate::ftl::wear;

/// What has been written since the last commit: units that moved to a fresh block that holds them, or were cut off.
pub(super) type Staged = staging::Staged<LogicalBlock, Option<Block>>;

impl Unit for LogicalBlock {
    fn nth(number: u32) -> Self {
        Self(number)
    }

    fn number(self) -> u32 {
        self.0
    }
}

impl<H: FlashHardware> Staging for BlockVolume<H> {
    type Unit = LogicalBlock;
    type Change = Option<Block>;

    fn staged(&self) -> &Staged {
        &self.staged
    }

    fn staged_mut(&mut self) -> &mut Staged {
        &mut self.staged
    }

    fn unit_size(&self) -> u64 {
        self.block_size()
    }

    fn is_stored(&self, logical: LogicalBlock) -> Result<bool> {
        Ok(!matches!(self.lookup(logical), None | Some(Mapping::Unmapped)))
    }

    fn read_unit(&self, logical: LogicalBlock, data: &mut [u8]) -> Result<()> {
        self.read_block(logical, 0, data)
    }

    /// Put the content of a logical block into a fresh block. Blocks that fail are replaced while free ones last; when none
    /// is free, what is placed so far is committed, which frees what it replaces.
    fn place(&mut self, logical: LogicalBlock, data: &[u8]) -> Result<()> {
        loop {
            let Some((_, block)) = self.free.pop_first() else {
                if !self.commit_frees_blocks() {
                    return Err(self.no_free_block());
                }
                self.commit()?;
                // A levelling that lost its slot ends the write here, and what took effect stays.
                self.check_writable()?;
                continue;
            };
            if self.fill(block, data)? {
                self.remap(logical, Some(block));
                self.staged.note_placed();
                return Ok(());
            }
        }
    }

    fn unmap(&mut self, from: LogicalBlock, to: LogicalBlock) -> Result<()> {
        for logical in (from.0..to.0.min(self.map.len() as u32)).map(LogicalBlock) {
            if self.is_stored(logical)? {
                self.remap(logical, None);
            }
        }
        Ok(())
    }
}

impl<H: FlashHardware> BlockVolume<H> {
    /// Do `change`; if it fails, give up all that is staged.
    pub(super) fn or_rollback(&mut self, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let result = change(self);
        if result.is_err() {
            self.rollback();
        }
        result
    }

    fn no_free_block(&self) -> Error {
        let good = self.good_data_blocks();
        Error::NoFreeBlock { good, in_use: good - self.free.len() as u32 }
    }

    /// Erase `block`, which is not in the free set now, and fill it; `false` if it failed and has been given up.
    pub(super) fn fill(&mut self, block: Block, data: &[u8]) -> Result<bool> {
        match self.erase_and_program(block, data) {
            Ok(()) => Ok(true),
            Err(error) if error.is_block_failure() => {
                self.retire(block)?;
                Ok(false)
            }
            Err(error) => {
                self.free.insert((self.erase_count(block), block));
                Err(error.into())
            }
        }
    }

    fn erase_and_program(&mut self, block: Block, data: &[u8]) -> core::result::Result<(), FlashError> {
        self.count_erase(block);
        erase(&mut self.hw, block)?;
        let pages = self.hw.geometry().iter_pages(block);
        slots::program_pages(&mut self.hw, pages, data)
    }

    pub(super) fn count_erase(&mut self, block: Block) {
        self.tables_changed = true;
        wear::count_erase(&mut self.erase_counts, block);
    }

    /// Give up a block that failed: in the table, and on the chip if it still takes a mark.
    pub(super) fn retire(&mut self, block: Block) -> Result<()> {
        self.bad.insert(block);
        self.tables_changed = true;
        match self.hw.mark_bad(block) {
            Err(error) if !error.is_block_failure() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Let `logical` lie in `block`, or nowhere. A fresh block that this replaces is free again at once: no commit ever
    /// pointed to it.
    pub(super) fn remap(&mut self, logical: LogicalBlock, block: Option<Block>) {
        if let Some(Some(replaced)) = self.staged.changes.insert(logical, block) {
            self.release(replaced);
        }
    }

    /// `block` holds nothing that counts any more.
    pub(super) fn release(&mut self, block: Block) {
        if !self.bad.contains(block) {
            self.free.insert((self.erase_count(block), block));
        }
    }

    pub(super) fn give_up_staged_blocks(&mut self) {
        for block in core::mem::take(&mut self.staged.changes).into_values().flatten() {
            self.release(block);
        }
    }
}
