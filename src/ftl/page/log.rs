//! Writing the log: what has been done since the checkpoint, as groups of records that take effect as a whole.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::PageVolume;
use super::chain::{ChainError, ChainPage, ChainResult, Copies, Pair};
use super::layout::{Lpn, Ppn};
use super::map::{address_of, physical};
use super::stage::Change;
use crate::error::Result;
use crate::flash::{Block, FlashHardware};
use crate::ftl::gc::Heat;
use crate::onflash::paged::head::Kind;
use crate::onflash::paged::log::{Record, Written, encode_page, flags, room};
use crate::onflash::paged::map::MapEntry;
use crate::onflash::paged::tables::BlockState;

/// What has been done and the log does not say yet. It holds also if the host's changes are given up.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    /// Blocks found bad.
    pub(super) bad: Vec<Block>,
    /// Erases that are counted, and must not be done before the log says so.
    pub(super) erases: Vec<Block>,
    /// Logical pages whose content could not be read when it was to be moved, and where it lay.
    pub(super) lost: BTreeMap<Lpn, Ppn>,
    /// Pages that were moved, by where they lie now.
    pub(super) moves: BTreeMap<Ppn, Written>,
}

impl Pending {
    /// What could not be written after all.
    fn take_back(&mut self, sent: Self) {
        let newer = core::mem::replace(self, sent);
        self.bad.extend(newer.bad);
        self.erases.extend(newer.erases);
        self.lost.extend(newer.lost);
        self.moves.extend(newer.moves);
    }

    /// Whether it is worth no second copy: the page after it repeats it, and nothing is erased for it before.
    fn is_short(&self) -> bool {
        self.bad.is_empty() && self.erases.is_empty() && self.lost.is_empty()
    }

    fn erase_record(&self) -> Option<Record> {
        let blocks: Vec<u32> = self.erases.iter().map(|block| block.0).collect();
        (!blocks.is_empty()).then_some(Record::Erase(blocks))
    }

    fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self.bad.iter().map(|block| Record::Bad(block.0)).collect();
        records.extend(self.erase_record());
        if !self.lost.is_empty() {
            records.push(Record::Lost(self.lost.iter().map(|(logical, old)| (logical.0, old.0)).collect()));
        }
        // Pages that came from one block tell so in few bytes.
        let moves = self.moves.iter().map(|(&page, &written)| (page, written)).collect::<Vec<_>>();
        let together = |a: &(Ppn, Written), b: &(Ppn, Written)| a.1.old.abs_diff(b.1.old) < NEARBY;
        records.extend(moves.chunk_by(together).flat_map(|run| extents(run.iter().copied(), true)));
        records
    }
}

/// Pages in the order of their places, as extents.
pub(super) fn extents(pages: impl IntoIterator<Item = (Ppn, Written)>, moved: bool) -> Vec<Record> {
    let mut records: Vec<(u32, Vec<Written>)> = Vec::new();
    for (page, written) in pages {
        match records.last_mut() {
            Some((address, run)) if *address + run.len() as u32 == page.0 => run.push(written),
            _ => records.push((page.0, Vec::from([written]))),
        }
    }
    records.into_iter().map(|(address, pages)| Record::Extent { address, moved, pages }).collect()
}

/// Records as the pages of a group; the first page has `repeated` bytes less room than the others.
pub(super) fn encode_group(records: Vec<Record>, room: usize, repeated: usize) -> Vec<Vec<u8>> {
    let (mut pages, mut bytes) = (Vec::new(), Vec::new());
    let mut here = room - repeated;
    for record in records {
        let mut rest = Some(record);
        while let Some(record) = rest.take() {
            rest = record.put(&mut bytes, here);
            if rest.is_some() {
                pages.push(core::mem::take(&mut bytes));
                here = room;
            }
        }
    }
    pages.push(bytes);
    pages
}

/// The log since the checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// The number of the next log page.
    pub(super) next: u64,
    /// The records of the last page, where it stands in one block alone.
    pub(super) unrepeated: Vec<u8>,
    /// Pages that a mount has to read.
    pub(super) pages: u32,
    /// Physical pages it takes.
    pub(super) halves: u32,
    /// Replaying it takes the map.
    pub(super) holds_discards: bool,
    /// It states the logical length: without the anchor, nothing else does.
    pub(super) tells_length: bool,
}

/// Old addresses that are not further apart are told together.
const NEARBY: u32 = 1 << 8;

/// The most host pages of a commit that is written to one block alone.
const SHORT_COMMIT: usize = 4;

