//! Staging: changes go to fresh blocks, and to one block in RAM, until a commit points to them.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::map::{LogicalBlock, Mapping};
use super::{BlockVolume, Volume, slots};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware};
use crate::ftl::erase::erase;
use crate::ftl::wear;

/// What has been written since the last commit.
#[derive(Debug)]
pub(super) struct Staged {
    /// Logical blocks that moved (to a fresh block that holds them) or were cut off.
    pub(super) map: BTreeMap<LogicalBlock, Option<Block>>,
    /// The logical length with all that is staged.
    pub(super) len: u64,
    /// The logical length that what is in fresh blocks already accounts for: the part of a long write that a commit in
    /// its middle can make durable.
    pub(super) placed_len: u64,
    /// The same, with what is in the open block too.
    reached_len: u64,
    /// A logical block that is being put together.
    open: Option<OpenBlock>,
}

#[derive(Debug)]
struct OpenBlock {
    logical: LogicalBlock,
    data: Vec<u8>,
    dirty: bool,
}

impl Staged {
    pub(super) fn clean(len: u64) -> Self {
        Self { map: BTreeMap::new(), len, placed_len: len, reached_len: len, open: None }
    }

    pub(super) fn is_clean(&self, committed_len: u64) -> bool {
        self.map.is_empty() && self.len == committed_len && !self.open.as_ref().is_some_and(|o| o.dirty)
    }

    pub(super) fn open_data(&self, logical: LogicalBlock) -> Option<&[u8]> {
        self.open.as_ref().filter(|open| open.logical == logical).map(|open| open.data.as_slice())
    }
}

