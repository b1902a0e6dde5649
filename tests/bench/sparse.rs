//! A chip of many gigabytes of which only the programmed pages are kept.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use nandimg::flash::sim::Counts;
use nandimg::flash::{Block, FlashError, FlashHardware, Geometry, PageAddr};

/// It counts, and enforces the order of programs; it has no bad blocks.
#[derive(Debug)]
pub(crate) struct SparseFlash {
    geometry: Geometry,
    pages: HashMap<PageAddr, Box<[u8]>>,
    /// Pages programmed or skipped since the last erase of each block; `None` where it was never erased.
    programmed: Vec<Option<u32>>,
    /// Shared with whoever looks on while a volume holds the chip.
    counts: Rc<Cell<Counts>>,
}

impl SparseFlash {
    pub(crate) fn new(geometry: Geometry) -> Self {
        let programmed = vec![None; geometry.blocks() as usize];
        Self { geometry, pages: HashMap::new(), programmed, counts: Rc::default() }
    }

    pub(crate) fn counts(&self) -> Rc<Cell<Counts>> {
        Rc::clone(&self.counts)
    }

    fn count(&self, one_more: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        one_more(&mut counts);
        self.counts.set(counts);
    }
}

impl FlashHardware for SparseFlash {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        let size = self.geometry.page_size() as usize;
        let (mut at, mut rest) = (offset as usize, buf);
        while !rest.is_empty() {
            let (page, within) = (self.geometry.page_at(block, at as u32), at % size);
            assert!(page.page < self.geometry.pages_per_block(), "contract: read past the end of {block}");
            let (chunk, tail) = rest.split_at_mut((size - within).min(rest.len()));
            match self.pages.get(&page) {
                Some(data) => chunk.copy_from_slice(&data[within..within + chunk.len()]),
                None => chunk.fill(0xFF),
            }
            self.count(|counts| counts.page_reads += 1);
            at += chunk.len();
            rest = tail;
        }
        Ok(())
    }

    fn program(&mut self, page: PageAddr, data: &[u8]) -> Result<(), FlashError> {
        assert_eq!(data.len(), self.geometry.page_size() as usize, "contract: a program is a whole page");
        let next = &mut self.programmed[page.block.index()];
        assert!(next.is_some_and(|next| page.page >= next), "contract: {page} is not to be programmed now");
        *next = Some(page.page + 1);
        self.count(|counts| counts.programs += 1);
        self.pages.insert(page, data.into());
        Ok(())
    }

    fn erase(&mut self, block: Block) -> Result<(), FlashError> {
        let used = self.programmed[block.index()].replace(0).unwrap_or(0);
        for page in 0..used {
            self.pages.remove(&PageAddr { block, page });
        }
        self.count(|counts| counts.erases += 1);
        Ok(())
    }

    fn is_bad(&self, _: Block) -> Result<bool, FlashError> {
        Ok(false)
    }

    fn mark_bad(&mut self, block: Block) -> Result<(), FlashError> {
        panic!("nothing fails here, and {block} is marked bad")
    }

    fn carries_marks(&self) -> bool {
        true
    }

    fn sync(&mut self) -> Result<(), FlashError> {
        self.count(|counts| counts.syncs += 1);
        Ok(())
    }
}