/// What a group is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// To say which blocks may be erased, and nothing else.
    Erases,
    /// For all that is pending.
    Pending,
    /// To commit what is staged, too.
    Commit,
}

impl<H: FlashHardware> PageVolume<H> {
    /// Count an erase; it must not be done before the log says so.
    pub(super) fn announce_erase(&mut self, block: Block) {
        self.blocks.count_erase(block);
        self.pending.erases.push(block);
    }

    /// Write what is pending, and for a commit what is staged, to the log, durably; then it takes effect.
    pub(super) fn write_group(&mut self, group: Group) -> Result<()> {
        let changes = if group == Group::Commit { self.staged_changes()? } else { Vec::new() };
        loop {
            if group != Group::Erases {
                self.announce_blocks();
            }
            let mut records = match group {
                Group::Erases => self.pending.erase_record().into_iter().collect(),
                _ => self.pending.records(),
            };
            if group == Group::Commit {
                records.extend(self.commit_records(&changes));
            }
            if records.is_empty() {
                if group == Group::Commit {
                    self.take_effect(changes);
                    self.confirm(self.clock);
                }
                return if group == Group::Erases { Ok(()) } else { self.release_emptied() };
            }
            let short = changes.len() <= SHORT_COMMIT && self.pending.is_short() && !self.always_mirror;
            let pages = encode_group(records, room(self.layout.page_size), self.log.unrepeated.len());
            if pages.len() as u32 > self.announced_slots() && group != Group::Erases {
                self.reserve_for(pages.len() as u32 + 1, Heat::Hot)?;
                self.write_group(Group::Erases)?;
                continue;
            }
            // What becomes pending from here on is for the next group.
            let sent = match group {
                Group::Erases => {
                    Pending { erases: core::mem::take(&mut self.pending.erases), ..Pending::default() }
                }
                _ => core::mem::take(&mut self.pending),
            };
            let clock = if group == Group::Commit { self.clock } else { self.committed_clock };
            // The data must be there before what points to it.
            self.hw.sync()?;
            match self.append_group(pages, clock, short) {
                Ok(()) => break,
                Err(ChainError::BlockFailed) => {
                    self.pending.take_back(sent);
                    self.begin_chain_anew()?;
                }
                Err(ChainError::Other(error)) => return Err(self.in_doubt(error)),
            }
        }
        self.hw.sync().map_err(|error| self.in_doubt(error.into()))?;
        if group == Group::Commit {
            self.log.tells_length = true;
            self.take_effect(changes);
            self.confirm(self.clock);
        }
        // What moved away is durably elsewhere only now.
        if group == Group::Erases { Ok(()) } else { self.release_emptied() }
    }

    /// Pages of the log that can be written without a word about the blocks they go into.
    fn announced_slots(&self) -> u32 {
        let announced = |pair: &&Pair| !pair.iter().any(|block| self.pending.erases.contains(block));
        let pairs = self.chain.upcoming.iter().take_while(announced).count() as u32;
        self.layout.pages_per_block - self.chain.slot + pairs * self.layout.pages_per_block
    }

    /// Whether a change took effect is not known; only a mount can tell.
    pub(super) fn in_doubt(&mut self, error: crate::Error) -> crate::Error {
        self.lost_track = true;
        self.read_only.get_or_insert_with(|| {
            alloc::format!("its metadata could not be written ({error}): mount again")
        });
        error
    }

    /// Append a record as a group of its own, durably.
    pub(super) fn append_alone(&mut self, record: &Record) -> Result<()> {
        loop {
            let room = room(self.layout.page_size);
            let pages = encode_group([record.clone()].into(), room, self.log.unrepeated.len());
            match self.append_group(pages, self.committed_clock, false) {
                Ok(()) => break,
                Err(ChainError::BlockFailed) => self.begin_chain_anew()?,
                Err(ChainError::Other(error)) => return Err(self.in_doubt(error)),
            }
        }
        self.hw.sync().map_err(|error| self.in_doubt(error.into()))
    }

    /// Append the pages of a group.
    pub(super) fn append_group(&mut self, pages: Vec<Vec<u8>>, clock: u64, short: bool) -> ChainResult<()> {
        let single = short && matches!(&pages[..], [page] if page.len() <= room(self.layout.page_size) / 4);
        let copies = if single { Copies::One } else { Copies::Both };
        let mut repeated = core::mem::take(&mut self.log.unrepeated);
        let last = pages.len() - 1;
        for (i, page) in pages.iter().enumerate() {
            let flags = if i == last { flags::COMMIT } else { 0 } | if single { flags::SINGLE } else { 0 };
            self.append_log_page(flags, copies, clock, &repeated, page)?;
            repeated.clear();
        }
        if single {
            self.log.unrepeated = pages.into_iter().next().unwrap_or_default();
        }
        Ok(())
    }

