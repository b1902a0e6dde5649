//! shodh-redb's own flash code, and a chip in RAM that it and this library hold in turn.
//!
//! [`Chip`] is the chip as this library sees it, [`Theirs`] as the crate does, and [`Engine`] gives the crate's database
//! a volume of ours. Both sides drive one [`SimFlash`], so each is held to the rules of NAND.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use nandimg::flash::faults::{Faulty, LatentFault, Tearable};
use nandimg::flash::sim::SimFlash;
use nandimg::flash::{Block, FlashError, FlashHardware, Geometry, Operation, PageAddr};
use nandimg::ftl::Volume;
use nandimg::ftl::block::BlockVolume;
use shodh_redb::error::BackendError;
use shodh_redb::{FlashBackend, FlashGeometry, StorageBackend};

/// A chip; its clones are the same chip.
#[derive(Clone, Debug)]
pub(crate) struct Chip {
    geometry: Geometry,
    board: Arc<Mutex<Board>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Board {
    pub(crate) flash: Faulty<SimFlash>,
    /// Blocks marked bad, also on a chip that cannot carry the marks.
    pub(crate) marked: BTreeSet<Block>,
}

impl Chip {
    pub(crate) fn new(sim: SimFlash) -> Self {
        let geometry = *sim.geometry();
        let board = Board { flash: Faulty::new(sim), marked: BTreeSet::new() };
        Self { geometry, board: Arc::new(Mutex::new(board)) }
    }

    pub(crate) fn blank(page: u32, block: u32, blocks: u32) -> Self {
        Self::new(SimFlash::new(Geometry::new(page, 0, block, blocks).unwrap()))
    }

    /// Another chip in the same state.
    pub(crate) fn fork(&self) -> Self {
        Self { geometry: self.geometry, board: Arc::new(Mutex::new(self.board().clone())) }
    }

    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        // A broken contract panics under the lock; a second panic while that one unwinds would hide it.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_factory_bad(&self, block: Block) {
        let mut board = self.board();
        board.flash.inner_mut().set_factory_bad(block);
        board.marked.insert(block);
    }

    pub(crate) fn fail_later(&self, block: Block, on: Operation, after: u64) {
        self.board().flash.latent_mut().add(LatentFault { block: block.0, on, after });
    }

    pub(crate) fn data(&self) -> Vec<u8> {
        self.board().flash.inner().data().to_vec()
    }
}

impl FlashHardware for Chip {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        self.board().flash.read(block, offset, buf)
    }

    fn program(&mut self, page: PageAddr, data: &[u8]) -> Result<(), FlashError> {
        let mut board = self.board();
        assert!(!board.marked.contains(&page.block), "ours programs {page}, which is marked bad");
        board.flash.program(page, data)
    }

    fn erase(&mut self, block: Block) -> Result<(), FlashError> {
        let mut board = self.board();
        assert!(!board.marked.contains(&block), "ours erases {block}, which is marked bad");
        board.flash.erase(block)
    }

    fn is_bad(&self, block: Block) -> Result<bool, FlashError> {
        self.board().flash.is_bad(block)
    }

    fn mark_bad(&mut self, block: Block) -> Result<(), FlashError> {
        let mut board = self.board();
        board.marked.insert(block);
        board.flash.mark_bad(block)
    }

    fn carries_marks(&self) -> bool {
        self.board().flash.carries_marks()
    }

    fn sync(&mut self) -> Result<(), FlashError> {
        self.board().flash.sync()
    }
}

/// What becomes of an erase or a program of a marked block when the crate asks for it: it forgets which blocks are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadBlocks {
    /// It fails.
    Fail,
    /// It is done.
    Work,
}

/// The chip as the crate drives it.
#[derive(Debug)]
pub(crate) struct Theirs {
    chip: Chip,
    bad_blocks: BadBlocks,
}

impl Theirs {
    fn new(chip: &Chip, bad_blocks: BadBlocks) -> Self {
        Self { chip: chip.clone(), bad_blocks }
    }

    fn at(&self, offset: u64) -> (Block, u32) {
        let size = u64::from(self.chip.geometry.block_size());
        (Block(u32::try_from(offset / size).unwrap()), (offset % size) as u32)
    }
}

pub(crate) fn mount_theirs(chip: &Chip, bad_blocks: BadBlocks) -> FlashBackend<Theirs> {
    let programs = || chip.board().flash.inner().counts().programs;
    let before = programs();
    let theirs = FlashBackend::mount(Theirs::new(chip, bad_blocks)).unwrap();
    // It formats where it finds no entry it believes.
    assert_eq!(programs(), before, "the crate formatted the chip instead of mounting it");
    theirs
}

