//! Faults on purpose: blocks that fail later, pages that cannot be read, and the moment the power goes.
//!
//! [`LatentFaults`] is a plan of blocks alone; [`Faulty`] carries one out around any chip.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

pub use super::latent::{LatentFault, LatentFaults, Strike};
use super::{Block, FlashError, FlashHardware, Geometry, Operation, PageAddr, PageLayoutTag};
use crate::prng::SplitMix64;

/// A chip whose pages can be overwritten against the rules, to stand for what a power cut leaves.
pub trait Tearable: FlashHardware {
    /// Give `page` these data bytes (a whole page), whatever it held.
    ///
    /// # Errors
    /// When what carries the chip fails.
    fn overwrite(&mut self, page: PageAddr, bytes: &[u8]) -> Result<(), FlashError>;

    /// The same, of a page that was programmed in part: without the ECC that these bytes should have.
    ///
    /// # Errors
    /// When what carries the chip fails.
    fn tear(&mut self, page: PageAddr, bytes: &[u8]) -> Result<(), FlashError> {
        self.overwrite(page, bytes)
    }
}

/// What becomes of the operation during which the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It was not done at all.
    NotDone,
    /// It was done wholly; what follows was not.
    Done,
    /// A page: its first half was programmed. A block: the first half of its pages was erased.
    Prefix,
    /// The page, or every page of the block, holds garbage.
    Garbage,
    /// The page, or every page of the block, cannot be read until it is erased.
    Unreadable,
    /// The erase had been deferred: the pages of the block not yet programmed still hold their old bytes.
    OldTail,
    /// It was done wholly, and nothing else since the last sync was.
    Reordered,
    /// It was done by half: its pages read right once each, and never again.
    ReadsOnce,
    /// It was done by half: its pages read right until the power goes once more, and never again.
    Fades,
}

impl Cut {
    /// Every kind that leaves pages which stay what they are.
    pub const ALL: [Self; 7] = [
        Self::NotDone,
        Self::Done,
        Self::Prefix,
        Self::Garbage,
        Self::Unreadable,
        Self::OldTail,
        Self::Reordered,
    ];

    /// Those after which a page that was read may be lost later.
    pub const FADING: [Self; 2] = [Self::ReadsOnce, Self::Fades];
}

/// How many more times a page can be read.
#[derive(Debug)]
struct ReadsLeft(AtomicU32);

impl Clone for ReadsLeft {
    fn clone(&self) -> Self {
        Self(AtomicU32::new(self.0.load(Ordering::Relaxed)))
    }
}

impl ReadsLeft {
    /// Read once; whether that goes well.
    fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// The content of a block: one entry a page, `None` where it cannot be read.
type Pages = Vec<Option<Vec<u8>>>;

/// A chip with faults. See the [module](self).
#[derive(Clone, Debug)]
pub struct Faulty<H> {
    inner: H,
    latent: LatentFaults,
    unreadable: BTreeSet<PageAddr>,
    /// Pages that can be read a few more times.
    few_reads: BTreeMap<PageAddr, ReadsLeft>,
    /// Pages that can be read until the power goes once more.
    fading: BTreeSet<PageAddr>,
    /// From which of the coming erases and programs on all fail.
    fail_from: Option<u64>,
    cut: Option<(u64, Cut)>,
    powered: bool,
    operations: u64,
    /// What blocks held before they were first changed since the last sync (kept only while a cut is armed).
    unsynced: BTreeMap<Block, Pages>,
    /// Blocks erased since the last sync (kept only while a cut is armed).
    unsynced_erases: Vec<Block>,
    /// Erases that a cut undid.
    undone_erases: BTreeMap<Block, u32>,
    /// What the block erased last held before (kept only while a cut is armed).
    erased: Option<(Block, Pages)>,
    /// What was being done when the power went.
    interrupted: Option<(Operation, PageAddr)>,
}

impl<H> Faulty<H> {
    /// The same faults, in the same state, around another chip: the same one opened anew, or a copy of it.
    pub fn around<G>(&self, inner: G) -> Faulty<G> {
        Faulty {
            inner,
            latent: self.latent.clone(),
            unreadable: self.unreadable.clone(),
            few_reads: self.few_reads.clone(),
            fading: self.fading.clone(),
            fail_from: self.fail_from,
            cut: self.cut,
            powered: self.powered,
            operations: self.operations,
            unsynced: self.unsynced.clone(),
            unsynced_erases: self.unsynced_erases.clone(),
            undone_erases: self.undone_erases.clone(),
            erased: self.erased.clone(),
            interrupted: self.interrupted,
        }
    }
}

impl<H: Tearable> Faulty<H> {
    /// `inner`, as yet without a fault.
    #[must_use]
    pub fn new(inner: H) -> Self {
        Self {
            inner,
            latent: LatentFaults::default(),
            unreadable: BTreeSet::new(),
            few_reads: BTreeMap::new(),
            fading: BTreeSet::new(),
            fail_from: None,
            cut: None,
            powered: true,
            operations: 0,
            unsynced: BTreeMap::new(),
            unsynced_erases: Vec::new(),
            undone_erases: BTreeMap::new(),
            erased: None,
            interrupted: None,
        }
    }

