//! The numbers that follow from a chip's geometry and from what a volume was formatted with. Pure arithmetic.

use core::fmt;

use crate::flash::{Block, Geometry, PageAddr};
use crate::onflash::paged::tables::{self, BlockTable, Directory};
use crate::onflash::paged::{log, map, summary};

/// A logical page: the unit that is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lpn(pub u32);

/// A physical page: block x pages a block + page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ppn(pub u32);

impl fmt::Display for Lpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "logical page {}", self.0)
    }
}

/// Sizes and places of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Data bytes a page.
    pub page_size: u32,
    /// Pages an erase block.
    pub pages_per_block: u32,
    /// Erase blocks.
    pub blocks: u32,
    /// Blocks of the anchor zone, from block 0 on.
    pub zone_blocks: u32,
    /// Pages of a data block's summary: its last ones.
    pub summary_pages: u32,
    /// Streams that data is kept apart in.
    pub classes: u8,
    /// Logical pages that can be written.
    pub capacity_pages: u32,
    /// Blocks that may be bad before the capacity is at stake.
    pub reserve_blocks: u32,
}

/// The least page size: an anchor must fit.
pub(super) const MIN_PAGE_SIZE: u32 = 256;
/// The largest page size: a payload's length has 16 bits.
pub(super) const MAX_PAGE_SIZE: u32 = 32_768;
/// The most pages a block.
pub(super) const MAX_PAGES_PER_BLOCK: u32 = 16_384;
/// The most streams: a class has four bits, and more than this gain nothing.
pub(super) const MAX_CLASSES: u8 = 8;

/// Pages that the log may take while a checkpoint is made ready.
pub(super) const LOG_PAGES_BEFORE: u32 = 3;

impl Layout {
    /// The layout for a chip, but for capacity and reserve; `None` where a block has no room for data and its summary, or a
    /// number is out of range.
    #[must_use]
    pub fn of_chip(geometry: &Geometry) -> Option<Self> {
        let (page_size, pages_per_block, blocks) =
            (geometry.page_size(), geometry.pages_per_block(), geometry.blocks());
        let pages = u64::from(pages_per_block) * u64::from(blocks);
        let in_range = (MIN_PAGE_SIZE..=MAX_PAGE_SIZE).contains(&page_size)
            && (4..=MAX_PAGES_PER_BLOCK).contains(&pages_per_block)
            && blocks >= 16
            && pages < u64::from(u32::MAX - 1);
        if !in_range {
            return None;
        }
        Some(Self {
            page_size,
            pages_per_block,
            blocks,
            zone_blocks: 4,
            summary_pages: summary::summary_pages(page_size, pages_per_block)?,
            classes: u8::try_from(blocks / 40).unwrap_or(MAX_CLASSES).clamp(1, MAX_CLASSES),
            capacity_pages: 0,
            reserve_blocks: 0,
        })
    }

    /// Pages of a data block that hold data.
    #[must_use]
    pub fn data_pages(&self) -> u32 {
        self.pages_per_block - self.summary_pages
    }

    /// Entries of a map page.
    #[must_use]
    pub fn entries_per_map_page(&self) -> u32 {
        map::entries_per_page(self.page_size)
    }

    /// Map pages that describe the capacity.
    #[must_use]
    pub fn map_pages(&self) -> u32 {
        self.capacity_pages.div_ceil(self.entries_per_map_page())
    }