impl<H: FlashHardware> BlockVolume<H> {
    pub(super) fn check_writable(&self) -> Result<()> {
        match &self.read_only {
            Some(reason) => Err(Error::ReadOnly(reason.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn check_len(&self, len: u64) -> Result<()> {
        self.check_writable()?;
        let capacity = self.capacity_bytes();
        if len > capacity && len > self.staged.len {
            return Err(Error::TooLarge { needed: len, capacity });
        }
        Ok(())
    }

    /// Do `change`; if it fails, give up all that is staged.
    pub(super) fn or_rollback(&mut self, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let result = change(self);
        if result.is_err() {
            self.rollback();
        }
        result
    }

    fn first_block_after(&self, len: u64) -> LogicalBlock {
        LogicalBlock(u32::try_from(len.div_ceil(self.block_size())).unwrap_or(u32::MAX))
    }

    pub(super) fn stage_write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset + data.len() as u64;
        if end > self.staged.len {
            self.grow(offset, end)?;
        }
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let within = at % self.block_size();
            let take = (self.block_size() - within).min(rest.len() as u64);
            let (chunk, tail) = rest.split_at(take as usize);
            // `check_write` holds `at` below the capacity, which is a count of u32 blocks.
            let logical = LogicalBlock((at / self.block_size()) as u32);
            if take == self.block_size() {
                self.replace_open(logical)?;
                self.reach(at + take);
                self.place(logical, chunk)?;
            } else {
                let open = self.open(logical)?;
                open.dirty = true;
                open.data[within as usize..][..chunk.len()].copy_from_slice(chunk);
                self.reach(at + take);
            }
            rest = tail;
            at += take;
        }
        Ok(())
    }

    pub(super) fn stage_len(&mut self, len: u64) -> Result<()> {
        if len > self.staged.len {
            self.grow(len, len)?;
            self.reach(len);
            return Ok(());
        }
        let first_gone = self.first_block_after(len);
        match &self.staged.open {
            Some(open) if open.logical >= first_gone => self.staged.open = None,
            _ => self.flush_open()?,
        }
        self.unmap(first_gone, LogicalBlock(self.map.len() as u32));
        self.staged.len = len;
        self.staged.placed_len = len;
        self.staged.reached_len = len;
        Ok(())
    }

    /// Unmap the logical blocks that lie within the range, and stage zeros for the rest of it.
    pub(super) fn stage_discard(&mut self, offset: u64, length: u64) -> Result<()> {
        let end = offset.saturating_add(length).min(self.staged.len);
        let size = self.block_size();
        let mut at = offset;
        while at < end {
            let stop = (at / size * size).saturating_add(size).min(end);
            let logical = LogicalBlock((at / size) as u32);
            let whole = at.is_multiple_of(size) && (stop - at == size || stop == self.staged.len);
            if whole {
                self.replace_open(logical)?;
                self.unmap(logical, LogicalBlock(logical.0 + 1));
            } else if !matches!(self.lookup(logical), None | Some(Mapping::Unmapped))
                || self.staged.open_data(logical).is_some()
            {
                let open = self.open(logical)?;
                open.dirty = true;
                open.data[(at % size) as usize..][..(stop - at) as usize].fill(0);
            }
            at = stop;
        }
        Ok(())
    }

    fn reach(&mut self, end: u64) {
        self.staged.reached_len = self.staged.reached_len.max(end);
    }

    /// Lengthen the volume to `end`, for a write from `offset` on: whatever lies between the old end and `offset` reads as
    /// zeros from now on, also where a shorter length once hid old bytes.
    fn grow(&mut self, offset: u64, end: u64) -> Result<()> {
        let old_end = self.staged.len;
        let boundary = LogicalBlock((old_end / self.block_size()) as u32);
        let boundary_start = u64::from(boundary.0) * self.block_size();
        if boundary_start < old_end
            && boundary_start < offset
            && self.lookup(boundary) != Some(Mapping::Unmapped)
        {
            self.open(boundary)?;
        }
        self.unmap(self.first_block_after(old_end), self.first_block_after(end));
        self.staged.len = end;
        Ok(())
    }

    /// Cut off the logical blocks from `from` up to, not including, `to`.
    fn unmap(&mut self, from: LogicalBlock, to: LogicalBlock) {
        for logical in (from.0..to.0).map(LogicalBlock) {
            if !matches!(self.lookup(logical), None | Some(Mapping::Unmapped)) {
                self.remap(logical, None);
            }
        }
    }

    /// The open block, which is `logical` from now on. Bytes of it past the end of the volume are zeros.
    fn open(&mut self, logical: LogicalBlock) -> Result<&mut OpenBlock> {
        let is_open = self.staged.open.as_ref().is_some_and(|open| open.logical == logical);
        let open = if is_open { self.staged.open.take() } else { None };
        let open = match open {
            Some(open) => open,
            None => {
                self.flush_open()?;
                self.load(logical)?
            }
        };
        Ok(self.staged.open.insert(open))
    }

    fn load(&self, logical: LogicalBlock) -> Result<OpenBlock> {
        let mut data = vec![0; self.layout.block_size as usize];
        self.read_block(logical, 0, &mut data)?;
        let start = u64::from(logical.0) * self.block_size();
        let content = self.staged.len.saturating_sub(start).min(self.block_size()) as usize;
        let stale = &mut data[content..];
        let dirty = stale.iter().any(|&byte| byte != 0);
        stale.fill(0);
        Ok(OpenBlock { logical, data, dirty })
    }

    /// Make way for a whole new content of `logical`.
    fn replace_open(&mut self, logical: LogicalBlock) -> Result<()> {
        if self.staged.open.as_ref().is_some_and(|open| open.logical == logical) {
            self.staged.open = None;
        }
        self.flush_open()
    }

    /// Move the open block, if there is one, to flash.
    pub(super) fn flush_open(&mut self) -> Result<()> {
        match self.staged.open.take() {
            Some(open) if open.dirty => self.place(open.logical, &open.data),
            _ => Ok(()),
        }
    }

    /// Put the content of a logical block into a fresh block. Blocks that fail are replaced while free ones last; when none
    /// is free, what is placed so far is committed, which frees what it replaces.
    pub(super) fn place(&mut self, logical: LogicalBlock, data: &[u8]) -> Result<()> {
        loop {
            let Some((_, block)) = self.free.pop_first() else {
                if !self.commit_frees_blocks() {
                    return Err(self.no_free_block());
                }
                self.commit()?;
                // A levelling that lost its slot ends the write here, and what took effect stays.
                self.check_writable()?;
                continue;
            };
            if self.fill(block, data)? {
                self.remap(logical, Some(block));
                // Not the length that is being written to: a commit in the middle takes the blocks in order.
                self.staged.placed_len = self.staged.reached_len;
                return Ok(());
            }
        }
    }

    fn no_free_block(&self) -> Error {
        let good = self.good_data_blocks();
        Error::NoFreeBlock { good, in_use: good - self.free.len() as u32 }
    }

    /// Erase `block`, which is not in the free set now, and fill it; `false` if it failed and has been given up.
    pub(super) fn fill(&mut self, block: Block, data: &[u8]) -> Result<bool> {
        match self.erase_and_program(block, data) {
            Ok(()) => Ok(true),
            Err(error) if error.is_block_failure() => {
                self.retire(block)?;
                Ok(false)
            }
            Err(error) => {
                self.free.insert((self.erase_count(block), block));
                Err(error.into())
            }
        }
    }

    fn erase_and_program(&mut self, block: Block, data: &[u8]) -> core::result::Result<(), FlashError> {
        self.count_erase(block);
        erase(&mut self.hw, block)?;
        let pages = self.hw.geometry().iter_pages(block);
        slots::program_pages(&mut self.hw, pages, data)
    }

    pub(super) fn count_erase(&mut self, block: Block) {
        self.tables_changed = true;
        wear::count_erase(&mut self.erase_counts, block);
    }

    /// Give up a block that failed: in the table, and on the chip if it still takes a mark.
    pub(super) fn retire(&mut self, block: Block) -> Result<()> {
        self.bad.insert(block);
        self.tables_changed = true;
        match self.hw.mark_bad(block) {
            Err(error) if !error.is_block_failure() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Let `logical` lie in `block`, or nowhere. A fresh block that this replaces is free again at once: no commit ever
    /// pointed to it.
    pub(super) fn remap(&mut self, logical: LogicalBlock, block: Option<Block>) {
        if let Some(Some(replaced)) = self.staged.map.insert(logical, block) {
            self.release(replaced);
        }
    }

    /// `block` holds nothing that counts any more.
    pub(super) fn release(&mut self, block: Block) {
        if !self.bad.contains(block) {
            self.free.insert((self.erase_count(block), block));
        }
    }

    pub(super) fn give_up_staged_blocks(&mut self) {
        for block in core::mem::take(&mut self.staged.map).into_values().flatten() {
            self.release(block);
        }
    }
}
