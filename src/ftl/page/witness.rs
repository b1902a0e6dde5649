//! Pages that show how often a block was erased, where nothing else in it does: a recovery that was cut short right after it
//! erased such a block is found out by the next one.

use alloc::vec::Vec;

use super::PageVolume;
use super::chain::{ChainPage, ChainResult};
use crate::error::Result;
use crate::flash::{Block, FlashHardware, PageAddr};
use crate::onflash::paged::head::Kind;
use crate::onflash::paged::tables::BlockState;

/// Free blocks that show their counts at a clean end, at the least: as many as four recoveries in a row take where a checkpoint fits
/// one pair.
const LEAST_SHOWING: usize = 8;

impl<H: FlashHardware> PageVolume<H> {
    /// See that the next pair does not look erased: so it shows when it is, by the next session as it begins. Whether one did, and
    /// what this takes is to be logged.
    pub(super) fn put_witnesses(&mut self) -> ChainResult<bool> {
        let mut any = false;
        for block in self.chain.upcoming.front().copied().into_iter().flatten() {
            if self.is_erased(block)? {
                self.erase_chain_block(block)?;
                let (page, at) = self.witness(block);
                self.program_chain_page(page, at, &[])?;
                self.announce_erase(block);
                any = true;
            }
        }
        Ok(any)
    }

    /// See that some of the free blocks, and those of the zone, show their counts, for recoveries to take.
    pub(super) fn show_counts(&mut self) -> Result<()> {
        let mut silent: Vec<Block> = Vec::new();
        for block in self.zone_blocks_but(&self.zone.blocks) {
            if !self.shows_its_count(block)? {
                silent.push(block);
            }
        }
        // Two recoveries in a row take no more, however many pairs a checkpoint fills.
        let pairs = (self.body_pages() + 1).div_ceil(self.layout.pages_per_block);
        let wanted = LEAST_SHOWING.max(4 * pairs as usize);
        let mut showing = 0;
        // Those that were never used show nothing, and are the least worn.
        let used = self.blocks.free().range((1, Block(0))..).map(|&(_, block)| block);
        let unused = self.blocks.free().range(..(1, Block(0))).map(|&(_, block)| block);
        let mut others: Vec<Block> = Vec::new();
        for block in used.take(2 * wanted) {
            match self.shows_its_count(block)? {
                true => showing += 1,
                false => others.push(block),
            }
        }
        silent.extend(unused.chain(others).take(wanted.saturating_sub(showing)));
        self.erase_and_show_counts(&silent)
    }

    /// No page of it can be of before its last erase.
    fn shows_its_count(&self, block: Block) -> Result<bool> {
        Ok(self.own_count(block)?.is_some_and(|own| own <= self.blocks.erase_count(block)))
    }

    /// Erase blocks that hold nothing, and see that they show how often they were.
    pub(super) fn erase_and_show_counts(&mut self, blocks: &[Block]) -> Result<()> {
        self.announce_and_erase(blocks)?;
        for &block in blocks {
            if self.blocks.state(block) != BlockState::Bad {
                let (page, at) = self.witness(block);
                let programmed = self.hw.program(at, &self.chain_page(page, at, &[]));
                self.or_bad(block, programmed)?;
            }
        }
        Ok(())
    }

    fn witness(&self, block: Block) -> (ChainPage, PageAddr) {
        let page = ChainPage { kind: Kind::Witness, flags: 0, epoch: self.sequence as u32, number: 0 };
        (page, PageAddr { block, page: 0 })
    }
}
