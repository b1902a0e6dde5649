//! Mending a volume: changes that a repair asks for, each as safe against a power cut as any write.

use alloc::vec;
use alloc::vec::Vec;

use super::map::{LogicalBlock, Mapping};
use super::mount::Survey;
use super::slots::{self, SlotId};
use super::{BlockVolume, Volume};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware};
use crate::ftl::staging::Staging;
use crate::ftl::wear::count_erase;

impl<H: FlashHardware> BlockVolume<H> {
    /// Stage moving data off bad blocks, where it can still be read and free blocks last. What was staged before is
    /// synced first. Returns the blocks whose data moves.
    ///
    /// # Errors
    /// When the chip fails otherwise than by unreadable pages; what was staged is given up.
    pub fn evacuate_bad_blocks(&mut self) -> Result<Vec<Block>> {
        self.check_writable()?;
        self.sync()?;
        let mut moved = Vec::new();
        let mut data = vec![0; self.layout.block_size as usize];
        for i in 0..self.map.len() {
            let Mapping::At(block) = self.map[i] else { continue };
            if !self.bad.contains(block) {
                continue;
            }
            match self.hw.read(block, 0, &mut data) {
                Err(FlashError::Unreadable { .. }) => continue,
                read => read?,
            }
            match self.place(LogicalBlock(i as u32), &data) {
                Ok(()) => moved.push(block),
                // What there is no room for stays where it is.
                Err(Error::NoFreeBlock { .. }) => break,
                Err(error) => {
                    self.rollback();
                    return Err(error);
                }
            }
        }
        Ok(moved)
    }

    /// Commit, whether or not anything is staged: the other slot then holds a whole, current copy of the metadata.
    ///
    /// # Errors
    /// As for [`sync`](Volume::sync).
    pub fn rewrite_metadata(&mut self) -> Result<()> {
        self.tables_changed = true;
        self.sync()
    }
}

/// Begin to count anew on a volume whose newest copy has the last sequence number there is. A cut leaves the old copy or
/// the new one.
///
/// # Errors
/// When the volume does not mount, or the chip fails.
pub fn restart_sequence<H: FlashHardware>(hw: &mut H) -> Result<()> {
    let survey = Survey::read(hw)?;
    let choice = survey.choose(None)?;
    let (last, layout) = (choice.slot, survey.layout);
    let mut metadata = choice.metadata.clone();
    for block in SlotId::BOTH.iter().flat_map(|slot| slot.blocks(&layout)) {
        count_erase(&mut metadata.erase_counts, block);
    }
    slots::write(hw, &layout, last.other(), &metadata.encode(1))?;
    slots::erase(hw, &layout, last)?;
    Ok(hw.sync()?)
}
