//! What single pages tell of a volume whose metadata cannot be followed: every block is read for itself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::collect::{BlockSummary, read_summary};
use super::io::{Reading, read_metadata};
use super::last_state::{LastState, Lead, Trails};
use super::layout::{Layout, Lpn, Ppn};
use super::mount::all_anchors;
use super::zone::LAST_NUMBER;
use crate::error::{Error, Result};
use crate::flash::{Block, FlashHardware, PageAddr, marked_blocks};
use crate::onflash::paged::head::{Head, Kind};
use crate::onflash::paged::log::{LogPage, Record, Records, flags};
use crate::onflash::paged::tables::{BlockState, BlockTable, decode_chunk};
use crate::onflash::paged::{MAX_CLOCK, StoredPage};

/// A place that is said to hold a version of a logical page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    /// The host clock when it was written, or when its group was committed.
    pub(super) stamp: u64,
    /// Of two with one stamp, the one with the higher number was put there later.
    pub(super) order: u64,
    pub(super) page: Ppn,
    pub(super) crc: u32,
    /// A block summary says so: the block has not been erased since.
    pub(super) by_summary: bool,
}

/// What the log tells of a page counts as later than any block that was closed.
const LATER: u64 = 1 << 63;

/// No chip lives to see the middle: such a sequence number is damage, and leaves too few to go on from.
pub(super) const LAST_SEQUENCE: u64 = u32::MAX as u64 / 2;

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) volume: u32,
    /// The highest anchor sequence, or epoch, of any page.
    pub(super) sequence: u64,
    /// The highest host clock that is known to be committed.
    pub(super) committed: u64,
    /// Logical length, with the host clock it belongs to.
    pub(super) length: (u64, u64),
    pub(super) versions: BTreeMap<Lpn, Vec<Version>>,
    /// Ranges of logical pages that were given up, and when.
    discards: Vec<(Lpn, Lpn, u64)>,
    /// Blocks with a summary.
    pub(super) closed: BTreeMap<Block, BlockSummary>,
    pub(super) erases: BTreeMap<Block, u32>,
    /// A whole block table was found, which states them all.
    pub(super) has_table: bool,
    pub(super) bad: BTreeSet<Block>,
    /// Blocks with pages of the log or of a block table, and the highest epoch of those.
    chain_blocks: BTreeMap<Block, u32>,
    /// The number of the log page after all that were found.
    pub(super) next_log: u64,
    /// Blocks that are not erased, and show neither what they hold nor that it is no data of this volume.
    unread: BTreeSet<Block>,
    /// What the volume was, as far as its log tells.
    pub(super) lead: Lead,
}

/// Pages of the chain that were found, of one volume.
#[derive(Debug, Default)]
struct ChainPages {
    log: BTreeMap<u64, (Head, LogPage)>,
    /// Parts of block tables, by epoch and number.
    tables: BTreeMap<(u32, u64), Vec<u8>>,
    trails: Trails,
}

impl Evidence {
    /// Read every block of the chip.
    ///
    /// # Errors
    /// When the chip fails otherwise than by pages that cannot be read, or nothing is found.
    pub(super) fn gather<H: FlashHardware>(hw: &H, layout: &Layout, volume: u32) -> Result<Self> {
        let mut evidence = Self { volume, ..Self::default() };
        evidence.bad.extend(marked_blocks(hw)?);
        let mut chain = ChainPages::default();
        for found in all_anchors(hw)? {
            if found.head.volume == volume {
                chain.trails.note_anchor(&found);
                evidence.note_erases(found.at.block, found.head.erases);
                evidence.note_sequence(found.head.number);
                evidence.note_log_number(found.anchor.next_log.saturating_sub(1));
                evidence.commit(found.anchor.clock, found.anchor.logical_len);
            }
        }
        for block in hw.geometry().iter_blocks().skip(layout.zone_blocks as usize) {
            evidence.look_at(hw, layout, block, &mut chain)?;
        }
        evidence.take_tables(layout, &chain);
        evidence.take_log(layout, chain.log);
        evidence.lead = Lead::find(hw, layout, volume, &chain.trails, evidence.committed)?;
        // A block that shows its summary has not been erased since.
        let own = evidence.closed.iter().map(|(&block, summary)| (block, summary.erases));
        evidence.erases.extend(own);
        if evidence.versions.is_empty() && evidence.sequence == 0 {
            return Err(Error::Unmountable("no block summary and no other metadata can be read".into()));
        }
        Ok(evidence)
    }

