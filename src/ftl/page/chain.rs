//! The chain of metadata pages: pairs of blocks, filled page by page, each page naming the pair after its own.
//!
//! Both blocks of a pair hold the same pages; only the pages of short commits stand in one of them alone, and the log page
//! after such a one repeats it in the other.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::PageVolume;
use super::layout::{Layout, Ppn};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware, PageAddr};
use crate::ftl::erase::erase;
use crate::ftl::gc::{self, Heat};
use crate::onflash::paged::NextPair;
use crate::onflash::paged::head::{Head, Kind, seal};
use crate::onflash::paged::tables::BlockState;

/// Two blocks that hold the same metadata.
pub(super) type Pair = [Block; 2];

#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// The pair that is being filled.
    pub(super) pair: Pair,
    /// The next page to be programmed in both.
    pub(super) slot: u32,
    /// The page before it stands in the first block alone, and the second block's is free.
    pub(super) half: bool,
    /// The pairs that come next, in order; never empty while the chain is written.
    pub(super) upcoming: VecDeque<Pair>,
    /// Every pair that holds metadata, whether it counts or not, but for those to come.
    pub(super) pairs: Vec<Pair>,
    /// Blocks that the log on flash goes on in, while a checkpoint is written elsewhere. Until that is in force they stay as they
    /// are: were cut after cut to tear them, nothing would tell that from the loss of what a session wrote there.
    pub(super) left: Vec<Block>,
}

/// Why something was not written to the chain.
#[derive(Debug)]
pub(super) enum ChainError {
    /// One of its blocks failed, which is noted: the chain has to be begun anew elsewhere.
    BlockFailed,
    /// All else, which other blocks do not help against.
    Other(Error),
}

pub(super) type ChainResult<T> = core::result::Result<T, ChainError>;

impl From<Error> for ChainError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<FlashError> for ChainError {
    fn from(error: FlashError) -> Self {
        Self::Other(error.into())
    }
}

impl Chain {
    /// A chain that goes on in a pair of its own, whatever is left of the last one.
    pub(super) fn at_end_of_pair(layout: &Layout, pairs: Vec<Pair>, next: Option<Pair>) -> Self {
        Self {
            pair: [Block(0); 2],
            slot: layout.pages_per_block,
            half: false,
            upcoming: next.into_iter().collect(),
            pairs,
            left: Vec::new(),
        }
    }

    pub(super) fn next_pair(&self) -> NextPair {
        self.upcoming.front().map_or(NextPair::NONE, |[a, b]| NextPair(a.0, b.0))
    }
}

/// In how many blocks of the pair a page is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copies {
    Both,
    One,
}

/// What a page of the chain is.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChainPage {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) epoch: u32,
    pub(super) number: u64,
}

impl<H: FlashHardware> PageVolume<H> {
    /// Set two free blocks aside for the chain to go on in. Their erases are counted, and the log has to say so before they are
    /// done.
    pub(super) fn reserve_pair(&mut self, heat: Heat) -> Result<()> {
        if !self.has_pair() {
            return Err(self.no_free_block());
        }
        let wear = self.wear_of_levelled();
        let mut pair = [Block(0); 2];
        for slot in &mut pair {
            let free = match self.recovering {
                Some(_) => self.block_for_recovery(),
                None => gc::free_block(self.blocks.free(), heat, wear, self.announced.len()),
            };
            *slot = match free.or_else(|| self.take_doubtful()) {
                Some(block) => {
                    self.announce_erase(block);
                    block
                }
                // What was meant for data does as well, and its erase is counted already.
                None => self.announced.take_any().ok_or_else(|| self.no_free_block())?,
            };
            self.blocks.set_state(*slot, BlockState::Chain);
        }
        let pair = self.erased_first(pair)?;
        self.chain.upcoming.push_back(pair);
        Ok(())
    }

    /// Whether there are two blocks to be had.
    fn has_pair(&self) -> bool {
        self.free_count() + self.empty_doubtful().count() as u32 >= 2
    }

    /// The two blocks, the erased one first: beside an erased second block, page 0 of the first looks like a torn page of the log.
    pub(super) fn erased_first(&self, [a, b]: Pair) -> Result<Pair> {
        let swap = self.is_erased(b)? && !self.is_erased(a)?;
        Ok(if swap { [b, a] } else { [a, b] })
    }

    /// A block that holds what counts if the recovery is cut short: one that the last group of a log that was cut short emptied. The
    /// chain comes to those that are taken last, and mostly not before the checkpoint is in force.
    fn take_doubtful(&mut self) -> Option<Block> {
        let taken = self.empty_doubtful().next()?;
        self.doubtful.retain(|&block| block != taken);
        Some(taken)
    }

