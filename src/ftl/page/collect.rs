//! Garbage collection: making room by moving what still counts together; and static wear levelling, which moves what never
//! changes.

use alloc::vec;
use alloc::vec::Vec;

use super::PageVolume;
use super::chain::ChainError;
use super::io::read_metadata;
use super::layout::{Layout, Lpn, Ppn};
use super::log::Group;
use super::map::physical;
use super::stage::Change;
use crate::error::Result;
use crate::flash::{Block, FlashError, FlashHardware, PageAddr};
use crate::ftl::gc;
use crate::onflash::paged::head::{Head, Kind, open};
use crate::onflash::paged::log::{Written, room};
use crate::onflash::paged::map::MapEntry;
use crate::onflash::paged::summary::Summary;
use crate::onflash::paged::tables::BlockState;
use crate::onflash::paged::{MAX_CLOCK, StoredPage};

/// The most blocks that are emptied before the log says so.
const MOST_COMING: u32 = 4;

/// What is collected may just make up for what the log takes to say so; a checkpoint makes the log short again.
const TRIES_FOR_ROOM: u32 = 4;

/// Blocks closed by one transaction that are worth a block closed early, to prove that it was committed.
const UNPROVEN_BLOCKS: u32 = 16;

/// The most blocks that levelling moves at once.
const MOVES_A_CHECK: u64 = 4;

/// The most bytes that a page of the host takes in the log.
const WRITTEN_LEN: usize = 12;

/// The pages of a block, with what each was written to hold.
type Contents = Vec<(u32, StoredPage)>;

impl<H: FlashHardware> PageVolume<H> {
    /// Free blocks at which garbage collection begins.
    fn low_watermark(&self) -> u32 {
        self.floor_now() + 2
    }

    /// What must stay free now: the floor once the log has taken what is staged. Should the power go then, what that commit emptied
    /// is no use to the checkpoint of the recovery.
    fn floor_now(&self) -> u32 {
        let pages = (WRITTEN_LEN * self.staged.changes.len()) / room(self.layout.page_size);
        self.layout.floor() + 2 * (pages as u32 / self.layout.pages_per_block)
    }