    fn commit(&mut self, clock: u64, len: u64) {
        if clock > MAX_CLOCK {
            return;
        }
        self.committed = self.committed.max(clock);
        if clock >= self.length.0 {
            self.length = (clock, len);
        }
    }

    /// What no chip lives to see is damage, and hides none of the others.
    fn note_sequence(&mut self, sequence: u64) {
        if sequence < LAST_SEQUENCE {
            self.sequence = sequence.max(self.sequence);
        }
    }

    /// The same of a log page.
    fn note_log_number(&mut self, number: u64) {
        if number < LAST_NUMBER / 2 {
            self.next_log = self.next_log.max(number + 1);
        }
    }

    fn note_erases(&mut self, block: Block, erases: u32) {
        let count = self.erases.entry(block).or_default();
        *count = erases.max(*count);
    }

    fn add(&mut self, layout: &Layout, logical: u32, version: Version) {
        if layout.data_page(version.page.0).is_some() {
            self.versions.entry(Lpn(logical)).or_default().push(version);
        }
    }

    fn look_at<H: FlashHardware>(
        &mut self,
        hw: &H,
        layout: &Layout,
        block: Block,
        chain: &mut ChainPages,
    ) -> Result<()> {
        if let Some(summary) = read_summary(hw, layout, self.volume, block)? {
            self.note_erases(block, summary.erases);
            self.note_sequence(u64::from(summary.epoch));
            self.commit(summary.committed_clock, summary.logical_len);
            // A page that was moved stands in a block that was closed later.
            let order = summary.committed_clock;
            for &(page, StoredPage { logical, crc, stamp }) in &summary.contents {
                let page = layout.address(PageAddr { block, page });
                self.add(layout, logical, Version { stamp, order, page, crc, by_summary: true });
            }
            self.closed.insert(block, summary);
            return Ok(());
        }
        let (mut erased, mut explained) = (true, self.bad.contains(&block));
        for at in hw.geometry().iter_pages(block) {
            let reading = read_metadata(hw, at)?;
            erased &= reading.is_erased();
            let Reading::Whole(head, payload) = reading else { continue };
            if head.address != layout.address(at).0 {
                continue;
            }
            // A summary that is not whole closes a block whose content nobody knows.
            explained |= head.volume != self.volume || head.kind != Kind::Summary;
            if head.volume != self.volume {
                continue;
            }
            self.note_erases(block, head.erases);
            chain.trails.note(&head, at);
            if matches!(head.kind, Kind::Log | Kind::Table) {
                let epoch = self.chain_blocks.entry(block).or_default();
                *epoch = head.epoch.max(*epoch);
            }
            match head.kind {
                Kind::Log => {
                    self.note_log_number(head.number);
                    if let Ok(page) = LogPage::decode(&payload)
                        && page.before.max(page.clock) <= MAX_CLOCK
                    {
                        // Of two the later one: the number of one that was cut short is given again.
                        let known = chain.log.get(&head.number);
                        if known.is_none_or(|(known, _)| known.epoch <= head.epoch) {
                            chain.log.insert(head.number, (head, page));
                        }
                    }
                }
                Kind::Table => {
                    let chunk = decode_chunk(&payload).unwrap_or_default().to_vec();
                    chain.tables.insert((head.epoch, head.number), chunk);
                }
                _ => {}
            }
            // A checkpoint that was not finished may be one ahead of all that counts.
            self.note_sequence(u64::from(head.epoch));
        }
        if !erased && !explained {
            self.unread.insert(block);
        }
        Ok(())
    }

    /// Blocks that held data which counted, or may have, and of which nothing says what it was; whether the map can be `followed`
    /// to each logical page.
    pub(super) fn blocks_in_doubt(&self, followed: bool) -> Vec<Block> {
        match self.lead.last().map(LastState::closed) {
            // The map names each page, so what is lost is told one by one.
            Some(_) if followed => Vec::new(),
            // All other blocks are told by the log, or were never acknowledged: a power cut leaves such.
            Some(Some(closed)) => closed.filter(|block| !self.closed.contains_key(block)).collect(),
            _ => self.unread.iter().copied().collect(),
        }
    }