    fn empty_doubtful(&self) -> impl Iterator<Item = Block> + '_ {
        let in_recovery = self.recovering.is_some();
        self.doubtful.iter().copied().filter(move |&block| {
            let info = self.blocks.info(block);
            in_recovery
                && matches!(info.state, BlockState::Closed | BlockState::Listed)
                && info.live + info.staged == 0
        })
    }

    /// Append a page. `payload` makes its content, given the pair that the chain goes on in. Returns the page in the first block
    /// that holds it.
    pub(super) fn append_to_chain(
        &mut self,
        page: ChainPage,
        copies: Copies,
        payload: &dyn Fn(NextPair) -> Vec<u8>,
    ) -> ChainResult<Ppn> {
        if copies == Copies::One && self.chain.half {
            self.chain.half = false;
            let at = PageAddr { block: self.chain.pair[1], page: self.chain.slot - 1 };
            let payload = payload(self.chain.next_pair());
            return self.program_chain_page(page, at, &payload);
        }
        if self.chain.slot == self.layout.pages_per_block {
            self.turn_over()?;
        }
        let payload = payload(self.chain.next_pair());
        let slot = self.chain.slot;
        let [a, b] = self.chain.pair;
        let first = self.program_chain_page(page, PageAddr { block: a, page: slot }, &payload)?;
        if copies == Copies::Both {
            self.program_chain_page(page, PageAddr { block: b, page: slot }, &payload)?;
        }
        self.chain.slot = slot + 1;
        self.chain.half = copies == Copies::One;
        Ok(first)
    }

    pub(super) fn program_chain_page(
        &mut self,
        page: ChainPage,
        at: PageAddr,
        payload: &[u8],
    ) -> ChainResult<Ppn> {
        let bytes = self.chain_page(page, at, payload);
        self.hw.program(at, &bytes).map_err(|error| self.note_chain_failure(at.block, error))?;
        Ok(self.layout.address(at))
    }

    /// The bytes of a page of the chain, or of one that shows an erase count.
    pub(super) fn chain_page(&self, page: ChainPage, at: PageAddr, payload: &[u8]) -> Vec<u8> {
        let head = Head {
            kind: page.kind,
            flags: page.flags,
            volume: self.volume,
            epoch: page.epoch,
            number: page.number,
            address: self.layout.address(at).0,
            erases: self.blocks.erase_count(at.block),
        };
        seal(&head, payload, self.layout.page_size as usize)
    }

    /// A block of the chain that is not needed any more.
    pub(super) fn free_chain_block(&mut self, block: Block) -> Result<()> {
        match self.blocks.info(block).failing {
            true => self.retire(block),
            false => {
                self.blocks.set_state(block, BlockState::Free);
                Ok(())
            }
        }
    }

    fn note_chain_failure(&mut self, block: Block, error: FlashError) -> ChainError {
        if !error.is_block_failure() {
            return error.into();
        }
        self.blocks.info_mut(block).failing = true;
        ChainError::BlockFailed
    }

    pub(super) fn erase_chain_block(&mut self, block: Block) -> ChainResult<()> {
        self.tainted.remove(&block);
        erase(&mut self.hw, block).map_err(|error| self.note_chain_failure(block, error))
    }

    /// Go on in the next pair.
    pub(super) fn turn_over(&mut self) -> ChainResult<()> {
        let pair = self.chain.upcoming.pop_front().ok_or_else(|| self.no_free_block())?;
        self.chain.pairs.push(pair);
        for block in pair {
            // Of the two, power that goes finds one half erased at most: both would look as if what was in them were lost.
            self.hw.sync()?;
            self.erase_chain_block(block)?;
        }
        self.chain.pair = pair;
        self.chain.slot = 0;
        self.chain.half = false;
        if self.chain.upcoming.is_empty() {
            self.reserve_pair(Heat::Hot)?;
        }
        Ok(())
    }

    /// Pairs, so that `pages` more pages fit and one pair is left to go on in.
    pub(super) fn reserve_for(&mut self, pages: u32, heat: Heat) -> Result<()> {
        let here = self.layout.pages_per_block - self.chain.slot;
        let pairs = pages.saturating_sub(here).div_ceil(self.layout.pages_per_block) + 1;
        while (self.chain.upcoming.len() as u32) < pairs {
            let is_last = self.chain.upcoming.len() as u32 + 1 == pairs;
            if !(is_last && !self.has_pair() && self.go_on_where_it_left()?) {
                self.reserve_pair(heat)?;
            }
        }
        Ok(())
    }

    /// Where no other block is free: the chain comes to the last pair only after the checkpoint is in force, and then nothing
    /// counts on what it left.
    fn go_on_where_it_left(&mut self) -> Result<bool> {
        let [a, b] = self.chain.left[..] else { return Ok(false) };
        [a, b].into_iter().for_each(|block| self.announce_erase(block));
        let pair = self.erased_first([a, b])?;
        self.chain.upcoming.push_back(pair);
        Ok(true)
    }
}
