//! Checkpoints: the map, the directory and the block table as they are now, and an anchor that points to them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::PageVolume;
use super::chain::{ChainError, ChainPage, ChainResult, Copies};
use super::layout::{LOG_PAGES_BEFORE, SNAPSHOT_ENTRY};
use super::log::{Group, Log, Pending, encode_group};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashHardware};
use crate::ftl::gc::Heat;
use crate::onflash::paged::NO_PAGE;
use crate::onflash::paged::anchor::Anchor;
use crate::onflash::paged::head::Kind;
use crate::onflash::paged::log::{Record, encode_page, flags, room};
use crate::onflash::paged::map::{self, MapEntry};
use crate::onflash::paged::tables::{BlockState, chunk_len, encode_chunk};

/// The most pairs of the log before a checkpoint.
const MAX_LOG_PAIRS: u32 = 16;

impl<H: FlashHardware> PageVolume<H> {
    /// End the log by a checkpoint, if it is long: to be asked wherever groups are written again and again, for what the log takes
    /// is not free for anything else.
    pub(super) fn end_long_log(&mut self) -> Result<()> {
        if self.log_is_long() { self.checkpoint() } else { Ok(()) }
    }

    fn log_is_long(&self) -> bool {
        self.log.halves > 2 * self.log_pairs() * self.layout.pages_per_block || self.map_is_old()
    }

    /// Whether so much has changed since the map was written that it is to be written again.
    fn map_is_old(&self) -> bool {
        self.host_pages_since_map >= self.layout.checkpoint_interval()
            || self.map.changes() as u64 >= self.layout.most_changes()
    }

    /// Pairs that the log may take: an eighth of the blocks that nothing else needs.
    fn log_pairs(&self) -> u32 {
        let data = self.mapped_pages().div_ceil(u64::from(self.layout.data_pages())) as u32;
        let good = self.layout.blocks - self.layout.zone_blocks - self.blocks.bad_count();
        let needed = data + self.layout.floor() + 2 * self.layout.checkpoint_pairs();
        (good.saturating_sub(needed) / 8).clamp(super::layout::MIN_LOG_PAIRS, MAX_LOG_PAIRS)
    }