    /// The newest block table that is whole: erase counts, bad blocks, and the pages of blocks without a summary.
    fn take_tables(&mut self, layout: &Layout, chain: &ChainPages) {
        let epochs: BTreeSet<u32> = chain.tables.keys().map(|&(epoch, _)| epoch).collect();
        for &epoch in epochs.iter().rev() {
            let parts = chain.tables.range((epoch, 0)..=(epoch, u64::MAX));
            let in_order = parts.clone().zip(0..).all(|((&(_, number), _), i)| number == i);
            let stream: Vec<u8> = parts.flat_map(|(_, chunk)| chunk.iter().copied()).collect();
            let Ok(table) = BlockTable::decode(&stream) else { continue };
            if !in_order || table.rows.len() != layout.blocks as usize {
                continue;
            }
            self.has_table = true;
            for (block, row) in (0..).map(Block).zip(&table.rows) {
                self.note_erases(block, row.erases);
                if row.state == BlockState::Bad {
                    self.bad.insert(block);
                }
            }
            for list in &table.lists {
                for (page, stored) in (0..).zip(&list.pages) {
                    let Some(StoredPage { logical, crc, stamp }) = *stored else { continue };
                    // Past the end of the block it would be a page of the next one.
                    if list.block < layout.blocks && page < layout.data_pages() {
                        let page = layout.address(PageAddr { block: Block(list.block), page });
                        self.add(layout, logical, Version { stamp, order: 0, page, crc, by_summary: false });
                    }
                }
            }
            return;
        }
    }

    /// The groups of the log that are complete.
    fn take_log(&mut self, layout: &Layout, mut log: BTreeMap<u64, (Head, LogPage)>) {
        let repeated: Vec<(u64, (Head, LogPage))> = (log.iter())
            .filter_map(|(number, (head, page))| {
                let before = number.checked_sub(1)?;
                if page.repeated.is_empty() || log.contains_key(&before) {
                    return None;
                }
                let (records, clock) = (page.repeated.clone(), page.before);
                let head = Head { flags: flags::COMMIT, ..*head };
                let page = LogPage { records, clock, repeated: Records::default(), ..page.clone() };
                Some((before, (head, page)))
            })
            .collect();
        log.extend(repeated);
        let (mut group, mut next) = (Vec::new(), None);
        for (number, (head, page)) in log {
            // A group whose beginning is not there cannot be told from a part of one, and one that was cut short does not go on in the
            // log of another epoch.
            if next != Some((number, head.epoch)) {
                group.clear();
            }
            next = number.checked_add(1).map(|next| (next, head.epoch));
            group.push(page.records);
            if head.flags & flags::COMMIT != 0 {
                self.committed = self.committed.max(page.clock);
                for record in core::mem::take(&mut group).iter().flat_map(Records::decode) {
                    let moved = matches!(record, Record::Extent { moved: true, .. });
                    self.take_record(
                        layout,
                        record,
                        if moved { page.before } else { page.clock },
                        LATER | number,
                    );
                }
            }
        }
    }

    fn take_record(&mut self, layout: &Layout, record: Record, clock: u64, order: u64) {
        match record {
            Record::Extent { address, pages, .. } => {
                for (address, written) in (address..).zip(pages) {
                    let Some(page) = layout.physical(address) else { continue };
                    let version = Version { stamp: clock, order, page, crc: written.crc, by_summary: false };
                    self.add(layout, written.logical, version);
                }
            }
            Record::Discard { first, count } => {
                self.discards.push((Lpn(first), Lpn(first.saturating_add(count)), clock));
            }
            Record::Length(len) => self.commit(clock, len),
            Record::Bad(block) if block < layout.blocks => {
                self.bad.insert(Block(block));
            }
            Record::Bad(_) | Record::Lost(_) | Record::Erase(_) | Record::Session | Record::Clean { .. } => {}
        }
    }

    /// The blocks that tell what is newest, the most important last: those of the log and of block tables by age; those that cannot
    /// be read, as the state without them is an older one, which may count on what is free now; the summary without which what
    /// is committed may not be known to be.
    pub(super) fn telling(&self) -> Vec<Block> {
        let mut telling: Vec<Block> = self.chain_blocks.keys().copied().collect();
        telling.sort_by_key(|block| self.chain_blocks[block]);
        telling.extend(&self.unread);
        telling.extend(self.proof().map(|(block, _)| block));
        telling
    }

