//! The engine for the block-mapped format.
//!
//! A logical block is a whole erase block. Every change goes to a fresh block; the two metadata slots take turns in
//! saying which block holds what. A mount reads the slots ([`slots`]), chooses one and judges its map (`mount`,
//! [`map`]); writes are staged in fresh blocks (`stage`) and take effect by one commit (`commit`).
//!
//! # Invariants
//! * A block is free, or in the committed map, or staged, or bad, and never free and one of the others at once: what the
//!   last commit points to is not erased before the next one is durable.
//! * Data is durable before the commit that points to it begins; see [`FlashHardware::sync`].
//! * Erase counts and the bad-block table are facts of the chip: a rollback does not take them back.

mod commit;
mod format;
pub mod map;
mod mend;
mod mount;
pub mod slots;
mod stage;

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use self::map::{LogicalBlock, Mapping};
use self::slots::SlotId;
use self::stage::Staged;
use super::bad_blocks::BadBlockTable;
use super::staging::Staging;
use super::wear::WearPolicy;
use super::{BlockUse, CopyState, Volume};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware, PageAddr};
use crate::onflash::ftlj::Layout;

pub use self::format::{FormatPlan, Reserved};
pub use self::mend::restart_sequence;
pub use self::mount::{Choice, Survey};

/// How to mount.
#[derive(Clone, Debug, Default)]
pub struct Mount {
    /// Refuse to write.
    pub read_only: bool,
    /// Mount from the copy of the metadata with this sequence number; read-only unless it is the newest.
    pub sequence: Option<u64>,
    /// When to level wear.
    pub wear: WearPolicy,
}

/// A copy of the metadata, as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataCopy {
    /// Its slot.
    pub slot: SlotId,
    /// The first block of the slot.
    pub block: Block,
    /// Its state.
    pub state: CopyState,
    /// Its sequence number, if it is well-formed.
    pub sequence: Option<u64>,
}

impl MetadataCopy {
    /// The same, for a report on any format.
    #[must_use]
    pub fn to_report(&self) -> super::MetadataCopy {
        super::MetadataCopy {
            location: self.slot.name().to_string(),
            at: PageAddr { block: self.block, page: 0 },
            state: self.state,
            sequence: self.sequence,
        }
    }
}

/// A mounted volume of the block-mapped format. See the [module](self).
#[derive(Debug)]
pub struct BlockVolume<H> {
    hw: H,
    layout: Layout,
    /// The slot in use, and its sequence number.
    slot: SlotId,
    sequence: u64,
    /// The map and the length as committed.
    map: Vec<Mapping>,
    len: u64,
    erase_counts: Vec<u32>,
    bad: BadBlockTable,
    /// Free blocks by erase count.
    free: BTreeSet<(u32, Block)>,
    staged: Staged,
    wear: WearPolicy,
    /// The sum of the data blocks' erase counts when static levelling was last considered.
    levelled_at: u64,
    read_only: Option<String>,
    fallback: Option<String>,
    warnings: Vec<String>,
    copies: [MetadataCopy; 2],
    commits: u64,
    /// Erase counts or the bad-block table have changed since the last commit.
    tables_changed: bool,
}

impl<H: FlashHardware> BlockVolume<H> {
    /// The chip the volume lies on.
    pub fn flash(&self) -> &H {
        &self.hw
    }

    /// Give up what is staged, and the volume; the chip is left.
    pub fn into_flash(self) -> H {
        self.hw
    }

    /// Where things lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The slot in use and its sequence number.
    pub fn current(&self) -> (SlotId, u64) {
        (self.slot, self.sequence)
    }

    /// The copies of the metadata, as the mount found them.
    pub fn copies(&self) -> &[MetadataCopy] {
        &self.copies
    }

    /// The committed map.
    pub fn map(&self) -> &[Mapping] {
        &self.map
    }

    /// When wear is levelled.
    pub fn wear_policy(&self) -> WearPolicy {
        self.wear
    }

    /// Level wear by another policy from now on.
    pub fn set_wear_policy(&mut self, wear: WearPolicy) {
        self.wear = wear;
    }

    /// Sync, and give the chip back.
    ///
    /// # Errors
    /// As for [`sync`](Volume::sync).
    pub fn close(mut self) -> Result<H> {
        self.sync()?;
        Ok(self.hw)
    }

    fn block_size(&self) -> u64 {
        u64::from(self.layout.block_size)
    }

    fn good_data_blocks(&self) -> u32 {
        self.layout.data_blocks() - self.bad_data_blocks()
    }

    fn bad_data_blocks(&self) -> u32 {
        self.bad.iter().filter(|b| b.0 >= self.layout.reserved).count() as u32
    }

    fn capacity_bytes(&self) -> u64 {
        self.layout.capacity(self.bad_data_blocks())
    }

    fn erase_count(&self, block: Block) -> u32 {
        self.erase_counts.get(block.index()).copied().unwrap_or(0)
    }

    /// The sum of the erase counts of the data region.
    fn data_erases(&self) -> u64 {
        self.erase_counts.iter().skip(self.layout.reserved as usize).map(|&n| u64::from(n)).sum()
    }