    fn append_log_page(
        &mut self,
        flags: u8,
        copies: Copies,
        clock: u64,
        repeated: &[u8],
        records: &[u8],
    ) -> ChainResult<()> {
        let clocks = (self.committed_clock, clock);
        let flags = flags | self.mirrored_flag();
        let page = ChainPage { kind: Kind::Log, flags, epoch: self.sequence as u32, number: self.log.next };
        self.append_to_chain(page, copies, &|next| encode_page(next, clocks, repeated, records))?;
        self.log.next += 1;
        self.log.pages += 1;
        self.log.halves += if copies == Copies::Both { 2 } else { 1 };
        Ok(())
    }

    pub(super) fn mirrored_flag(&self) -> u8 {
        flags::MIRRORED * u8::from(self.always_mirror)
    }

    /// What is staged, with where it lay until now.
    pub(super) fn staged_changes(&mut self) -> Result<Vec<(Lpn, Change, MapEntry)>> {
        let staged: Vec<(Lpn, Change)> =
            self.staged.changes.iter().map(|(&l, &change)| (l, change)).collect();
        let mut changes = Vec::with_capacity(staged.len());
        for (logical, change) in staged {
            changes.push((logical, change, self.map.fetch(&self.hw, logical)?));
        }
        Ok(changes)
    }

    fn commit_records(&self, changes: &[(Lpn, Change, MapEntry)]) -> Vec<Record> {
        let mut records = Vec::new();
        let mut written: Vec<(Ppn, Written)> = Vec::new();
        let mut gone: Vec<(u32, u32)> = Vec::new();
        for &(logical, change, old) in changes {
            match change {
                Change::At { page, crc, .. } => {
                    let old = address_of(old);
                    written.push((page, Written { logical: logical.0, crc, old }));
                }
                // Written and given up between two commits: a mount takes no more discards than there were pages.
                Change::Gone if old == MapEntry::Unmapped => {}
                Change::Gone => match gone.last_mut() {
                    Some((first, count)) if *first + *count == logical.0 => *count += 1,
                    _ => gone.push((logical.0, 1)),
                },
            }
        }
        records.extend(gone.into_iter().map(|(first, count)| Record::Discard { first, count }));
        written.sort_unstable_by_key(|&(page, _)| page);
        records.extend(extents(written, false));
        records.extend(self.length_record());
        records
    }

    /// The logical length, where the log does not state it yet.
    pub(super) fn length_record(&self) -> Option<Record> {
        let len = self.staged.placed_len();
        (!self.log.tells_length || len != self.len).then_some(Record::Length(len))
    }

    /// What was staged takes effect in RAM.
    pub(super) fn take_effect(&mut self, changes: Vec<(Lpn, Change, MapEntry)>) {
        for (logical, change, old) in changes {
            if let Some(page) = physical(old, &self.layout) {
                self.blocks.drop_live(self.layout.block_of(page));
            }
            let entry = match change {
                Change::At { page, crc, .. } => {
                    let block = self.layout.block_of(page);
                    self.blocks.add_live(block);
                    self.blocks.drop_staged(block);
                    self.host_pages_since_map += 1;
                    MapEntry::At { address: page.0, crc }
                }
                Change::Gone => {
                    self.log.holds_discards = true;
                    MapEntry::Unmapped
                }
            };
            self.map.set(logical, entry);
        }
        self.staged.changes.clear();
        self.len = self.staged.placed_len();
        self.announced.calm();
    }

    /// Flash says that all is committed up to this host clock.
    pub(super) fn confirm(&mut self, clock: u64) {
        self.committed_clock = clock;
        self.to_confirm.clear();
    }

    /// Blocks that are not let go, even if they hold nothing: open ones, and that whose summary proves what is committed, until
    /// another does.
    pub(super) fn blocks_that_stay(&self) -> Vec<Block> {
        let proof = self.proof.block().filter(|&block| !self.blocks.info(block).failing);
        self.open_blocks().chain(proof).collect()
    }

    /// Blocks that hold nothing any more, now that this is durable, are free, or bad.
    pub(super) fn release_emptied(&mut self) -> Result<()> {
        self.coming = 0;
        let stay = self.blocks_that_stay();
        for block in self.blocks.take_emptied(|block| stay.contains(&block)) {
            if self.blocks.info(block).failing {
                self.proof.lose(block);
                self.retire(block)?;
            } else {
                self.blocks.set_state(block, BlockState::Free);
            }
        }
        Ok(())
    }
}
