//! Sessions of writing: how one begins on what the last one left, and how it ends well.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::chain::{ChainError, ChainResult};
use super::collect::{BlockSummary, read_summary};
use super::io::{fingerprint, read_metadata};
use super::log::{Group, encode_group};
use super::place::{Announced, Proof};
use super::unanchored::Unanchored;
use super::{PageVolume, Session};
use crate::error::Result;
use crate::flash::{Block, FlashHardware, PageAddr};
use crate::ftl::staging::Staging;
use crate::onflash::paged::log::{CLEAN_FIXED, LENGTH_LEN, OPEN_LEN, OpenBlock, Record, room};
use crate::onflash::paged::tables::BlockState;

/// Log pages that a clean end leaves to the next mount.
const MAX_PAGES_AT_END: u32 = 5;

/// What a recovery knows of the blocks that it may take.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Their own pages state a count that the table has already: they were not erased since. A recovery takes such a block first:
    /// if it is cut short as well, the next one finds it without, and counts it.
    certain: BTreeSet<Block>,
    /// The first blocks that were never used: what it takes next.
    unused: Vec<Block>,
    /// What recoveries before it leave that were cut short: it takes those blocks last.
    before: Unanchored,
}

impl Recovery {
    /// No block table is left: the count of a block that states it is known from nothing else.
    pub(super) fn without_table(self) -> Self {
        Self { certain: BTreeSet::new(), ..self }
    }
}

impl<H: FlashHardware> PageVolume<H> {
    /// Be ready to write: until now nothing has been changed.
    pub(super) fn begin_session(&mut self) -> Result<()> {
        self.check_writable()?;
        match self.session {
            Session::Active => return self.check_reserve(),
            Session::Clean => self.go_on()?,
            Session::Unclean => self.recover()?,
        }
        self.session = Session::Active;
        Ok(())
    }

    /// Go on where a session ended well: once it is durable that this one has begun, its blocks are filled on.
    fn go_on(&mut self) -> Result<()> {
        self.close_programmed()?;
        if !self.erasing_next_pair_shows()? {
            return self.open_elsewhere(Self::leave_chain);
        }
        match self.open_in_next_pair() {
            Ok(()) => Ok(self.hw.sync()?),
            // Not a word of it is on flash, so a cut leaves the clean end to the next session, as it was to this one.
            Err(ChainError::BlockFailed) => self.open_elsewhere(Self::begin_chain_anew),
            Err(ChainError::Other(error)) => Err(self.in_doubt(error)),
        }
    }

    fn open_in_next_pair(&mut self) -> ChainResult<()> {
        self.turn_over()?;
        let pages = encode_group([Record::Session].into(), room(self.layout.page_size), 0);
        self.append_group(pages, self.committed_clock, false)
    }

    fn open_elsewhere(&mut self, begin: fn(&mut Self) -> Result<()>) -> Result<()> {
        self.begin_in_doubt(begin)?;
        self.append_alone(&Record::Session)
    }