    /// The chip within.
    pub fn inner(&self) -> &H {
        &self.inner
    }

    /// The chip within, to be changed behind the faults' back.
    pub fn inner_mut(&mut self) -> &mut H {
        &mut self.inner
    }

    /// The plan of blocks that will fail.
    pub fn latent_mut(&mut self) -> &mut LatentFaults {
        &mut self.latent
    }

    /// The plan of blocks that will fail, as it stands.
    pub fn latent(&self) -> &LatentFaults {
        &self.latent
    }

    /// Pages that cannot be read, and those that can as yet.
    pub fn unreadable(&self) -> [Vec<PageAddr>; 3] {
        let few = self.few_reads.keys().copied().collect();
        [self.unreadable.iter().copied().collect(), few, self.fading.iter().copied().collect()]
    }

    /// Let a page be unreadable until its block is erased.
    pub fn set_unreadable(&mut self, page: PageAddr) {
        self.unreadable.insert(page);
    }

    /// Let every erase and program fail once `n` more of them have been done.
    pub fn fail_from(&mut self, n: u64) {
        self.fail_from = Some(n);
    }

    /// Flip one bit of a page: bit `bit % 8`, least significant first, of data byte `bit / 8`.
    ///
    /// # Errors
    /// When the page cannot be read or changed.
    pub fn flip(&mut self, page: PageAddr, bit: u32) -> Result<(), FlashError> {
        let size = self.inner.geometry().page_size();
        let mut bytes = vec![0; size as usize];
        self.inner.read_pages(page, &mut bytes)?;
        if let Some(byte) = bytes.get_mut(bit as usize / 8) {
            *byte ^= 1 << (bit % 8);
        }
        self.inner.overwrite(page, &bytes)
    }

    /// Let the power go during the operation that follows the next `n` (erases, programs, marks and syncs count).
    pub fn cut_power_after(&mut self, n: u64, cut: Cut) {
        self.cut = Some((self.operations + n, cut));
        self.forget_unsynced();
        self.erased = None;
        self.interrupted = None;
    }

    /// Power is back, also where it has not gone by itself; no further cut is planned.
    pub fn restore_power(&mut self) {
        if self.powered {
            self.unreadable.append(&mut self.fading);
        }
        self.powered = true;
        self.cut = None;
        self.forget_unsynced();
        self.erased = None;
    }

    /// Whether the power went.
    #[must_use]
    pub fn is_off(&self) -> bool {
        !self.powered
    }

    /// How many erases of `block` cuts have undone, which the chip within was asked for.
    #[must_use]
    pub fn undone_erases(&self, block: Block) -> u32 {
        self.undone_erases.get(&block).copied().unwrap_or(0)
    }

    fn forget_unsynced(&mut self) {
        self.unsynced.clear();
        self.unsynced_erases.clear();
    }

    /// What was being done when the power went, unless it was a sync or a mark.
    #[must_use]
    pub fn interrupted(&self) -> Option<(Operation, PageAddr)> {
        self.interrupted
    }

    /// Erases, programs, marks and syncs asked for so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Count an operation; the kind of cut when it is the one to be interrupted.
    fn begin(&mut self) -> Result<Option<Cut>, FlashError> {
        if !self.powered {
            return Err(FlashError::PowerLost);
        }
        self.operations += 1;
        Ok(match self.cut {
            Some((at, cut)) if self.operations > at => {
                self.powered = false;
                self.unreadable.append(&mut self.fading);
                Some(cut)
            }
            _ => None,
        })
    }