pub(crate) fn format_theirs(chip: &Chip, bad_blocks: BadBlocks) -> FlashBackend<Theirs> {
    FlashBackend::format(Theirs::new(chip, bad_blocks)).unwrap()
}

/// All bytes up to the logical length, as the crate reads them.
pub(crate) fn content_of_theirs(theirs: &FlashBackend<Theirs>) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(theirs.len().unwrap()).unwrap()];
    theirs.read(0, &mut content).unwrap();
    content
}

fn backend_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BackendError {
    BackendError::Io(io::Error::other(error))
}

impl shodh_redb::FlashHardware for Theirs {
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), BackendError> {
        let mut offset = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let (block, within) = self.at(offset);
            let take = ((self.chip.geometry.block_size() - within) as usize).min(rest.len());
            let (chunk, tail) = rest.split_at_mut(take);
            self.chip.board().flash.read(block, within, chunk).map_err(backend_error)?;
            offset += take as u64;
            rest = tail;
        }
        Ok(())
    }

    fn write_page(&self, offset: u64, data: &[u8]) -> Result<(), BackendError> {
        let (block, within) = self.at(offset);
        assert_eq!(
            within % self.chip.geometry.page_size(),
            0,
            "the crate programs from the middle of a page"
        );
        let page = self.chip.geometry.page_at(block, within);
        let mut board = self.chip.board();
        match (board.marked.contains(&block), self.bad_blocks) {
            (false, _) => board.flash.program(page, data).map_err(backend_error),
            (true, BadBlocks::Work) => board.flash.inner_mut().overwrite(page, data).map_err(backend_error),
            (true, BadBlocks::Fail) => Err(backend_error(format!("program of {page} failed"))),
        }
    }

    fn erase_block(&self, block_index: u32) -> Result<(), BackendError> {
        let block = Block(block_index);
        let mut board = self.chip.board();
        match (board.marked.contains(&block), self.bad_blocks) {
            (false, _) => board.flash.erase(block).map_err(backend_error),
            (true, BadBlocks::Work) => {
                let erased = vec![0xFF; self.chip.geometry.page_size() as usize];
                let mut pages = self.chip.geometry.iter_pages(block);
                pages.try_for_each(|p| board.flash.inner_mut().overwrite(p, &erased)).map_err(backend_error)
            }
            (true, BadBlocks::Fail) => Err(backend_error(format!("erase of {block} failed"))),
        }
    }

    fn is_bad_block(&self, block_index: u32) -> Result<bool, BackendError> {
        self.chip.board().flash.is_bad(Block(block_index)).map_err(backend_error)
    }

    fn mark_bad_block(&self, block_index: u32) -> Result<(), BackendError> {
        let mut board = self.chip.board();
        board.marked.insert(Block(block_index));
        board.flash.mark_bad(Block(block_index)).map_err(backend_error)
    }

    fn geometry(&self) -> FlashGeometry {
        FlashGeometry {
            erase_block_size: self.chip.geometry.block_size(),
            write_page_size: self.chip.geometry.page_size(),
            total_blocks: self.chip.geometry.blocks(),
            max_erase_cycles: 100_000,
        }
    }

    fn sync(&self) -> Result<(), BackendError> {
        self.chip.board().flash.sync().map_err(backend_error)
    }
}

/// A volume of ours under the crate's database.
#[derive(Debug)]
pub(crate) struct Engine(RwLock<BlockVolume<Chip>>);

impl Engine {
    pub(crate) fn new(volume: BlockVolume<Chip>) -> Self {
        Self(RwLock::new(volume))
    }

    fn change(
        &self,
        f: impl FnOnce(&mut BlockVolume<Chip>) -> nandimg::Result<()>,
    ) -> Result<(), BackendError> {
        f(&mut self.0.write().unwrap_or_else(PoisonError::into_inner)).map_err(backend_error)
    }
}

impl StorageBackend for Engine {
    fn len(&self) -> Result<u64, BackendError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), BackendError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).read(offset, out).map_err(backend_error)
    }

    fn set_len(&self, len: u64) -> Result<(), BackendError> {
        self.change(|volume| volume.set_len(len))
    }

    fn sync_data(&self) -> Result<(), BackendError> {
        self.change(Volume::sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), BackendError> {
        self.change(|volume| volume.write(offset, data))
    }

    fn close(&self) -> Result<(), BackendError> {
        self.change(Volume::sync)
    }
}
