//! Commit: the moment at which staged changes take effect; and static levelling, which rides on it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use super::map::{LogicalBlock, Mapping, entry};
use super::slots::{self, SlotId};
use super::{BlockVolume, CopyState};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashError, FlashHardware};
use crate::onflash::ftlj::Metadata;

impl<H: FlashHardware> BlockVolume<H> {
    /// Whether a commit now would free a block.
    pub(super) fn commit_frees_blocks(&self) -> bool {
        self.staged
            .changes
            .keys()
            .any(|&logical| self.committed(logical).is_some_and(|b| !self.bad.contains(b)))
    }

    fn committed(&self, logical: LogicalBlock) -> Option<Block> {
        self.map.get(logical.index()).and_then(|mapping| mapping.block())
    }

    /// Make what has been placed take effect, and level wear if that is due.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.commit_placed()?;
        self.commits += 1;
        // The write has taken effect; levelling that fails leaves the data where it was.
        if self.level().is_err() {
            self.give_up_staged_blocks();
        }
        Ok(())
    }

    pub(super) fn commit_placed(&mut self) -> Result<()> {
        // The slot must not be newer than the data it points to.
        self.hw.sync()?;
        let target = self.slot.other();
        let sequence = self
            .sequence
            .checked_add(1)
            .ok_or_else(|| Error::ReadOnly("its sequence number is the last one there is".to_string()))?;
        for block in target.blocks(&self.layout) {
            self.count_erase(block);
        }
        let bytes = self.metadata().encode(sequence);
        self.write_slot(target, &bytes)?;
        self.slot = target;
        self.sequence = sequence;
        self.apply_staged();
        self.tables_changed = false;
        self.note_copies();
        Ok(())
    }

    /// The metadata that makes what has been placed take effect.
    fn metadata(&self) -> Metadata {
        let mapping =
            |(i, &committed): (usize, &Mapping)| match self.staged.changes.get(&LogicalBlock(i as u32)) {
                Some(Some(block)) => Mapping::At(*block),
                Some(None) => Mapping::Unmapped,
                None => committed,
            };
        Metadata {
            logical_len: self.staged.placed_len(),
            map: self.map.iter().enumerate().map(mapping).map(|m| entry(m, &self.layout)).collect(),
            erase_counts: self.erase_counts.clone(),
            bad_table: self.bad.to_bitmap(),
        }
    }

    fn write_slot(&mut self, target: SlotId, bytes: &[u8]) -> Result<()> {
        let len = bytes.len() as u64;
        if len > self.layout.slot_len() {
            return Err(Error::ReadOnly(format!(
                "its metadata takes {len} bytes, and a slot holds {}",
                self.layout.slot_len()
            )));
        }
        let written = slots::write(&mut self.hw, &self.layout, target, bytes);
        written.map_err(|error| self.lose_slot(target, error))
    }

    /// A slot could not be written: nothing can be committed any more, what is committed stays.
    fn lose_slot(&mut self, target: SlotId, error: FlashError) -> Error {
        if let FlashError::Failed { at, .. } | FlashError::Unreadable { at, .. } = &error {
            let reason = format!("{error}; {} belongs to {target}, which has no other place", at.block);
            // The mark tells the next mount; that it may fail too changes nothing here.
            let _ = self.retire(at.block);
            self.read_only = Some(reason.clone());
            return Error::ReadOnly(reason);
        }
        // Whether the slot took effect is not known; only a mount can tell.
        self.read_only = Some(format!("a commit to {target} did not complete ({error}): mount again"));
        error.into()
    }

    fn apply_staged(&mut self) {
        for (logical, block) in core::mem::take(&mut self.staged.changes) {
            let new = block.map_or(Mapping::Unmapped, Mapping::At);
            if let Some(mapping) = self.map.get_mut(logical.index())
                && let Mapping::At(replaced) = core::mem::replace(mapping, new)
            {
                self.release(replaced);
            }
        }
        self.len = self.staged.placed_len();
    }

    fn note_copies(&mut self) {
        for copy in &mut self.copies {
            if copy.slot == self.slot {
                copy.state = CopyState::Current;
                copy.sequence = Some(self.sequence);
            } else if copy.state == CopyState::Current {
                copy.state = CopyState::Stale;
            }
        }
    }

    /// Static levelling, as a commit of its own.
    fn level(&mut self) -> Result<()> {
        let now = self.data_erases();
        if !self.wear.is_due(core::mem::replace(&mut self.levelled_at, now), now) {
            return Ok(());
        }
        let owner: BTreeMap<Block, LogicalBlock> = (0..)
            .map(LogicalBlock)
            .zip(&self.map)
            .filter_map(|(logical, mapping)| mapping.block().map(|block| (block, logical)))
            .collect();
        let in_use = owner.keys().filter(|&&b| !self.bad.contains(b)).map(|&b| (self.erase_count(b), b));
        let moves = self.wear.plan_moves(in_use, self.free.iter().copied());
        let mut data = vec![0; self.layout.block_size as usize];
        for (from, to) in moves {
            let Some(&logical) = owner.get(&from) else { continue };
            match self.hw.read(from, 0, &mut data) {
                // Data that cannot be read stays where it is.
                Err(FlashError::Unreadable { .. }) => continue,
                read => read?,
            }
            self.free.remove(&(self.erase_count(to), to));
            if self.fill(to, &data)? {
                self.remap(logical, Some(to));
            }
        }
        if self.staged.changes.is_empty() { Ok(()) } else { self.commit_placed() }
    }
}
