//! The block table in RAM: what each block is used for, how worn it is, and how many of its pages count.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use super::layout::Layout;
use crate::flash::Block;
use crate::ftl::gc::Candidate;
use crate::onflash::paged::StoredPage;
use crate::onflash::paged::tables::{BlockRow, BlockState, BlockTable, PageList};

/// What a page of a block without a summary holds; `None` for what does not count.
pub(super) type Pages = Vec<Option<StoredPage>>;

/// What is known of one block, but for its erase count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    pub(super) state: BlockState,
    pub(super) class: u8,
    /// Pages that the map points to.
    pub(super) live: u32,
    /// Pages that staged changes point to.
    pub(super) staged: u32,
    /// The mean host clock at which its pages were written.
    pub(super) written: u64,
    /// The host clock when it was closed.
    pub(super) closed: u64,
    /// An operation on it failed: it is to be emptied and marked.
    pub(super) failing: bool,
}

const UNUSED: Info =
    Info { state: BlockState::Free, class: 0, live: 0, staged: 0, written: 0, closed: 0, failing: false };

/// Units of the stamps in the table on flash.
const STAMP_UNIT: u64 = 64;

#[derive(Clone, Debug)]
pub(super) struct Blocks {
    info: Vec<Info>,
    erases: Vec<u32>,
    /// Free blocks by erase count.
    free: BTreeSet<(u32, Block)>,
    /// Pages of blocks that have no summary.
    pub(super) lists: BTreeMap<Block, Pages>,
    /// Blocks that may have lost their last live page since the log was last written.
    emptied: Vec<Block>,
    /// Nothing says durably yet that they are empty.
    emptied_held: bool,
    /// The sum of all live pages, and of all erase counts.
    mapped: u64,
    total_erases: u64,
    /// How many are bad.
    bad: u32,
}

impl Blocks {
    /// All blocks free, none of them ever erased; those of the anchor zone apart.
    pub(super) fn new(layout: &Layout) -> Self {
        let mut blocks = Self {
            info: vec![UNUSED; layout.blocks as usize],
            erases: vec![0; layout.blocks as usize],
            free: (0..layout.blocks).map(|b| (0, Block(b))).collect(),
            lists: BTreeMap::new(),
            emptied: Vec::new(),
            emptied_held: false,
            mapped: 0,
            total_erases: 0,
            bad: 0,
        };
        (0..layout.zone_blocks).for_each(|b| blocks.set_state(Block(b), BlockState::Zone));
        blocks
    }

    /// The table on flash; `None` where it is not made for this chip.
    pub(super) fn from_table(table: BlockTable, layout: &Layout) -> Option<Self> {
        if table.rows.len() != layout.blocks as usize {
            return None;
        }
        let mut blocks = Self::new(layout);
        for (block, row) in (0..).map(Block).zip(&table.rows) {
            let in_zone = block.0 < layout.zone_blocks;
            let state = match row.state {
                BlockState::Bad => BlockState::Bad,
                _ if in_zone => BlockState::Zone,
                BlockState::Zone => BlockState::Free,
                state => state,
            };
            blocks.set_erases(block, row.erases);
            blocks.set_state(block, state);
            let info = &mut blocks.info[block.index()];
            info.class = row.class.min(layout.classes - 1);
            info.live = u32::from(row.live);
            blocks.mapped += u64::from(row.live);
            let info = &mut blocks.info[block.index()];
            info.written = u64::from(row.written) * STAMP_UNIT;
            info.closed = u64::from(row.closed) * STAMP_UNIT;
        }
        for list in table.lists {
            let known = list.block < layout.blocks && list.pages.len() <= layout.data_pages() as usize;
            if !known || blocks.state(Block(list.block)) != BlockState::Listed {
                return None;
            }
            blocks.lists.insert(Block(list.block), list.pages);
        }
        let listed = blocks.iter().filter(|&b| blocks.state(b) == BlockState::Listed);
        let all_there = listed.count() == blocks.lists.len();
        all_there.then_some(blocks)
    }