    /// The block whose summary proves the highest host clock to be committed, and that clock.
    pub(super) fn proof(&self) -> Option<(Block, u64)> {
        let clocks = self.closed.iter().map(|(&block, summary)| (block, summary.committed_clock));
        clocks.max_by_key(|&(_, clock)| clock)
    }

    /// Committed writes of the host of which no summary shows the page: each has a number of its own.
    pub(super) fn unaccounted(&self) -> u64 {
        let shown =
            self.closed.values().flat_map(|summary| &summary.contents).map(|(_, stored)| stored.stamp);
        let mut shown: Vec<u64> = shown.filter(|stamp| (1..=self.committed).contains(stamp)).collect();
        shown.sort_unstable();
        shown.dedup();
        self.committed.saturating_sub(shown.len() as u64)
    }

    /// The version of `logical` with this CRC-32 that is known to have been written at `page`.
    pub(super) fn known_at(&self, logical: Lpn, page: Ppn, crc: u32) -> Option<Version> {
        let known = self.versions.get(&logical).into_iter().flatten();
        known.filter(|version| (version.page, version.crc) == (page, crc)).max().copied()
    }

    /// What stands at `page` by the CRC-32 that the map has of it.
    pub(super) fn version_at(&self, logical: Lpn, page: Ppn, crc: u32) -> Version {
        let unknown = Version { stamp: self.committed, order: 0, page, crc, by_summary: false };
        self.known_at(logical, page, crc).unwrap_or(unknown)
    }

    /// Whether what the map says of `logical` can be so: something else says that it was written there, or its block holds data and
    /// does not say which.
    pub(super) fn bears_out(&self, layout: &Layout, logical: Lpn, version: Version) -> bool {
        let block = layout.block_of(version.page);
        let holds_data = || self.lead.last().is_some_and(|last| last.may_hold(block));
        let is_silent = || !self.closed.contains_key(&block) && layout.data_page(version.page.0).is_some();
        self.known_at(logical, version.page, version.crc).is_some() || is_silent() && holds_data()
    }

    /// When each logical page that anything is known of was given up last.
    pub(super) fn discarded(&self) -> BTreeMap<Lpn, u64> {
        let mut latest_first = self.discards.clone();
        latest_first.sort_unstable_by_key(|&(.., clock)| core::cmp::Reverse(clock));
        let mut left: BTreeSet<Lpn> = self.versions.keys().copied().collect();
        let mut discarded = BTreeMap::new();
        for (first, end, clock) in latest_first {
            // Each page leaves but once, however many ranges say so.
            let pages: Vec<Lpn> = left.range(first..end.max(first)).copied().collect();
            for logical in pages {
                left.remove(&logical);
                discarded.insert(logical, clock);
            }
        }
        discarded
    }
}

/// The volume that the chip's pages belong to: that of the newest anchor which can be one on this chip, else the youngest of those
/// that summaries name.
pub(super) fn find_volume<H: FlashHardware>(hw: &H, chip: &Layout) -> Result<Option<(u32, Option<Layout>)>> {
    let mut anchors = all_anchors(hw)?;
    anchors.sort_by_key(|found| found.head.number);
    let mut why_not = None;
    for found in anchors.into_iter().rev() {
        match Layout::of_anchor(&found.anchor, hw.geometry()) {
            Ok(layout) => return Ok(Some((found.head.volume, Some(layout)))),
            Err(error @ (Error::GeometryMismatch(_) | Error::Unmountable(_))) => {
                why_not.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = why_not {
        return Err(error);
    }
    let mut volumes: BTreeMap<u32, u32> = BTreeMap::new();
    for block in hw.geometry().iter_blocks() {
        for page in [0, chip.data_pages()] {
            let at = PageAddr { block, page };
            if let Reading::Whole(head, _) = read_metadata(hw, at)?
                && head.address == chip.address(at).0
            {
                let newest = volumes.entry(head.volume).or_default();
                *newest = head.epoch.max(*newest);
            }
        }
    }
    // A format goes on counting where the volume before it ended.
    Ok(volumes.into_iter().max_by_key(|&(_, epoch)| epoch).map(|(volume, _)| (volume, None)))
}