    /// Take a checkpoint; where the chain fails, elsewhere.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        self.take_checkpoint(self.map_is_old() || !self.snapshot_is_worth_it())
    }

    /// Take a checkpoint that leaves the next mount no more than so many log pages to read.
    pub(super) fn checkpoint_for_end(&mut self, log_pages: u32) -> Result<()> {
        self.take_checkpoint(self.snapshot_pages() > log_pages)
    }

    fn take_checkpoint(&mut self, with_map: bool) -> Result<()> {
        let with_map = with_map && self.make_room_for_map()?;
        match self.try_checkpoint(false, with_map) {
            Ok(()) => Ok(()),
            Err(ChainError::BlockFailed) => self.begin_chain_anew(),
            Err(ChainError::Other(error @ Error::NoFreeBlock { .. })) => Err(error),
            Err(ChainError::Other(error)) => Err(self.in_doubt(error)),
        }
    }

    /// Commit what is staged by a checkpoint, which so many changes ask for anyway; the log is spared.
    pub(super) fn commit_by_checkpoint(&mut self) -> Result<()> {
        if !self.make_room_for_map()? {
            return self.write_group(Group::Commit);
        }
        // Not before room was made: that moves what is staged, too.
        let changes = self.staged_changes()?;
        // In RAM it takes effect at once: what a mount finds until the anchor is there is the state before, so what that needs is
        // not let go.
        self.blocks.hold_emptied(true);
        self.take_effect(changes);
        self.committing = Some(self.clock);
        match self.try_checkpoint(false, true) {
            Ok(()) => {}
            Err(ChainError::BlockFailed) => self.begin_chain_anew()?,
            Err(ChainError::Other(error)) => return Err(self.in_doubt(error)),
        }
        // Should the anchor be lost, this shows that there was one.
        self.append_alone(&Record::Session)
    }

    /// Whether to say where the pages lie that have changed takes less than a fourth of the map pages that have.
    fn snapshot_is_worth_it(&self) -> bool {
        let dirty = self.map.dirty().len() as u32;
        self.snapshot_pages() * 4 <= dirty
    }

    /// Whether a checkpoint with the map pages that have changed takes less than one with a snapshot.
    fn map_takes_less(&self) -> bool {
        let with_snapshot = self.encode_snapshot().len() + self.map_pages_to_write(false).len();
        self.map_pages_to_write(true).len() < with_snapshot
    }

    /// The pages that a snapshot usually takes.
    fn snapshot_pages(&self) -> u32 {
        (self.map.changes() * SNAPSHOT_ENTRY as usize).div_ceil(room(self.layout.page_size)) as u32 + 1
    }

    /// Collect until a checkpoint fits that writes the map; whether it does.
    fn make_room_for_map(&mut self) -> Result<bool> {
        let pages = self.map_pages_to_write(true).len() as u32 + self.body_pages() + LOG_PAGES_BEFORE;
        let needed = 2 * pages.div_ceil(self.layout.pages_per_block) + 1;
        while self.free_count() < needed {
            if self.coming == 0 && !self.collect_next(false)? {
                return Ok(false);
            }
            while self.free_count() + self.coming < needed && self.collect_next(false)? {}
            let before = self.free_count();
            self.write_group(Group::Pending)?;
            if self.free_count() <= before {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Take a checkpoint into other blocks than those that the chain goes on in: the one answer to every trouble in it.
    pub(super) fn begin_chain_anew(&mut self) -> Result<()> {
        self.chain_anew(false)
    }

    /// The same, with every map page that has changed.
    pub(super) fn begin_chain_anew_with_map(&mut self) -> Result<()> {
        self.make_room_for_map()?;
        self.chain_anew(true)
    }

    /// The same for a chain of which another session wrote the end.
    pub(super) fn leave_chain(&mut self) -> Result<()> {
        self.chain.left.extend(self.chain.upcoming.pop_front().into_iter().flatten());
        self.chain_anew(false)
    }

    fn chain_anew(&mut self, with_map: bool) -> Result<()> {
        loop {
            for block in core::mem::take(&mut self.chain.upcoming).into_iter().flatten() {
                if !self.chain.left.contains(&block) {
                    self.free_chain_block(block)?;
                }
            }
            self.chain.slot = self.layout.pages_per_block;
            self.chain.half = false;
            self.log.unrepeated.clear();
            let with_map = with_map || self.map_takes_less();
            match self.try_checkpoint(true, with_map) {
                Ok(()) => return Ok(()),
                Err(ChainError::BlockFailed) => {}
                Err(ChainError::Other(error)) => return Err(self.in_doubt(error)),
            }
        }
    }

    /// Write a checkpoint and its anchor: into the chain as it goes on, or `anew` into other blocks; with the map pages that have
    /// changed, or with a snapshot of what has.
    pub(super) fn try_checkpoint(&mut self, anew: bool, with_map: bool) -> ChainResult<()> {
        self.plan_zone()?;
        if anew {
            self.claim_pair()?;
        }
        let changed = if with_map { 0 } else { self.encode_snapshot().len() as u32 };
        // What is reserved is counted as erased, so what lags behind may be more after that.
        let map_pages = self.map_pages_to_write(with_map);
        let pages = changed + map_pages.len() as u32 + self.body_pages();
        // Of one that goes elsewhere, the log takes nothing.
        let slack = if anew { 0 } else { LOG_PAGES_BEFORE };
        self.reserve_for(pages + slack, Heat::Cold)?;
        if !anew {
            let before = self.sequence;
            self.write_group(Group::Pending)?;
            if self.sequence != before {
                // The chain failed, so there is a checkpoint already.
                return Ok(());
            }
        }
        // What was moved must be there before what points to it.
        self.hw.sync()?;
        let (directory, pairs) = (self.map.directory.clone(), self.chain.pairs.len());
        let written = self.write_checkpoint(&map_pages, with_map);
        if matches!(written, Err(ChainError::BlockFailed)) {
            self.take_back_checkpoint(directory, pairs)?;
        }
        let (anchor, snapshot) = written?;
        self.write_anchor(&anchor, self.sequence + 1)?;
        if with_map {
            self.map.settle();
            self.host_pages_since_map = 0;
        }
        self.log = Log { pages: snapshot, ..Log::begin(self.log.next) };
        Ok(self.enter_force(anchor)?)
    }

    /// Write these map pages, directory, block table and, where the map was not written, the snapshot; the anchor that points to
    /// them, and pages of the snapshot.
    fn write_checkpoint(&mut self, map_pages: &[u32], with_map: bool) -> ChainResult<(Anchor, u32)> {
        for &index in map_pages {
            self.write_map_page(index)?;
        }
        self.note_twins();
        let covered = core::mem::take(&mut self.pending);
        let (anchor, snapshot) = match self.write_tables(with_map) {
            Ok(written) => written,
            Err(error) => {
                self.pending = covered;
                return Err(error);
            }
        };
        self.hw.sync()?;
        Ok((anchor, snapshot))
    }

    /// The chain failed in the middle of a checkpoint: what it took, from its first pair of its own on, is there for another one.
    fn take_back_checkpoint(&mut self, directory: Vec<u32>, pairs: usize) -> Result<()> {
        self.map.directory = directory;
        self.note_twins();
        let taken = self.chain.pairs.split_off(pairs);
        taken.into_iter().flatten().try_for_each(|block| self.free_chain_block(block))
    }

    /// Write directory, block table and, where the map was not written, the snapshot; the anchor, and pages of the snapshot.
    fn write_tables(&mut self, with_map: bool) -> ChainResult<(Anchor, u32)> {
        let anchor = self.write_body()?;
        let snapshot = if with_map { 0 } else { self.write_snapshot()? };
        let snapshot_pages = u16::try_from(snapshot).unwrap_or(u16::MAX);
        Ok((Anchor { snapshot_pages, ..anchor }, snapshot))
    }

    /// The records of a snapshot, page by page: more of them the more the places are scattered.
    fn encode_snapshot(&self) -> Vec<Vec<u8>> {
        encode_group(self.map.snapshot(&self.layout), room(self.layout.page_size), 0)
    }

    /// Say where the pages lie that the map on flash does not know; how many log pages that takes.
    fn write_snapshot(&mut self) -> ChainResult<u32> {
        let pages = self.encode_snapshot();
        let last = pages.len() - 1;
        for (i, page) in pages.iter().enumerate() {
            let commit = if i == last { flags::COMMIT } else { 0 };
            let body = self.body_page(Kind::Log, self.log.next);
            let head = ChainPage { flags: body.flags | flags::SNAPSHOT | commit, ..body };
            let clocks = (self.clock_of_checkpoint(), self.clock_of_checkpoint());
            self.append_to_chain(head, Copies::Both, &|next| encode_page(next, clocks, &[], page))?;
            self.log.next += 1;
        }
        Ok(pages.len() as u32)
    }

    /// The checkpoint that `anchor` points to is the one in force.
    fn enter_force(&mut self, anchor: Anchor) -> Result<()> {
        self.sequence += 1;
        self.anchor = anchor;
        if let Some(clock) = self.committing.take() {
            self.confirm(clock);
        }
        let body = self.chain.pairs.iter().position(|pair| pair[0].0 == anchor.body.0).unwrap_or(0);
        let pairs = core::mem::take(&mut self.chain.pairs);
        for (i, pair) in pairs.into_iter().enumerate() {
            if i >= body || self.map.twins.contains_key(&pair[0]) {
                self.chain.pairs.push(pair);
                continue;
            }
            pair.into_iter().try_for_each(|block| self.free_chain_block(block))?;
        }
        for block in core::mem::take(&mut self.chain.left) {
            if !self.chain.upcoming.iter().flatten().any(|&other| other == block) {
                self.free_chain_block(block)?;
            }
        }
        self.blocks.hold_emptied(false);
        self.release_emptied()
    }

    /// Map pages that have to be written: if asked for those that have changed, those in a block that failed or
    /// lags behind in wear, and those
    /// that are almost alone in their pair.
    fn map_pages_to_write(&self, changed: bool) -> Vec<u32> {
        let dirty = if changed { self.map.dirty() } else { Vec::new() };
        let mut pages: BTreeSet<u32> = dirty.into_iter().collect();
        let mut of_pair: BTreeMap<Block, Vec<u32>> = BTreeMap::new();
        for (index, &address) in (0..).zip(&self.map.directory) {
            if address != NO_PAGE && !pages.contains(&index) {
                let block = Block(address / self.layout.pages_per_block);
                of_pair.entry(block).or_default().push(index);
            }
        }
        let wear = self.wear_of_levelled();
        let is_to_go = |block: Block| {
            self.blocks.info(block).failing
                || wear.lags(self.blocks.erase_count(block), self.levelled_counts())
        };
        let pair_is_to_go = |a: Block| is_to_go(a) || self.map.twins.get(&a).copied().is_some_and(is_to_go);
        let mut kept: Vec<Vec<u32>> = Vec::new();
        for (block, indexes) in of_pair {
            if pair_is_to_go(block) { pages.extend(indexes) } else { kept.push(indexes) }
        }
        kept.sort_by_key(Vec::len);
        let left: usize = kept.iter().map(Vec::len).sum();
        let enough = left.div_ceil(self.layout.pages_per_block as usize) + 1;
        let too_many = kept.len().saturating_sub(enough);
        pages.extend(kept.into_iter().take(too_many).flatten());
        pages.into_iter().collect()
    }

    fn write_map_page(&mut self, index: u32) -> ChainResult<()> {
        let entries = self.map.current(&self.hw, index).map_err(Error::from)?;
        let address = match entries.iter().all(|entry| entry.unpack() == MapEntry::Unmapped) {
            true => NO_PAGE,
            false => {
                let page = self.body_page(Kind::Map, u64::from(index));
                self.append_to_chain(page, Copies::Both, &|next| map::encode(next, &entries))?.0
            }
        };
        self.map.directory[index as usize] = address;
        self.map.keep(index, entries);
        Ok(())
    }

    fn body_page(&self, kind: Kind, number: u64) -> ChainPage {
        ChainPage { kind, flags: self.mirrored_flag(), epoch: (self.sequence + 1) as u32, number }
    }

    /// Which pairs hold map pages.
    fn note_twins(&mut self) {
        let holding: BTreeSet<Block> = (self.map.directory.iter())
            .filter(|&&address| address != NO_PAGE)
            .map(|&address| Block(address / self.layout.pages_per_block))
            .collect();
        let pairs = self.chain.pairs.iter().filter(|pair| holding.contains(&pair[0]));
        self.map.twins = pairs.map(|&[a, b]| (a, b)).collect();
    }

    /// The most pages that directory and block table take now.
    pub(super) fn body_pages(&self) -> u32 {
        let chunk = chunk_len(self.layout.page_size);
        let pairs =
            self.chain.pairs.len() + self.chain.upcoming.len() + self.layout.checkpoint_pairs() as usize;
        let table = self.blocks.to_table(self.clock_of_checkpoint()).encoded_len();
        self.layout.directory_pages(pairs) + table.div_ceil(chunk) as u32 + 1
    }

    /// The host clock as of which a checkpoint is. The log and summaries say what is committed, so they do not know it before the
    /// anchor is there.
    fn clock_of_checkpoint(&self) -> u64 {
        self.committing.unwrap_or(self.committed_clock)
    }

    /// Write directory and block table; the anchor that points to them.
    fn write_body(&mut self) -> ChainResult<Anchor> {
        let directory = self.map.directory_for_flash().encode();
        let table = self.blocks.to_table(self.clock_of_checkpoint()).encode();
        let (body, directory_pages) = self.write_stream(Kind::Directory, &directory)?;
        let (_, table_pages) = self.write_stream(Kind::Table, &table)?;
        Ok(Anchor {
            logical_len: self.len,
            clock: self.clock_of_checkpoint(),
            body,
            directory_pages,
            table_pages,
            next_log: self.log.next,
            ..self.anchor
        })
    }

    /// Write a stream; where it begins, and how many pages it takes.
    fn write_stream(&mut self, kind: Kind, stream: &[u8]) -> ChainResult<((u32, u32, u32), u32)> {
        let mut begin = None;
        let mut pages = 0;
        for chunk in stream.chunks(chunk_len(self.layout.page_size)) {
            let page = self.body_page(kind, u64::from(pages));
            let at = self.append_to_chain(page, Copies::Both, &|next| encode_chunk(next, chunk))?;
            let at = self.layout.page_addr(at);
            begin.get_or_insert((at.block.0, self.chain.pair[1].0, at.page));
            pages += 1;
        }
        Ok((begin.unwrap_or_default(), pages))
    }

    /// The pair that a chain that is begun anew goes into: blocks of which the log says that they may be erased, if there are
    /// two, for there is no log now to say so of others.
    fn claim_pair(&mut self) -> Result<()> {
        if !self.chain.upcoming.is_empty() {
            return Ok(());
        }
        let announced: Vec<Block> =
            self.announced.iter().filter(|b| !self.pending.erases.contains(b)).take(2).collect();
        let [a, b] = announced[..] else { return self.reserve_pair(Heat::Hot) };
        let pair = self.erased_first([a, b])?;
        for block in pair {
            self.announced.remove(block);
            self.blocks.set_state(block, BlockState::Chain);
        }
        self.chain.upcoming.push_front(pair);
        Ok(())
    }
}

impl Log {
    /// An empty log, whose first page has that number.
    pub(super) fn begin(next: u64) -> Self {
        Self { next, unrepeated: Vec::new(), halves: 0, pages: 0, holds_discards: false, tells_length: false }
    }
}

impl Pending {
    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.bad.is_empty() && self.erases.is_empty() && self.lost.is_empty() && self.moves.is_empty()
    }
}
