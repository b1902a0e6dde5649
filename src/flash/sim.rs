//! A chip in RAM that counts what is done to it and panics when NAND's rules are broken.
//!
//! It knows which pages were programmed since their block was erased, so a broken contract is caught where it
//! happens, not where it shows. It does not fail by itself: [`super::faults`] does that from outside.

use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::faults::Tearable;
use super::{Block, FlashError, FlashHardware, Geometry, PageAddr};

/// A chip in RAM. See the [module](self).
#[derive(Debug)]
pub struct SimFlash {
    geometry: Geometry,
    data: Vec<u8>,
    /// Pages programmed since the last erase of their block, by block; `None` while the block's state is unknown
    /// (never erased by us, or damaged by a cut), when only an erase makes it usable.
    programmed: Vec<Option<u32>>,
    bad: Vec<bool>,
    carries_marks: bool,
    erases: Vec<u32>,
    counts: Counts,
    reads: AtomicUsize,
}

/// Operations done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pages read (a read of several pages counts each).
    pub page_reads: usize,
    /// Pages programmed.
    pub programs: u64,
    /// Blocks erased.
    pub erases: u64,
    /// Blocks marked bad.
    pub marks: u64,
    /// Syncs.
    pub syncs: u64,
}

impl SimFlash {
    /// A chip whose every byte is 0xFF, with no bad block.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        let blocks = geometry.blocks() as usize;
        let bytes = geometry.block_size() as usize * blocks;
        Self {
            geometry,
            data: vec![0xFF; bytes],
            programmed: vec![None; blocks],
            bad: vec![false; blocks],
            carries_marks: true,
            erases: vec![0; blocks],
            counts: Counts::default(),
            reads: AtomicUsize::new(0),
        }
    }

    /// A chip with these data bytes (all blocks, no spare).
    ///
    /// # Panics
    /// When `data` is not as long as the chip.
    #[must_use]
    pub fn from_data(geometry: Geometry, data: &[u8]) -> Self {
        let mut sim = Self::new(geometry);
        sim.data.copy_from_slice(data);
        sim
    }

    /// The same chip, without bad-block marks of its own.
    #[must_use]
    pub fn without_marks(mut self) -> Self {
        self.carries_marks = false;
        self
    }

    /// What has been done so far.
    pub fn counts(&self) -> Counts {
        Counts { page_reads: self.reads.load(Ordering::Relaxed), ..self.counts }
    }

    /// How often each block has been erased.
    pub fn erases(&self) -> &[u32] {
        &self.erases
    }

    /// All data bytes, without spare.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// All data bytes, to be changed behind the chip's back.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// Mark a block as the factory would.
    pub fn set_factory_bad(&mut self, block: Block) {
        self.bad[block.index()] = true;
    }

    fn range(&self, page: PageAddr) -> core::ops::Range<usize> {
        let size = self.geometry.page_size() as usize;
        let start = page.block.index() * self.geometry.block_size() as usize + page.page as usize * size;
        start..start + size
    }
}

impl Clone for SimFlash {
    fn clone(&self) -> Self {
        Self {
            geometry: self.geometry,
            data: self.data.clone(),
            programmed: self.programmed.clone(),
            bad: self.bad.clone(),
            carries_marks: self.carries_marks,
            erases: self.erases.clone(),
            counts: self.counts,
            reads: AtomicUsize::new(self.reads.load(Ordering::Relaxed)),
        }
    }
}

impl FlashHardware for SimFlash {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        let end = offset as usize + buf.len();
        assert!(block.0 < self.geometry.blocks(), "contract: read of {block}, past the chip");
        assert!(
            end <= self.geometry.block_size() as usize,
            "contract: read past the end of {block}: {offset}+{}",
            buf.len()
        );
        if buf.is_empty() {
            return Ok(());
        }
        let (first, last) =
            (offset / self.geometry.page_size(), (end as u32 - 1) / self.geometry.page_size());
        self.reads.fetch_add((last - first + 1) as usize, Ordering::Relaxed);
        let start = block.index() * self.geometry.block_size() as usize + offset as usize;
        buf.copy_from_slice(&self.data[start..start + buf.len()]);
        Ok(())
    }

    fn program(&mut self, page: PageAddr, data: &[u8]) -> Result<(), FlashError> {
        assert_eq!(data.len(), self.geometry.page_size() as usize, "contract: a program is a whole page");
        assert!(page.page < self.geometry.pages_per_block(), "contract: no such page: {page}");
        assert!(!self.bad[page.block.index()], "contract: program of {page}, a bad block");
        let next = &mut self.programmed[page.block.index()];
        assert!(next.is_some(), "contract: program of {page} before its block was erased");
        assert!(
            next.is_some_and(|next| page.page >= next),
            "contract: {page} programmed twice or out of order, after {next:?} pages"
        );
        *next = Some(page.page + 1);
        self.counts.programs += 1;
        let range = self.range(page);
        self.data[range].copy_from_slice(data);
        Ok(())
    }

    fn erase(&mut self, block: Block) -> Result<(), FlashError> {
        assert!(block.0 < self.geometry.blocks(), "contract: erase of {block}, past the chip");
        assert!(!self.bad[block.index()], "contract: erase of {block}, a bad block");
        for page in self.geometry.iter_pages(block) {
            let range = self.range(page);
            self.data[range].fill(0xFF);
        }
        self.programmed[block.index()] = Some(0);
        self.erases[block.index()] += 1;
        self.counts.erases += 1;
        Ok(())
    }

    fn is_bad(&self, block: Block) -> Result<bool, FlashError> {
        Ok(self.carries_marks && self.bad[block.index()])
    }

    fn mark_bad(&mut self, block: Block) -> Result<(), FlashError> {
        self.bad[block.index()] = true;
        self.counts.marks += 1;
        Ok(())
    }

    fn carries_marks(&self) -> bool {
        self.carries_marks
    }

    fn sync(&mut self) -> Result<(), FlashError> {
        self.counts.syncs += 1;
        Ok(())
    }
}

impl Tearable for SimFlash {
    fn overwrite(&mut self, page: PageAddr, bytes: &[u8]) -> Result<(), FlashError> {
        self.programmed[page.block.index()] = None;
        let range = self.range(page);
        self.data[range].copy_from_slice(bytes);
        Ok(())
    }
}