    /// Make room for a page of the host; whether there is.
    pub(super) fn make_room(&mut self) -> Result<bool> {
        for _ in 0..TRIES_FOR_ROOM {
            if self.try_to_make_room()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn try_to_make_room(&mut self) -> Result<bool> {
        if self.failing {
            self.empty_failing_blocks()?;
        }
        self.end_long_log()?;
        while self.free_count() + self.coming <= self.low_watermark() {
            if self.count_emptied() > self.coming {
                // What was given up, not collected, is free for nothing.
                self.write_group(Group::Pending)?;
                continue;
            }
            let tight = self.free_count() + self.coming < self.floor_now();
            if !self.collect_next(tight)? {
                break;
            }
            // What is coming is no use to a chain that fails.
            if tight || self.coming >= MOST_COMING || self.free_count() < self.floor_now() {
                self.write_group(Group::Pending)?;
                self.end_long_log()?;
            }
        }
        if self.coming > 0 && self.free_count() <= self.floor_now() {
            self.write_group(Group::Pending)?;
        }
        if self.free_count() <= self.floor_now() && self.chain_is_long() {
            self.checkpoint()?;
        }
        Ok(self.free_count() > self.floor_now())
    }

    fn count_emptied(&self) -> u32 {
        let stay = self.blocks_that_stay();
        self.blocks.emptied(|block| stay.contains(&block)).len() as u32
    }

    /// Whether a checkpoint would leave the chain shorter.
    fn chain_is_long(&self) -> bool {
        self.chain.pairs.len() as u32 > self.layout.checkpoint_pairs() + 1
    }

    /// Collect the block that is best collected; whether there was one.
    pub(super) fn collect_next(&mut self, tight: bool) -> Result<bool> {
        let open: Vec<Block> = self.open_blocks().collect();
        let candidates = self.blocks.candidates(|block| open.contains(&block));
        let full = self.layout.data_pages();
        let Some(victim) = gc::victim(candidates, full, self.clock, tight) else { return Ok(false) };
        self.collect(victim)?;
        Ok(true)
    }

    /// Move all that counts out of a block.
    pub(super) fn collect(&mut self, block: Block) -> Result<()> {
        let info = self.blocks.info(block);
        let class = self.streams().class_of_survivor(info.class, info.written);
        self.collect_into(block, class)
    }

    fn collect_into(&mut self, block: Block, class: u8) -> Result<()> {
        // Near the end of room all goes into one block.
        let class = if self.free_count() + self.coming < self.layout.floor() { 0 } else { class };
        if let Some(contents) = self.contents(block)? {
            self.move_pages(block, &contents, class)?;
        }
        let left = |volume: &Self| volume.blocks.info(block).live + volume.blocks.info(block).staged;
        if left(self) > 0 {
            // Its summary does not tell all: the map does.
            let contents = self.contents_by_map(block)?;
            self.move_pages(block, &contents, class)?;
            self.blocks.clear_live(block);
        }
        self.blocks.note_emptied(block);
        self.coming += 1;
        Ok(())
    }

    /// What a block holds according to its list or its summary; `None` where neither can be read.
    pub(super) fn contents(&self, block: Block) -> Result<Option<Contents>> {
        if let Some(list) = self.blocks.lists.get(&block) {
            let pages = (0..).zip(list).filter_map(|(page, stored)| Some((page, (*stored)?)));
            return Ok(Some(pages.collect()));
        }
        let summary = read_summary(&self.hw, &self.layout, self.volume, block)?;
        Ok(summary.map(|summary| summary.contents))
    }

    /// What the map says that a block holds.
    fn contents_by_map(&mut self, block: Block) -> Result<Contents> {
        let mut contents = Vec::new();
        for logical in self.layout.iter_logical() {
            for entry in [self.map.fetch(&self.hw, logical)?, self.lookup(logical)?] {
                if let MapEntry::At { crc, .. } = entry
                    && let Some(page) = physical(entry, &self.layout)
                    && self.layout.block_of(page) == block
                {
                    let page = self.layout.page_addr(page).page;
                    contents
                        .push((page, StoredPage { logical: logical.0, crc, stamp: self.committed_clock }));
                }
            }
        }
        Ok(contents)
    }

    fn move_pages(&mut self, block: Block, contents: &Contents, class: u8) -> Result<()> {
        let mut data = vec![0; self.layout.page_size as usize];
        for &(page, stored) in contents {
            let info = self.blocks.info(block);
            if info.live + info.staged == 0 {
                break;
            }
            let logical = Lpn(stored.logical);
            if logical.0 >= self.layout.capacity_pages {
                continue;
            }
            let at = PageAddr { block, page };
            let from = self.layout.address(at);
            let staged = self.staged.changes.get(&logical).copied();
            if let Some(Change::At { page, crc, stamp }) = staged
                && page == from
            {
                self.hw.read_pages(at, &mut data)?;
                let to = self.append_data(class, StoredPage { logical: logical.0, crc, stamp }, &data)?;
                self.blocks.info_mut(self.layout.block_of(to)).staged += 1;
                self.remap(logical, Change::At { page: to, crc, stamp });
                continue;
            }
            match self.map.fetch(&self.hw, logical)? {
                MapEntry::At { address, crc } if address == from.0 => {
                    self.move_committed(from, StoredPage { crc, ..stored }, class, &mut data)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Move a page that the map points to. The CRC that belongs to it goes with it, whatever its bytes are now.
    fn move_committed(&mut self, from: Ppn, stored: StoredPage, class: u8, data: &mut [u8]) -> Result<()> {
        let at = self.layout.page_addr(from);
        let logical = Lpn(stored.logical);
        match self.hw.read_pages(at, data) {
            Ok(()) => {
                // This may write the log, which must know of the move that brought it here.
                let to = self.append_data(class, stored, data)?;
                let known = self.take_back_move(from);
                self.blocks.add_live(self.layout.block_of(to));
                let written = Written { logical: logical.0, crc: stored.crc, old: known };
                self.pending.moves.insert(to, written);
                self.map.set(logical, MapEntry::At { address: to.0, crc: stored.crc });
            }
            Err(FlashError::Unreadable { .. }) => {
                let known = self.take_back_move(from);
                self.pending.lost.insert(logical, Ppn(known));
                self.map.set(logical, MapEntry::Lost);
            }
            Err(error) => return Err(error.into()),
        }
        self.blocks.drop_live(at.block);
        Ok(())
    }

    /// Where the page that lies at `from` lay according to the log; a move to there is not to be logged any more.
    fn take_back_move(&mut self, from: Ppn) -> u32 {
        self.pending.moves.remove(&from).map_or(from.0, |written| written.old)
    }

    /// Empty the blocks that failed, and give them up.
    pub(super) fn empty_failing_blocks(&mut self) -> Result<()> {
        while let Some(block) = self.next_failing() {
            self.collect(block)?;
            self.write_group(Group::Pending)?;
            // One that held nothing is not released by what was written.
            self.release_emptied()?;
            self.end_long_log()?;
        }
        self.failing = false;
        self.write_group(Group::Pending)
    }

    fn next_failing(&self) -> Option<Block> {
        self.blocks.iter().find(|&block| {
            let info = self.blocks.info(block);
            info.failing && matches!(info.state, BlockState::Closed | BlockState::Listed)
        })
    }

    /// Erase the blocks whose summaries name pages that were never committed: a rebuild could not tell them from others once the
    /// host clock has gone on.
    pub(super) fn purge_tainted(&mut self) -> Result<()> {
        for block in self.tainted.clone() {
            if self.tainted.contains(&block) {
                self.purge(block)?;
                self.end_long_log()?;
            }
        }
        Ok(())
    }

    fn purge(&mut self, block: Block) -> Result<()> {
        if self.proof.block() == Some(block) {
            self.prove_commit()?;
        }
        if matches!(self.blocks.state(block), BlockState::Closed | BlockState::Listed) {
            self.collect(block)?;
            self.write_group(Group::Pending)?;
            self.release_emptied()?;
        }
        match self.blocks.state(block) {
            BlockState::Free => {
                // Not among those that may be taken before it is erased.
                self.blocks.set_state(block, BlockState::Announced);
                self.announce_erase(block);
            }
            BlockState::Announced => self.announced.remove(block),
            BlockState::Bad => {
                self.tainted.remove(&block);
                return Ok(());
            }
            BlockState::Chain => return self.purge_ahead_of_chain(block),
            _ => return Ok(()),
        }
        if self.pending.erases.contains(&block) {
            self.write_group(Group::Pending)?;
        }
        if self.erase_or_retire(block)? {
            self.blocks.set_state(block, BlockState::Free);
        }
        Ok(())
    }

    /// A block that the chain will go on in, and erase once more when it does.
    fn purge_ahead_of_chain(&mut self, block: Block) -> Result<()> {
        if self.pending.erases.contains(&block) {
            self.write_group(Group::Pending)?;
        }
        let is_ahead = self.chain.upcoming.iter().flatten().any(|&other| other == block);
        // That may have brought the chain to it, or to others.
        if !is_ahead || !self.tainted.contains(&block) {
            return Ok(());
        }
        // As where the chain turns over: of the two blocks of a pair, one is half erased at most.
        self.hw.sync()?;
        match self.erase_chain_block(block) {
            Ok(()) => {}
            Err(ChainError::BlockFailed) => return self.begin_chain_anew(),
            Err(ChainError::Other(error)) => return Err(error),
        }
        self.announce_erase(block);
        Ok(())
    }

    /// What is due after a commit: a checkpoint, wear levelling.
    pub(super) fn tidy_up(&mut self) -> Result<()> {
        if self.failing {
            self.empty_failing_blocks()?;
        }
        self.level()?;
        if self.proof.unproven >= u64::from(UNPROVEN_BLOCKS * self.layout.data_pages()) {
            self.prove_commit()?;
        }
        self.end_long_log()
    }

    /// Static levelling: move what never changes off blocks that are hardly worn, one block for each interval of erases.
    pub(super) fn level(&mut self) -> Result<()> {
        let now = self.blocks.total_erases();
        let before = core::mem::replace(&mut self.levelled_at, now);
        let interval = self.wear.interval.max(1);
        for _ in 0..(now / interval - before / interval).min(MOVES_A_CHECK) {
            if self.free_count() <= self.layout.floor() {
                return Ok(());
            }
            let wear = self.wear_of_levelled();
            self.close_lagging(wear)?;
            let open: Vec<Block> = self.open_blocks().collect();
            let candidates = self.blocks.candidates(|block| open.contains(&block));
            let Some(block) = gc::block_to_level(candidates, wear, self.levelled_counts()) else {
                return Ok(());
            };
            // The blocks of the coldest stream are the most worn ones.
            self.collect_into(block, 0)?;
        }
        Ok(())
    }

    /// Blocks of streams that are hardly written to lag behind, too.
    fn close_lagging(&mut self, wear: gc::Wear) -> Result<()> {
        for class in 0..self.layout.classes {
            if let Some(block) = self.open[usize::from(class)]
                && wear.lags(self.blocks.erase_count(block), self.levelled_counts())
            {
                self.close_early(class, block)?;
            }
        }
        Ok(())
    }

    /// What the streams go by now.
    pub(super) fn streams(&self) -> gc::Streams {
        gc::Streams { classes: self.layout.classes, clock: self.clock, mapped: self.mapped_pages() }
    }

    pub(super) fn takes_part_in_levelling(&self, block: Block) -> bool {
        !matches!(self.blocks.state(block), BlockState::Bad | BlockState::Zone)
    }
}

/// A block's summary, put together.
#[derive(Clone, Debug)]
pub(super) struct BlockSummary {
    pub(super) contents: Contents,
    pub(super) class: u8,
    pub(super) erases: u32,
    pub(super) committed_clock: u64,
    pub(super) logical_len: u64,
    pub(super) epoch: u32,
}

/// The summary of a block; `None` where it has none that is whole.
pub(super) fn read_summary<H: FlashHardware + ?Sized>(
    hw: &H,
    layout: &Layout,
    volume: u32,
    block: Block,
) -> Result<Option<BlockSummary>> {
    let mut pages = Vec::new();
    for at in layout.summary_places(block) {
        match read_metadata(hw, at)?.of(Kind::Summary, volume, layout.address(at).0) {
            Some(page) => pages.push(page),
            None => return Ok(None),
        }
    }
    Ok(put_together(layout, &pages))
}

/// The summary in all bytes of a block.
pub(super) fn summary_in(layout: &Layout, volume: u32, block: Block, bytes: &[u8]) -> Option<BlockSummary> {
    let mut pages = Vec::new();
    for at in layout.summary_places(block) {
        let from = at.page as usize * layout.page_size as usize;
        let (head, payload) = open(bytes.get(from..from + layout.page_size as usize)?).ok()?;
        head.expect(Kind::Summary, volume, layout.address(at).0).ok()?;
        pages.push((head, payload.to_vec()));
    }
    put_together(layout, &pages)
}

fn put_together(layout: &Layout, pages: &[(Head, Vec<u8>)]) -> Option<BlockSummary> {
    let (first, _) = pages.first()?;
    let mut whole = BlockSummary {
        contents: Vec::new(),
        class: 0,
        erases: first.erases,
        committed_clock: first.number,
        logical_len: 0,
        epoch: first.epoch,
    };
    let mut next = 0;
    for (head, payload) in pages {
        // All parts are written at once, and no host clock goes that far.
        if (head.erases, head.number) != (first.erases, first.number) || head.number > MAX_CLOCK {
            return None;
        }
        let summary = Summary::decode(payload).ok()?;
        whole.class = summary.class.min(layout.classes - 1);
        whole.logical_len = summary.logical_len;
        for stored in summary.pages {
            whole.contents.extend(stored.map(|stored| (next, stored)));
            next += 1;
        }
    }
    (next <= layout.data_pages()).then_some(whole)
}
