//! Mending a volume that mounts: what a repair asks for, each step as safe against a power cut as any write.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::PageVolume;
use super::collect::read_summary;
use super::log::Group;
use super::verify::MapContent;
use super::zone_damage::damaged_anchors;
use crate::error::Result;
use crate::flash::{Block, FlashHardware};
use crate::onflash::paged::tables::BlockState;

impl<H: FlashHardware> PageVolume<H> {
    /// Write all metadata anew into other blocks, move the data out of `blocks` and out of bad ones, and erase what is damaged in
    /// the anchor zone. `content` is what the map says: live pages are counted by it.
    ///
    /// # Errors
    /// When the volume cannot be written, or the chip fails.
    pub fn mend(&mut self, content: &MapContent, blocks: &[Block]) -> Result<()> {
        self.begin_session()?;
        self.count_live_pages(content);
        self.note_own_counts()?;
        if self.failing {
            self.empty_failing_blocks()?;
        }
        for &block in blocks {
            if matches!(self.blocks.state(block), BlockState::Closed | BlockState::Listed) {
                if read_summary(&self.hw, &self.layout, self.volume, block)?.is_none() {
                    // It proves nothing, and need not stay for that.
                    self.proof.lose(block);
                }
                self.collect(block)?;
                self.write_group(Group::Pending)?;
            }
        }
        self.write_group(Group::Pending)?;
        // Every map page is written again, and the anchor goes into other blocks.
        self.rewrite_map()?;
        self.zone.in_doubt = true;
        self.begin_chain_anew_with_map()?;
        self.erase_damaged_anchors()?;
        self.end_session()
    }

    fn count_live_pages(&mut self, content: &MapContent) {
        let mut live: BTreeMap<Block, u32> = BTreeMap::new();
        for stored in &content.stored {
            *live.entry(self.layout.block_of(stored.page)).or_default() += 1;
        }
        for block in self.blocks.iter() {
            let expected = live.get(&block).copied().unwrap_or(0);
            let holds_data = matches!(self.blocks.state(block), BlockState::Closed | BlockState::Listed);
            if holds_data && self.blocks.info(block).live != expected {
                self.blocks.clear_live(block);
                (0..expected).for_each(|_| self.blocks.add_live(block));
                self.blocks.note_emptied(block);
            }
        }
    }

    /// A block that states a higher erase count than the table knows better.
    fn note_own_counts(&mut self) -> Result<()> {
        for block in self.blocks.iter() {
            if self.blocks.state(block) == BlockState::Closed
                && let Some(summary) = read_summary(&self.hw, &self.layout, self.volume, block)?
            {
                self.blocks.at_least(block, summary.erases);
            }
        }
        Ok(())
    }

    /// Take every entry for changed, so that the map pages that hold it are written again.
    fn rewrite_map(&mut self) -> Result<()> {
        let mut first_of_each: Vec<_> = Vec::new();
        let per_page = self.layout.entries_per_map_page();
        for logical in self.layout.iter_logical().step_by(per_page as usize) {
            first_of_each.push((logical, self.map.get(&self.hw, logical)?));
        }
        first_of_each.into_iter().for_each(|(logical, entry)| self.map.set(logical, entry));
        Ok(())
    }

    /// Erase the blocks of the zone that do not hold the newest anchor and are damaged.
    fn erase_damaged_anchors(&mut self) -> Result<()> {
        let damaged: BTreeSet<Block> =
            damaged_anchors(&self.hw)?.iter().map(|anchor| anchor.at.block).collect();
        let others = self.good_zone_blocks().filter(|block| !self.zone.blocks.contains(block));
        let damaged: Vec<Block> = others.filter(|block| damaged.contains(block)).collect();
        self.erase_and_show_counts(&damaged)
    }
}