    /// Whether an erase of the next pair would show: every clean end sees to it, but for those of earlier versions. One that a
    /// session that was cut short may have done is not done again: it would not be counted.
    fn erasing_next_pair_shows(&self) -> Result<bool> {
        for block in self.chain.upcoming.front().copied().into_iter().flatten() {
            if self.is_erased(block)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Of the blocks that are to be filled on, those are not that are not erased from there on.
    fn close_programmed(&mut self) -> Result<()> {
        for class in 0..self.open.len() {
            let Some(block) = self.open[class] else { continue };
            for page in self.blocks.filled(block)..self.layout.pages_per_block {
                if !read_metadata(&self.hw, PageAddr { block, page })?.is_erased() {
                    self.open[class] = None;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Go on after a session that was cut short. What it was filling is never filled on; a checkpoint goes into other blocks, and
    /// the anchor into others than the pair in doubt.
    fn recover(&mut self) -> Result<()> {
        self.open.fill(None);
        self.judge_blocks()?;
        self.begin_in_doubt(Self::leave_chain)?;
        self.check_reserve()
    }

    /// `begin` the chain anew in other blocks, which another session may have begun to do before, and have been cut short.
    fn begin_in_doubt(&mut self, begin: fn(&mut Self) -> Result<()>) -> Result<()> {
        self.zone.in_doubt = true;
        self.recovering = Some(self.make_counts_certain()?);
        let announced = core::mem::replace(&mut self.announced, Announced::none());
        for block in announced.iter() {
            self.blocks.set_state(block, BlockState::Free);
        }
        let begun = self.make_anchor_certain().and_then(|()| begin(self));
        self.recovering = None;
        begun
    }

    /// What the blocks are that may have been written since the checkpoint: closed ones have a summary.
    fn judge_blocks(&mut self) -> Result<()> {
        let mut stamps = Vec::new();
        let mut proof = Proof::default();
        for block in self.blocks.iter() {
            let state = self.blocks.state(block);
            if matches!(state, BlockState::Zone | BlockState::Bad) {
                continue;
            }
            let summary = read_summary(&self.hw, &self.layout, self.volume, block)?;
            let uncommitted =
                |s: &BlockSummary| s.contents.iter().any(|(_, stored)| stored.stamp > self.committed_clock);
            if summary.as_ref().is_some_and(uncommitted) {
                self.tainted.insert(block);
            }
            if state == BlockState::Chain {
                continue;
            }
            let current = summary.as_ref().is_some_and(|s| s.erases == self.blocks.erase_count(block));
            if state == BlockState::Listed && current {
                let (class, closed) = (summary.as_ref().map_or(0, |s| s.class), self.committed_clock);
                self.blocks.set_state(block, BlockState::Closed);
                let info = self.blocks.info_mut(block);
                (info.class, info.closed) = (class, closed);
            }
            if let Some(summary) = summary.as_ref().filter(|s| s.committed_clock >= proof.clock()) {
                proof = Proof::by(Some(block), summary.committed_clock);
            }
            let pages = summary.iter().flat_map(|s| s.contents.iter().map(|(_, stored)| stored.stamp));
            stamps.extend(pages.filter(|&stamp| stamp > proof.clock() && stamp <= self.committed_clock));
            let info = self.blocks.info(block);
            match self.blocks.state(block) {
                BlockState::Announced => self.blocks.set_state(block, BlockState::Free),
                BlockState::Closed | BlockState::Listed if info.live == 0 && info.failing => {
                    self.retire(block)?;
                }
                // Free as soon as the checkpoint is in force.
                BlockState::Closed | BlockState::Listed if self.doubtful.contains(&block) => {
                    self.blocks.note_emptied(block);
                }
                BlockState::Closed | BlockState::Listed if info.live == 0 => {
                    self.blocks.set_state(block, BlockState::Free);
                }
                _ => {}
            }
        }
        proof.unproven = stamps.into_iter().filter(|&stamp| stamp > proof.clock()).count() as u64;
        if proof.block().is_some_and(|block| self.blocks.state(block) != BlockState::Closed) {
            // It may be erased at any time.
            let unproven = proof.unproven.max(1);
            proof = Proof::by(None, proof.clock());
            proof.unproven = unproven;
        }
        self.proof = proof;
        Ok(())
    }

    /// See that no erase count is behind. A recovery that was cut short has erased blocks with nothing on flash to say so but what
    /// it wrote into them; a block that shows nothing may have been erased once more than is known. Of blocks that were never used
    /// that holds for the first two: a recovery takes no more of them before it writes into them.
    pub(super) fn make_counts_certain(&mut self) -> Result<Recovery> {
        let mut recovery = Recovery { before: self.find_unanchored()?, ..Recovery::default() };
        for block in self.blocks.iter() {
            let counted = self.blocks.erase_count(block);
            if let Some(own) = self.own_count(block)? {
                self.blocks.at_least(block, own);
                if own <= counted {
                    recovery.certain.insert(block);
                }
                continue;
            }
            let may_be_erased = match self.blocks.state(block) {
                BlockState::Free if counted == 0 && self.is_erased(block)? => {
                    let is_next = recovery.unused.len() < 2;
                    recovery.unused.extend(is_next.then_some(block));
                    is_next
                }
                BlockState::Free | BlockState::Announced | BlockState::Zone => true,
                BlockState::Closed | BlockState::Listed => {
                    self.blocks.info(block).live == 0 && !self.open.contains(&Some(block))
                }
                BlockState::Chain | BlockState::Bad => false,
            };
            if may_be_erased {
                self.blocks.count_erase(block);
                self.blocks.at_least(block, recovery.before.erases(block));
            }
        }
        Ok(recovery)
    }

    pub(super) fn is_erased(&self, block: Block) -> Result<bool> {
        Ok(read_metadata(&self.hw, PageAddr { block, page: 0 })?.is_erased())
    }

    /// Whether an erase of `block` shows, as far as that matters.
    pub(super) fn erase_shows(&self, block: Block) -> bool {
        self.recovering.as_ref().is_none_or(|recovery| recovery.certain.contains(&block))
    }

    /// The block that a recovery takes next. Where it has to begin again, because a block failed, it takes others; one with pages that
    /// were never committed only where there is no other, for it is to be erased before the next commit.
    pub(super) fn block_for_recovery(&mut self) -> Option<Block> {
        let recovery = self.recovering.as_mut()?;
        let mut all = self.blocks.free().iter().map(|&(_, block)| block);
        let mut free = all.clone().filter(|block| !self.tainted.contains(block));
        let certain = free.clone().find(|block| recovery.certain.contains(block));
        let unused = free.clone().find(|block| recovery.unused.contains(block));
        let other = free.clone().find(|&block| !recovery.before.is_in(block));
        let block = certain.or(unused).or(other).or_else(|| free.next()).or_else(|| all.next())?;
        recovery.certain.remove(&block);
        recovery.unused.retain(|&other| other != block);
        Some(block)
    }

    /// The erase count that a block's own pages state.
    pub(super) fn own_count(&self, block: Block) -> Result<Option<u32>> {
        let first = PageAddr { block, page: 0 };
        let last = PageAddr { block, page: self.layout.data_pages() };
        let mut own = None;
        for at in [first, last] {
            let page = read_metadata(&self.hw, at)?.written_by(self.volume, self.layout.address(at).0);
            own = own.max(page.map(|(head, _)| head.erases));
        }
        Ok(own)
    }

    /// End the session: all is durable, and the log says where to go on.
    pub(super) fn end_session(&mut self) -> Result<()> {
        if self.session != Session::Active {
            return Ok(());
        }
        if self.lost_track {
            return self.check_writable();
        }
        self.purge_tainted()?;
        if self.failing {
            self.empty_failing_blocks()?;
        }
        if self.proof.unproven > 0 {
            self.prove_commit()?;
        }
        self.write_group(Group::Pending)?;
        if self.log.pages > MAX_PAGES_AT_END || self.log.holds_discards {
            self.checkpoint_for_end(MAX_PAGES_AT_END / 2)?;
            self.write_group(Group::Pending)?;
        }
        self.show_counts()?;
        loop {
            match self.write_clean_record() {
                Ok(()) => break,
                Err(ChainError::BlockFailed) => self.begin_chain_anew()?,
                Err(ChainError::Other(error)) => return Err(self.in_doubt(error)),
            }
        }
        self.session = Session::Clean;
        Ok(())
    }

    fn write_clean_record(&mut self) -> ChainResult<()> {
        // A page that is programmed may lead the chain to its next pair, so that must be known before; and the log must say that
        // the pair after that one may be erased.
        loop {
            if self.chain.slot == self.layout.pages_per_block {
                self.turn_over()?;
            }
            if self.pending.is_empty() && !self.put_witnesses()? {
                break;
            }
            self.write_group(Group::Pending)?;
        }
        let [a, b] = self.chain.upcoming.front().copied().ok_or_else(|| self.no_free_block())?;
        let mut prints = [0; 2];
        for (print, block) in prints.iter_mut().zip([a, b]) {
            *print = fingerprint(&self.hw, PageAddr { block, page: 0 })?;
        }
        let open = self.open.iter().zip(0u8..).filter_map(|(open, class)| {
            let block = (*open)?;
            let next = self.blocks.filled(block);
            Some(OpenBlock { block: block.0, class, next })
        });
        let open: Vec<OpenBlock> = open.collect();
        let room = room(self.layout.page_size);
        // The record must fit a page, beside what that may have to repeat.
        let fixed = LENGTH_LEN + CLEAN_FIXED + OPEN_LEN * open.len();
        let most = (room - room / 4).saturating_sub(fixed) / size_of::<u32>();
        // What is not named is announced, and counted, once more before it is erased.
        let ahead = self.chain.upcoming.iter().skip(1).flatten().copied();
        let announced = self.announced.iter().chain(ahead).map(|block| block.0).take(most).collect();
        let mut records = Vec::from_iter(self.length_record());
        records.push(Record::Clean { prints, open, announced });
        let pages = encode_group(records, room, self.log.unrepeated.len());
        self.hw.sync()?;
        self.append_group(pages, self.committed_clock, false)?;
        self.hw.sync()?;
        self.log.tells_length = true;
        Ok(())
    }
}