    /// The table for flash. Of pages that were written after host clock `committed` it tells nothing: should the power go before
    /// they are committed, other pages get their stamps, and a rebuild could not tell them from those.
    pub(super) fn to_table(&self, committed: u64) -> BlockTable {
        let stamp = |clock: u64| u32::try_from(clock / STAMP_UNIT).unwrap_or(u32::MAX);
        let row = |(info, &erases): (&Info, &u32)| BlockRow {
            state: info.state,
            class: info.class,
            live: info.live as u16,
            erases,
            written: stamp(info.written),
            closed: stamp(info.closed),
        };
        let known = |stored: &Option<StoredPage>| stored.filter(|stored| stored.stamp <= committed);
        let list = |(&block, pages): (&Block, &Pages)| PageList {
            block: block.0,
            pages: pages.iter().map(known).collect(),
        };
        BlockTable {
            rows: self.info.iter().zip(&self.erases).map(row).collect(),
            lists: self.lists.iter().map(list).collect(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Block> + use<> {
        (0..self.info.len() as u32).map(Block)
    }

    pub(super) fn info(&self, block: Block) -> &Info {
        &self.info[block.index()]
    }

    pub(super) fn info_mut(&mut self, block: Block) -> &mut Info {
        &mut self.info[block.index()]
    }

    pub(super) fn state(&self, block: Block) -> BlockState {
        self.info[block.index()].state
    }

    /// Give a block another use. What is no longer in use holds nothing; a bad block is never free again.
    pub(super) fn set_state(&mut self, block: Block, state: BlockState) {
        let key = (self.erase_count(block), block);
        let before = self.state(block);
        if before == BlockState::Bad && state == BlockState::Free {
            return;
        }
        if before == BlockState::Free {
            self.free.remove(&key);
        }
        self.bad += u32::from(state == BlockState::Bad);
        self.bad -= u32::from(before == BlockState::Bad);
        let info = &mut self.info[block.index()];
        info.state = state;
        if state == BlockState::Free {
            self.free.insert(key);
            self.mapped -= u64::from(info.live);
            *info = UNUSED;
        }
        if state != BlockState::Listed {
            self.lists.remove(&block);
        }
    }

    pub(super) fn erases(&self) -> &[u32] {
        &self.erases
    }

    pub(super) fn erase_count(&self, block: Block) -> u32 {
        self.erases[block.index()]
    }

    fn set_erases(&mut self, block: Block, erases: u32) {
        let free = self.free.remove(&(self.erase_count(block), block));
        self.total_erases += u64::from(erases);
        self.total_erases -= u64::from(core::mem::replace(&mut self.erases[block.index()], erases));
        if free {
            self.free.insert((erases, block));
        }
    }

    /// Count an erase that is about to be done, or may have been.
    pub(super) fn count_erase(&mut self, block: Block) {
        self.set_erases(block, self.erase_count(block).saturating_add(1));
    }

    /// That the block was erased at least so often.
    pub(super) fn at_least(&mut self, block: Block, erases: u32) {
        self.set_erases(block, self.erase_count(block).max(erases));
    }

    pub(super) fn free(&self) -> &BTreeSet<(u32, Block)> {
        &self.free
    }

    /// One more page of `block` is current.
    pub(super) fn add_live(&mut self, block: Block) {
        self.info[block.index()].live += 1;
        self.mapped += 1;
    }

    /// One page of `block` is no longer current.
    pub(super) fn drop_live(&mut self, block: Block) {
        let info = &mut self.info[block.index()];
        self.mapped -= u64::from(info.live.min(1));
        info.live = info.live.saturating_sub(1);
        self.note_if_empty(block);
    }

    pub(super) fn drop_staged(&mut self, block: Block) {
        let info = &mut self.info[block.index()];
        info.staged = info.staged.saturating_sub(1);
        self.note_if_empty(block);
    }

    /// A block may have become empty.
    pub(super) fn note_emptied(&mut self, block: Block) {
        self.emptied.push(block);
    }

    fn note_if_empty(&mut self, block: Block) {
        let info = &self.info[block.index()];
        if info.live + info.staged == 0 {
            self.emptied.push(block);
        }
    }

    /// The blocks that hold data, are not being filled, and of which no page counts any more. Only when all that emptied them is
    /// durable may they be used for something else.
    pub(super) fn take_emptied(&mut self, is_open: impl Fn(Block) -> bool) -> Vec<Block> {
        if self.emptied_held {
            return Vec::new();
        }
        let emptied = self.emptied(is_open);
        self.emptied.clear();
        emptied
    }

    /// Let blocks that become empty stay as they are, until that is durable.
    pub(super) fn hold_emptied(&mut self, held: bool) {
        self.emptied_held = held;
    }

    /// The same, which stay where they are.
    pub(super) fn emptied(&self, is_open: impl Fn(Block) -> bool) -> Vec<Block> {
        let mut emptied = self.emptied.clone();
        emptied.sort_unstable();
        emptied.dedup();
        emptied.retain(|&block| {
            let info = self.info(block);
            let holds_data = matches!(info.state, BlockState::Closed | BlockState::Listed);
            holds_data && info.live + info.staged == 0 && !is_open(block)
        });
        emptied
    }

    /// Pages of a block without a summary that have been filled: the page that is filled next.
    pub(super) fn filled(&self, block: Block) -> u32 {
        self.lists.get(&block).map_or(0, Vec::len) as u32
    }

    /// Blocks that garbage collection may take, as it sees them.
    pub(super) fn candidates(&self, is_open: impl Fn(Block) -> bool) -> impl Iterator<Item = Candidate> {
        self.iter().filter_map(move |block| {
            let info = self.info(block);
            let holds_data = matches!(info.state, BlockState::Closed | BlockState::Listed);
            (holds_data && info.live + info.staged > 0 && !is_open(block)).then(|| Candidate {
                block,
                live: info.live + info.staged,
                closed: info.closed,
                erases: self.erase_count(block),
                first: info.state == BlockState::Listed,
            })
        })
    }

    /// The block that was closed last.
    pub(super) fn closed_last(&self) -> Option<Block> {
        let closed = self.iter().filter(|&block| self.state(block) == BlockState::Closed);
        closed.max_by_key(|&block| self.info(block).closed)
    }

    pub(super) fn bad(&self) -> impl Iterator<Item = Block> {
        self.iter().filter(|&b| self.state(b) == BlockState::Bad)
    }

    /// Logical pages that are stored.
    pub(super) fn mapped(&self) -> u64 {
        self.mapped
    }

    /// The sum of all erase counts.
    pub(super) fn total_erases(&self) -> u64 {
        self.total_erases
    }

    /// No page of `block` is current, whatever was counted.
    pub(super) fn clear_live(&mut self, block: Block) {
        let info = &mut self.info[block.index()];
        self.mapped -= u64::from(info.live);
        (info.live, info.staged) = (0, 0);
    }

    pub(super) fn bad_count(&self) -> u32 {
        self.bad
    }

    /// Blocks that failed and are not given up yet.
    pub(super) fn failing_count(&self) -> u32 {
        let failing = |block| self.info(block).failing && self.state(block) != BlockState::Bad;
        self.iter().filter(|&block| failing(block)).count() as u32
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests know their layouts")]
mod tests {
    use super::*;
    use crate::flash::Geometry;

    fn small_layout() -> Layout {
        let geometry = Geometry::new(256, 0, 2048, 64).expect("a geometry");
        Layout::of_chip(&geometry).and_then(|chip| chip.with_capacity(0, 7)).expect("a layout")
    }

    #[test]
    fn a_table_that_contradicts_itself_is_none() {
        let layout = small_layout();
        let mut blocks = Blocks::new(&layout);
        blocks.set_state(Block(9), BlockState::Listed);
        blocks.lists.insert(Block(9), vec![None; layout.data_pages() as usize]);
        let table = blocks.to_table(0);
        let changed = |change: fn(&mut BlockTable)| {
            let mut table = table.clone();
            change(&mut table);
            Blocks::from_table(table, &layout)
        };
        assert!(changed(|_| {}).is_some());
        assert!(changed(|table| table.rows.truncate(63)).is_none());
        assert!(changed(|table| table.lists[0].pages.push(None)).is_none());
        assert!(changed(|table| table.lists[0].block = 64).is_none());
        assert!(changed(|table| table.lists[0].block = 10).is_none());
        assert!(changed(|table| table.lists.clear()).is_none());
    }

    #[test]
    fn a_bad_block_stays_bad() {
        let layout = small_layout();
        let mut blocks = Blocks::new(&layout);
        blocks.set_state(Block(9), BlockState::Bad);
        blocks.set_state(Block(9), BlockState::Free);
        assert_eq!(blocks.state(Block(9)), BlockState::Bad);
        assert!(!blocks.free().contains(&(0, Block(9))));
    }
}