    /// Logical bytes that can be written.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        u64::from(self.capacity_pages) * u64::from(self.page_size)
    }

    /// Pages of a directory of so many pairs.
    #[must_use]
    pub fn directory_pages(&self, pairs: usize) -> u32 {
        let stream = Directory::stream_len(pairs, self.map_pages() as usize);
        stream.div_ceil(tables::chunk_len(self.page_size)) as u32
    }

    /// The most pages that a checkpoint takes, for a volume of so many logical pages.
    #[must_use]
    fn checkpoint_pages(&self, capacity_pages: u32) -> u32 {
        let chunk = tables::chunk_len(self.page_size);
        let pages_per_block = self.pages_per_block as usize;
        let map_pages = capacity_pages.div_ceil(self.entries_per_map_page()) as usize;
        let pairs = 2 * map_pages.div_ceil(pages_per_block) + 2;
        let directory = Directory::stream_len(pairs, map_pages);
        let lists = 2 * usize::from(self.classes) + 2;
        let table = BlockTable::stream_len(self.blocks as usize, lists, lists * pages_per_block);
        (map_pages + directory.div_ceil(chunk) + table.div_ceil(chunk)) as u32
    }

    /// Pairs of blocks that a whole checkpoint takes at the most.
    #[must_use]
    pub fn checkpoint_pairs(&self) -> u32 {
        self.checkpoint_pages(self.capacity_pages).div_ceil(self.pages_per_block)
    }

    /// Free blocks that only garbage collection and checkpoints may take: what a checkpoint takes, also one that is begun elsewhere
    /// because a block of the chain failed; the pair that the log has come to by then, and two that survivors go to.
    ///
    /// A checkpoint writes the map pages that have changed or a snapshot of the changes, whichever takes less, and leaves a
    /// pair to go on in; the pair that was set aside for that is free then, or is that pair.
    #[must_use]
    pub fn floor(&self) -> u32 {
        let map_pages = u64::from(self.map_pages());
        let snapshot = (self.most_changes() * SNAPSHOT_ENTRY).div_ceil(log::room(self.page_size) as u64) + 1;
        let saved = map_pages.saturating_sub(snapshot) as u32;
        let pages = self.checkpoint_pages(self.capacity_pages) - saved + LOG_PAGES_BEFORE;
        2 * pages.div_ceil(self.pages_per_block) + 4
    }

    /// Pages the host may write between two checkpoints that write the map: about as many as make the map pages that have changed
    /// by then worth it.
    #[must_use]
    pub fn checkpoint_interval(&self) -> u64 {
        (87 * u64::from(self.map_pages())).clamp(256, 200_000)
    }

    /// Changes of the map that are kept in RAM before the map is written: what the host changes, and what garbage collection
    /// moves meanwhile.
    #[must_use]
    pub fn most_changes(&self) -> u64 {
        self.checkpoint_interval() * 3 / 2
    }

    /// Blocks that hold no data when the volume is as full as it gets: a checkpoint, a short log and the pair after it; what must
    /// stay free; a block for each stream, and two that are being collected.
    #[must_use]
    pub fn overhead(&self) -> u32 {
        let chain = 2 * (self.checkpoint_pairs() + MIN_LOG_PAIRS + 2);
        chain + self.floor() + u32::from(self.classes) + 2
    }

    /// The same layout, with as many logical pages as fit.
    ///
    /// `bad` blocks are bad already; `spare_percent` of the good blocks is kept as spare. `None` where nothing is left for data.
    #[must_use]
    pub fn with_capacity(self, bad: u32, spare_percent: u32) -> Option<Self> {
        let usual = self.blocks / 50;
        let reserve = usual.max(bad + (self.blocks / 200).max(1));
        let good = self.blocks.checked_sub(self.zone_blocks + reserve)?;
        let all = u64::from(good) * u64::from(self.data_pages());
        let wanted = all * u64::from(100 - spare_percent.min(99)) / 100;
        // What the metadata takes shrinks with the capacity; the most it can take is enough to begin with.
        let most = Self { capacity_pages: u32::try_from(all).ok()?, ..self };
        let room = u64::from(good.checked_sub(most.overhead())?) * u64::from(self.data_pages());
        let capacity = wanted.min(room * 98 / 100);
        let capacity = u32::try_from(capacity).ok().filter(|&pages| pages > 0)?;
        Some(Self { capacity_pages: capacity, reserve_blocks: reserve, ..self })
    }

    /// Logical pages that stay writable with so many bad blocks.
    #[must_use]
    pub fn capacity_with(&self, bad: u32) -> u32 {
        let over = bad.saturating_sub(self.reserve_blocks);
        self.capacity_pages.saturating_sub(over.saturating_mul(self.data_pages()))
    }

    /// The physical page at `address`, if there is such a page outside the anchor zone.
    #[must_use]
    pub fn physical(&self, address: u32) -> Option<Ppn> {
        let block = address / self.pages_per_block;
        (block >= self.zone_blocks && block < self.blocks).then_some(Ppn(address))
    }

    /// The same, if data may lie there.
    #[must_use]
    pub fn data_page(&self, address: u32) -> Option<Ppn> {
        self.physical(address).filter(|&page| self.page_addr(page).page < self.data_pages())
    }

    /// The block and page of a physical page.
    #[must_use]
    pub fn page_addr(&self, page: Ppn) -> PageAddr {
        PageAddr { block: Block(page.0 / self.pages_per_block), page: page.0 % self.pages_per_block }
    }

    /// The block of a physical page.
    #[must_use]
    pub fn block_of(&self, page: Ppn) -> Block {
        Block(page.0 / self.pages_per_block)
    }

    /// The number of a block's page among all pages.
    #[must_use]
    pub fn address(&self, at: PageAddr) -> Ppn {
        Ppn(at.block.0 * self.pages_per_block + at.page)
    }

    /// The pages of a block's summary.
    pub fn summary_places(&self, block: Block) -> impl Iterator<Item = PageAddr> + use<> {
        (self.data_pages()..self.pages_per_block).map(move |page| PageAddr { block, page })
    }

    /// Every logical page that can be written.
    pub fn iter_logical(&self) -> impl Iterator<Item = Lpn> + use<> {
        (0..self.capacity_pages).map(Lpn)
    }
}

/// Bytes of a change in a snapshot: eight, and what the heads of extents take.
pub(super) const SNAPSHOT_ENTRY: u64 = 9;

/// Pairs of blocks that the log has at the least before it asks for a checkpoint.
pub(super) const MIN_LOG_PAIRS: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(page: u32, block: u32, blocks: u32) -> Layout {
        Layout::of_chip(&Geometry::new(page, 0, block, blocks).unwrap()).unwrap()
    }

    #[test]
    fn most_of_a_chip_is_capacity() {
        let g1 = layout(2048, 131_072, 1024).with_capacity(0, 7).unwrap();
        assert_eq!((g1.zone_blocks, g1.summary_pages, g1.data_pages(), g1.classes), (4, 1, 63, 8));
        assert!(g1.capacity_pages >= 65_536 * 88 / 100, "{}", g1.capacity_pages);
        let with_bad = layout(2048, 131_072, 1024).with_capacity(20, 7).unwrap();
        assert!(with_bad.capacity_pages >= 65_536 * 88 / 100, "{}", with_bad.capacity_pages);
        assert_eq!(g1.capacity_with(20), g1.capacity_pages);
        assert!(g1.capacity_with(21) < g1.capacity_pages);
    }

    #[test]
    fn small_chips_have_room_too() {
        for (page, block, blocks) in [(256, 2048, 48), (256, 4096, 4096), (512, 4096, 64), (512, 16384, 64)] {
            let layout = layout(page, block, blocks).with_capacity(0, 7);
            assert!(layout.is_some_and(|l| l.capacity_pages > 0), "{page} {block} {blocks}: {layout:?}");
        }
    }
}