    fn fails(&mut self, block: Block, on: Operation) -> bool {
        let worn_out = match &mut self.fail_from {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        self.latent.strike(block, on) == Strike::Fails || worn_out
    }

    fn pages_of(&self, block: Block) -> Pages {
        let size = self.inner.geometry().page_size();
        let read = |page: PageAddr| {
            let mut bytes = vec![0; size as usize];
            let readable =
                !self.unreadable.contains(&page) && self.inner.read_pages(page, &mut bytes).is_ok();
            readable.then_some(bytes)
        };
        self.inner.geometry().iter_pages(block).map(read).collect()
    }

    /// Remember what `block` holds, before it changes.
    fn remember(&mut self, block: Block, erasing: bool) {
        if self.cut.is_none() {
            return;
        }
        if erasing {
            self.erased = Some((block, self.pages_of(block)));
        }
        if !self.unsynced.contains_key(&block) {
            let pages = self.pages_of(block);
            self.unsynced.insert(block, pages);
        }
    }

    fn put_back(&mut self, block: Block, pages: &Pages, from: u32) -> Result<(), FlashError> {
        for (page, old) in self.inner.geometry().iter_pages(block).zip(pages).skip(from as usize) {
            self.overwrite_or_spoil(page, old.as_deref())?;
        }
        Ok(())
    }

    fn overwrite_or_spoil(&mut self, page: PageAddr, bytes: Option<&[u8]>) -> Result<(), FlashError> {
        match bytes {
            Some(bytes) => {
                self.unreadable.remove(&page);
                self.few_reads.remove(&page);
                self.fading.remove(&page);
                self.inner.overwrite(page, bytes)
            }
            None => {
                self.unreadable.insert(page);
                Ok(())
            }
        }
    }

    /// What could not be read of a block can be, once it is erased.
    fn forget_block(&mut self, block: Block) {
        self.unreadable.retain(|page| page.block != block);
        self.few_reads.retain(|page, _| page.block != block);
        self.fading.retain(|page| page.block != block);
    }

    /// Let a page that was changed last be lost later.
    fn let_fade(&mut self, page: PageAddr, cut: Cut) -> Result<(), FlashError> {
        let mut bytes = vec![0; self.inner.geometry().page_size() as usize];
        self.inner.read_pages(page, &mut bytes)?;
        // As it is, and yet nothing may be programmed behind it.
        self.inner.overwrite(page, &bytes)?;
        match cut {
            Cut::ReadsOnce => drop(self.few_reads.insert(page, ReadsLeft(AtomicU32::new(1)))),
            _ => drop(self.fading.insert(page)),
        }
        Ok(())
    }

    fn garbage(&self, page: PageAddr) -> Vec<u8> {
        let mut bytes = vec![0; self.inner.geometry().page_size() as usize];
        let seed = self.operations ^ (u64::from(page.block.0) << 32) ^ (u64::from(page.page) << 16);
        SplitMix64::new(seed).fill(&mut bytes);
        bytes
    }

    /// Undo all that was done to other blocks since the last sync.
    fn lose_unsynced(&mut self, except: Block) -> Result<(), FlashError> {
        for (block, pages) in core::mem::take(&mut self.unsynced) {
            if block != except {
                self.put_back(block, &pages, 0)?;
            }
        }
        for block in core::mem::take(&mut self.unsynced_erases).into_iter().filter(|&block| block != except) {
            *self.undone_erases.entry(block).or_default() += 1;
        }
        Ok(())
    }

    fn cut_program(&mut self, page: PageAddr, data: &[u8], cut: Cut) -> Result<(), FlashError> {
        self.interrupted = Some((Operation::Program, page));
        match cut {
            Cut::NotDone => {}
            Cut::Done => self.inner.program(page, data)?,
            Cut::Prefix => {
                let half = data.len() / 2;
                let torn: Vec<u8> = data[..half]
                    .iter()
                    .copied()
                    .chain(core::iter::repeat_n(0xFF, data.len() - half))
                    .collect();
                self.inner.tear(page, &torn)?;
            }
            Cut::Garbage => {
                let garbage = self.garbage(page);
                self.inner.tear(page, &garbage)?;
            }
            Cut::Unreadable => self.overwrite_or_spoil(page, None)?,
            Cut::OldTail => {
                self.inner.program(page, data)?;
                if let Some((block, pages)) = self.erased.take()
                    && block == page.block
                {
                    self.put_back(block, &pages, page.page + 1)?;
                }
            }
            Cut::Reordered => {
                self.inner.program(page, data)?;
                self.lose_unsynced(page.block)?;
            }
            Cut::ReadsOnce | Cut::Fades => {
                self.inner.program(page, data)?;
                self.let_fade(page, cut)?;
            }
        }
        Ok(())
    }

    fn cut_erase(&mut self, block: Block, cut: Cut) -> Result<(), FlashError> {
        self.interrupted = Some((Operation::Erase, PageAddr { block, page: 0 }));
        let geometry = *self.inner.geometry();
        match cut {
            Cut::NotDone | Cut::OldTail => {}
            Cut::Done => self.inner.erase(block)?,
            Cut::Prefix => {
                let erased = vec![0xFF; geometry.page_size() as usize];
                for page in geometry.iter_pages(block).take(geometry.pages_per_block().div_ceil(2) as usize) {
                    self.overwrite_or_spoil(page, Some(&erased))?;
                }
            }
            Cut::Garbage => {
                self.forget_block(block);
                for page in geometry.iter_pages(block) {
                    let garbage = self.garbage(page);
                    self.inner.tear(page, &garbage)?;
                }
            }
            Cut::Unreadable => self.unreadable.extend(geometry.iter_pages(block)),
            Cut::Reordered => {
                self.inner.erase(block)?;
                self.lose_unsynced(block)?;
            }
            Cut::ReadsOnce | Cut::Fades => {
                self.forget_block(block);
                self.inner.erase(block)?;
                for page in geometry.iter_pages(block) {
                    self.let_fade(page, cut)?;
                }
            }
        }
        Ok(())
    }
}

impl<H: Tearable> FlashHardware for Faulty<H> {
    fn geometry(&self) -> &Geometry {
        self.inner.geometry()
    }