    /// Where `logical` lies, staged changes included.
    fn lookup(&self, logical: LogicalBlock) -> Option<Mapping> {
        match self.staged.changes.get(&logical) {
            Some(Some(block)) => Some(Mapping::At(*block)),
            Some(None) => Some(Mapping::Unmapped),
            None => self.map.get(logical.index()).copied(),
        }
    }

    /// Read within one logical block, from flash only.
    fn read_block(&self, logical: LogicalBlock, offset: u32, buf: &mut [u8]) -> Result<()> {
        let start = u64::from(logical.0) * self.block_size();
        let unreadable = |offset: u32, length: u64, at, reason| Error::Unreadable {
            offset: start + u64::from(offset),
            length,
            at,
            reason,
        };
        let reason = match self.lookup(logical) {
            Some(Mapping::Unmapped) => {
                buf.fill(0);
                return Ok(());
            }
            Some(Mapping::At(block)) => match self.hw.read(block, offset, buf) {
                Ok(()) => return Ok(()),
                Err(FlashError::Unreadable { at, offset: raw }) => {
                    let page_size = self.hw.geometry().page_size();
                    let from = (at.page * page_size).max(offset);
                    let to = ((at.page + 1) * page_size).min(offset + buf.len() as u32);
                    let reason = FlashError::Unreadable { at, offset: raw }.to_string();
                    return Err(unreadable(from, u64::from(to.saturating_sub(from)), Some(at), reason));
                }
                Err(error) => return Err(error.into()),
            },
            Some(Mapping::Shared(block)) => {
                alloc::format!("the map gives {block} to another logical block too")
            }
            Some(Mapping::OutOfRange(entry)) => {
                alloc::format!("the map says data block {entry}, and there are {}", self.layout.data_blocks())
            }
            None => "it is past the end of the map".to_string(),
        };
        Err(unreadable(offset, buf.len() as u64, None, reason))
    }
}

impl<H: FlashHardware> Volume for BlockVolume<H> {
    fn len(&self) -> u64 {
        self.staged.len
    }

    fn mapped_end(&self) -> u64 {
        self.map.len() as u64 * self.block_size()
    }

    fn capacity(&self) -> u64 {
        self.capacity_bytes()
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.check_read(offset, buf.len() as u64)?;
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let within = at % self.block_size();
            let take = (self.block_size() - within).min(rest.len() as u64);
            let (chunk, tail) = rest.split_at_mut(take as usize);
            let logical = LogicalBlock(u32::try_from(at / self.block_size()).unwrap_or(u32::MAX));
            match self.staged.open_data(logical) {
                Some(data) => chunk.copy_from_slice(&data[within as usize..(within + take) as usize]),
                None => self.read_block(logical, within as u32, chunk)?,
            }
            rest = tail;
            at += take;
        }
        Ok(())
    }

    fn check_write(&self, offset: u64, length: u64) -> Result<()> {
        self.check_writable()?;
        let capacity = self.capacity_bytes();
        let past = Error::OutOfRange { offset, length, end: capacity };
        let end = offset.checked_add(length).ok_or_else(|| past.clone())?;
        if end <= capacity {
            Ok(())
        } else if offset > capacity {
            Err(past)
        } else {
            Err(Error::TooLarge { needed: end, capacity })
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.check_write(offset, data.len() as u64)?;
        self.or_rollback(|volume| volume.stage_write(offset, data))
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.check_len(len)?;
        self.or_rollback(|volume| volume.stage_len(len))
    }

    fn sync(&mut self) -> Result<()> {
        if self.staged.is_clean(self.len) {
            // The length may have been another one in between.
            self.staged = Staged::clean(self.len);
            if !self.tables_changed {
                return Ok(());
            }
        }
        self.check_writable()?;
        self.or_rollback(|volume| {
            volume.place_all()?;
            volume.commit()
        })
    }

    fn rollback(&mut self) {
        self.give_up_staged_blocks();
        self.staged = Staged::clean(self.len);
    }

    fn discard(&mut self, offset: u64, length: u64) -> Result<()> {
        self.check_writable()?;
        self.or_rollback(|volume| volume.stage_discard(offset, length))
    }

    fn write_unit(&self) -> u64 {
        self.block_size()
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn metadata(&self) -> Vec<super::MetadataCopy> {
        self.copies.iter().map(MetadataCopy::to_report).collect()
    }

    fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    fn commits(&self) -> u64 {
        self.commits
    }

    fn read_only(&self) -> Option<&str> {
        self.read_only.as_deref()
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn bad_blocks(&self) -> Vec<Block> {
        self.bad.iter().collect()
    }

    fn erase_counts(&self) -> &[u32] {
        &self.erase_counts
    }

    fn block_use(&self, block: Block) -> BlockUse {
        if self.bad.contains(block) {
            BlockUse::Bad
        } else if let Some(slot) = SlotId::of_block(block, &self.layout) {
            BlockUse::Metadata { role: slot.name(), fixed: true }
        } else if block.0 < self.layout.reserved {
            BlockUse::Reserved
        } else if self.free.contains(&(self.erase_count(block), block)) {
            BlockUse::Free
        } else {
            BlockUse::Data
        }
    }

    fn mapped_units(&self) -> u64 {
        self.map.iter().filter(|m| **m != Mapping::Unmapped).count() as u64
    }

    fn free_blocks(&self) -> u64 {
        self.free.len() as u64
    }
}
