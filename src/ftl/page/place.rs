//! Filling data blocks: a block for each stream, page by page, closed by a summary.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::PageVolume;
use super::layout::Ppn;
use super::log::Group;
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware, PageAddr};
use crate::ftl::erase::erase;
use crate::ftl::gc::{self, Heat};
use crate::onflash::paged::StoredPage;
use crate::onflash::paged::head::{Head, Kind, seal};
use crate::onflash::paged::summary::{Summary, entries_per_page};
use crate::onflash::paged::tables::BlockState;

/// Blocks announced ahead of their use: as few as keep the log from having to be written for them.
const USUALLY_ANNOUNCED: usize = 4;
const FEW_ANNOUNCED: usize = 2;
/// The most, in a long transaction.
const MOST_ANNOUNCED: usize = 32;

/// Blocks that hold nothing, and of which the log says, or is about to say, that they may be erased; in the order of their use.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    hot: VecDeque<Block>,
    cold: VecDeque<Block>,
    /// How many were announced at once when the log had to be written for it.
    pub(super) burst: usize,
}

impl Announced {
    pub(super) fn none() -> Self {
        Self { hot: VecDeque::new(), cold: VecDeque::new(), burst: USUALLY_ANNOUNCED }
    }

    pub(super) fn pool(&mut self, heat: Heat) -> &mut VecDeque<Block> {
        match heat {
            Heat::Hot => &mut self.hot,
            Heat::Cold => &mut self.cold,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Block> {
        self.hot.iter().chain(&self.cold).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.hot.len() + self.cold.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn remove(&mut self, block: Block) {
        Heat::BOTH.into_iter().for_each(|heat| self.pool(heat).retain(|&other| other != block));
    }

    /// The block that would be used last.
    pub(super) fn take_any(&mut self) -> Option<Block> {
        self.cold.pop_back().or_else(|| self.hot.pop_back())
    }

    /// The transaction has ended.
    pub(super) fn calm(&mut self) {
        self.burst = USUALLY_ANNOUNCED;
    }
}

fn other(heat: Heat) -> Heat {
    if heat == Heat::Hot { Heat::Cold } else { Heat::Hot }
}

/// What the summaries on flash prove of what is committed.
#[derive(Clone, Debug, Default)]
pub(super) struct Proof {
    /// The block that was closed last: its summary states the highest host clock known to be committed.
    block: Option<Block>,
    clock: u64,
    /// Pages of closed blocks that no summary proves to be committed.
    pub(super) unproven: u64,
}

impl Proof {
    /// What is proven by the summary of `block`.
    pub(super) fn by(block: Option<Block>, clock: u64) -> Self {
        Self { block, clock, unproven: 0 }
    }

    /// The highest host clock that is proven to be committed.
    pub(super) fn clock(&self) -> u64 {
        self.clock
    }

    /// The block whose summary proves it.
    pub(super) fn block(&self) -> Option<Block> {
        self.block
    }

    pub(super) fn is_by(&self, block: Block) -> bool {
        self.block == Some(block)
    }

    /// `block` is given up, and its summary with it.
    pub(super) fn lose(&mut self, block: Block) {
        if self.is_by(block) {
            self.block = None;
            self.unproven = self.unproven.max(1);
        }
    }

    /// A block was closed; the one that was the proof until now, if there was one.
    fn closed(&mut self, block: Block, committed: u64, uncommitted: u64) -> Option<Block> {
        if committed != self.clock {
            self.unproven = 0;
        }
        self.unproven += uncommitted;
        self.clock = committed;
        self.block.replace(block)
    }
}

impl<H: FlashHardware> PageVolume<H> {
    /// Blocks that are being filled.
    pub(super) fn open_blocks(&self) -> impl Iterator<Item = Block> {
        self.open.iter().filter_map(|open| *open)
    }

    /// Program `data` into the next page of a stream.
    pub(super) fn append_data(&mut self, class: u8, stored: StoredPage, data: &[u8]) -> Result<Ppn> {
        loop {
            let block = self.open_block(class)?;
            let page = self.blocks.filled(block);
            let at = PageAddr { block, page };
            match self.hw.program(at, data) {
                Ok(()) => {
                    self.note_page(block, stored);
                    if page + 1 == self.layout.data_pages() {
                        self.close_block(class, block)?;
                    }
                    return Ok(self.layout.address(at));
                }
                Err(error) if error.is_block_failure() => self.give_up(block),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn note_page(&mut self, block: Block, stored: StoredPage) {
        let list = self.blocks.lists.entry(block).or_default();
        list.push(Some(stored));
        let pages = list.len() as u64;
        let info = self.blocks.info_mut(block);
        info.written = (info.written * (pages - 1) + stored.stamp) / pages;
    }

    /// A block that failed: it is emptied soon, and marked then.
    pub(super) fn give_up(&mut self, block: Block) {
        self.open.iter_mut().filter(|open| **open == Some(block)).for_each(|open| *open = None);
        self.blocks.info_mut(block).failing = true;
        self.failing = true;
        if self.blocks.info(block).live + self.blocks.info(block).staged == 0 {
            self.blocks.note_emptied(block);
        }
    }

    /// The block that a stream is being written to.
    fn open_block(&mut self, class: u8) -> Result<Block> {
        loop {
            if let Some(block) = self.open[usize::from(class)] {
                return Ok(block);
            }
            let block = self.take_announced(class)?;
            if self.erase_or_retire(block)? {
                self.blocks.set_state(block, BlockState::Listed);
                self.blocks.info_mut(block).class = class;
                self.blocks.lists.insert(block, Vec::new());
                self.open[usize::from(class)] = Some(block);
                return Ok(block);
            }
        }
    }

    /// The next block to be filled by a stream, of those of which the log says that they may be erased.
    fn take_announced(&mut self, class: u8) -> Result<Block> {
        let heat = Heat::of_class(class, self.layout.classes);
        loop {
            // Whatever there is, before the log has to be written for it.
            for heat in [heat, other(heat)] {
                let pool = self.announced.pool(heat);
                if pool.front().is_some_and(|block| !self.pending.erases.contains(block)) {
                    return pool.pop_front().ok_or_else(|| self.no_free_block());
                }
            }
            self.announced.burst = (2 * self.announced.burst).min(MOST_ANNOUNCED);
            self.announce(heat, self.announced.burst);
            if self.announced.is_empty() {
                return Err(self.no_free_block());
            }
            self.write_group(Group::Pending)?;
        }
    }

    /// Announce blocks ahead of their use, where few are left.
    pub(super) fn announce_blocks(&mut self) {
        for heat in Heat::BOTH {
            if self.announced.pool(heat).len() <= FEW_ANNOUNCED {
                self.announce(heat, USUALLY_ANNOUNCED);
            }
        }
    }

    fn announce(&mut self, heat: Heat, wanted: usize) {
        let wear = self.wear_of_levelled();
        let wanted = wanted.min(self.blocks.free().len() / 4 + 1);
        while self.announced.pool(heat).len() < wanted {
            let waiting = self.announced.pool(heat).len();
            let choice = gc::free_block(self.blocks.free(), heat, wear, waiting);
            // A long transaction cannot be choosy.
            let any = || {
                gc::free_block(self.blocks.free(), Heat::Hot, wear, 0).filter(|_| wanted > USUALLY_ANNOUNCED)
            };
            let Some(block) = choice.or_else(any) else { return };
            self.blocks.set_state(block, BlockState::Announced);
            self.announced.pool(heat).push_back(block);
            self.announce_erase(block);
        }
    }

    /// The erase counts of the blocks that take part in levelling.
    pub(super) fn levelled_counts(&self) -> impl Iterator<Item = u32> + '_ {
        let levelled = self.blocks.iter().filter(|&block| self.takes_part_in_levelling(block));
        levelled.map(|block| self.blocks.erase_count(block))
    }

    /// How worn these are.
    pub(super) fn wear_of_levelled(&self) -> gc::Wear {
        let (mut sum, mut count) = (0, 0);
        for erases in self.levelled_counts() {
            sum += u64::from(erases);
            count += 1;
        }
        gc::Wear { mean: sum.checked_div(count).unwrap_or(0) as u32, threshold: self.wear.threshold }
    }

    /// See that a summary states what is committed by now, so that a rebuild from summaries alone can tell: close a block early.
    pub(super) fn prove_commit(&mut self) -> Result<()> {
        let class =
            (0..self.layout.classes).find(|&class| self.open[usize::from(class)].is_some()).unwrap_or(0);
        let block = self.open_block(class)?;
        self.close_early(class, block)
    }

    /// Close a block before it is full.
    pub(super) fn close_early(&mut self, class: u8, block: Block) -> Result<()> {
        if let Some(list) = self.blocks.lists.get_mut(&block) {
            list.resize(self.layout.data_pages() as usize, None);
        }
        self.close_block(class, block)
    }

    /// Close a block whose pages are filled.
    fn close_block(&mut self, class: u8, block: Block) -> Result<()> {
        let pages = self.blocks.lists.get(&block).cloned().unwrap_or_default();
        let per_page = entries_per_page(self.layout.page_size) as usize;
        for (i, part) in pages.chunks(per_page).enumerate() {
            let at = PageAddr { block, page: self.layout.data_pages() + i as u32 };
            let head = Head {
                kind: Kind::Summary,
                flags: i as u8,
                volume: self.volume,
                epoch: self.sequence as u32,
                number: self.committed_clock,
                address: self.layout.address(at).0,
                erases: self.blocks.erase_count(block),
            };
            let summary = Summary { logical_len: self.len, class, pages: part.to_vec() };
            let page = seal(&head, &summary.encode(), self.layout.page_size as usize);
            match self.hw.program(at, &page) {
                Ok(()) => {}
                Err(error) if error.is_block_failure() => {
                    self.give_up(block);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.open[usize::from(class)] = None;
        let uncommitted = pages.iter().flatten().filter(|stored| stored.stamp > self.committed_clock).count();
        if let Some(before) = self.proof.closed(block, self.committed_clock, uncommitted as u64) {
            self.blocks.note_emptied(before);
        }
        if uncommitted > 0 {
            self.to_confirm.insert(block);
        }
        let now = self.clock;
        self.blocks.set_state(block, BlockState::Closed);
        self.blocks.info_mut(block).closed = now;
        let info = self.blocks.info(block);
        if info.live + info.staged == 0 {
            self.blocks.note_emptied(block);
        }
        Ok(())
    }

    /// Erase a block of which the log says that it may be; whether that was done. One that failed is bad from now on.
    pub(super) fn erase_or_retire(&mut self, block: Block) -> Result<bool> {
        let erased = erase(&mut self.hw, block);
        self.tainted.remove(&block);
        self.to_confirm.remove(&block);
        self.or_bad(block, erased)
    }

    /// The same for several, of which the log is told first.
    pub(super) fn announce_and_erase(&mut self, blocks: &[Block]) -> Result<()> {
        blocks.iter().for_each(|&block| self.announce_erase(block));
        self.write_group(Group::Erases)?;
        blocks.iter().try_for_each(|&block| self.erase_or_retire(block).map(drop))
    }

    /// Whether an operation on a block that holds nothing was done; a block that failed is bad from now on.
    pub(super) fn or_bad(
        &mut self,
        block: Block,
        done: core::result::Result<(), FlashError>,
    ) -> Result<bool> {
        match done {
            Ok(()) => Ok(true),
            Err(error) if error.is_block_failure() => self.retire(block).map(|()| false),
            Err(error) => Err(error.into()),
        }
    }

    /// Give up a block that holds nothing that counts: in the table, and on the chip if it still takes a mark.
    pub(super) fn retire(&mut self, block: Block) -> Result<()> {
        self.blocks.set_state(block, BlockState::Bad);
        self.pending.bad.push(block);
        match self.hw.mark_bad(block) {
            Err(error) if !error.is_block_failure() => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn no_free_block(&self) -> Error {
        let good = self.layout.blocks - self.blocks.bad_count();
        Error::NoFreeBlock { good, in_use: good - self.free_count() }
    }

    /// Blocks that hold nothing, announced ones included.
    pub(super) fn free_count(&self) -> u32 {
        (self.blocks.free().len() + self.announced.len()) as u32
    }
}