    fn read(&self, block: Block, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        if !self.powered {
            return Err(FlashError::PowerLost);
        }
        if buf.is_empty() {
            return Ok(());
        }
        let geometry = self.geometry();
        let first = geometry.page_at(block, offset);
        let last = geometry.page_at(block, offset + (buf.len() as u32 - 1));
        let used_up = |(page, left): (&PageAddr, &ReadsLeft)| (!left.take()).then_some(*page);
        let at = match self.latent.unreadable(block) {
            true => Some(first),
            false => (self.unreadable.range(first..=last).next().copied())
                .or_else(|| self.few_reads.range(first..=last).find_map(used_up)),
        };
        match at {
            Some(at) => Err(FlashError::Unreadable { at, offset: self.raw_offset(at) }),
            None => self.inner.read(block, offset, buf),
        }
    }

    fn program(&mut self, page: PageAddr, data: &[u8]) -> Result<(), FlashError> {
        let cut = self.begin()?;
        self.remember(page.block, false);
        if let Some(cut) = cut {
            self.cut_program(page, data, cut)?;
            return Err(FlashError::PowerLost);
        }
        if self.fails(page.block, Operation::Program) {
            let offset = self.raw_offset(page);
            return Err(FlashError::Failed { operation: Operation::Program, at: page, offset });
        }
        self.inner.program(page, data)
    }

    fn erase(&mut self, block: Block) -> Result<(), FlashError> {
        let cut = self.begin()?;
        self.remember(block, true);
        if let Some(cut) = cut {
            self.cut_erase(block, cut)?;
            return Err(FlashError::PowerLost);
        }
        if self.fails(block, Operation::Erase) {
            let at = PageAddr { block, page: 0 };
            let offset = self.raw_offset(at);
            return Err(FlashError::Failed { operation: Operation::Erase, at, offset });
        }
        self.forget_block(block);
        self.inner.erase(block)?;
        if self.cut.is_some() {
            self.unsynced_erases.push(block);
        }
        Ok(())
    }

    fn is_bad(&self, block: Block) -> Result<bool, FlashError> {
        if !self.powered {
            return Err(FlashError::PowerLost);
        }
        self.inner.is_bad(block)
    }

    fn mark_bad(&mut self, block: Block) -> Result<(), FlashError> {
        match self.begin()? {
            Some(Cut::NotDone) => return Err(FlashError::PowerLost),
            Some(cut) => {
                self.inner.mark_bad(block)?;
                if cut == Cut::Reordered {
                    self.lose_unsynced(block)?;
                }
                return Err(FlashError::PowerLost);
            }
            None => {}
        }
        self.inner.mark_bad(block)
    }

    fn carries_marks(&self) -> bool {
        self.inner.carries_marks()
    }

    fn sync(&mut self) -> Result<(), FlashError> {
        match self.begin()? {
            Some(Cut::NotDone) => return Err(FlashError::PowerLost),
            Some(cut) => {
                if cut == Cut::Reordered {
                    // Of what was to be made durable, only the block changed last is.
                    let last = self.erased.as_ref().map_or(Block(u32::MAX), |(block, _)| *block);
                    self.lose_unsynced(last)?;
                } else {
                    self.inner.sync()?;
                }
                return Err(FlashError::PowerLost);
            }
            None => {}
        }
        self.forget_unsynced();
        self.inner.sync()
    }

    fn page_layout(&self) -> Option<PageLayoutTag> {
        self.inner.page_layout()
    }

    fn raw_offset(&self, page: PageAddr) -> u64 {
        self.inner.raw_offset(page)
    }
}
