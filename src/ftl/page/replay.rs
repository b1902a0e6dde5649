//! Replay: what the log says, applied in RAM to what the checkpoint says. Nothing on flash is touched.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::blocks::Blocks;
use super::layout::{Layout, Lpn, Ppn};
use super::map::{Map, physical};
use super::walk::{LogSlot, Walker};
use crate::error::Result;
use crate::flash::{Block, FlashHardware, PageAddr};
use crate::onflash::paged::head::Head;
use crate::onflash::paged::log::{LogPage, OpenBlock, Record, Records, Written, flags};
use crate::onflash::paged::map::MapEntry;
use crate::onflash::paged::tables::BlockState;
use crate::onflash::paged::{NO_PAGE, StoredPage};

/// How a session ended well.
#[derive(Clone, Debug)]
pub(super) struct CleanEnd {
    pub(super) prints: [u32; 2],
    pub(super) open: Vec<OpenBlock>,
    pub(super) announced: Vec<u32>,
}

/// What a volume is after its log.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) map: Map,
    /// The block table, where it is there.
    pub(super) blocks: Option<Blocks>,
    pub(super) bad: BTreeSet<Block>,
    pub(super) len: u64,
    pub(super) clock: u64,
    /// The number of the next log page, and how many there are.
    pub(super) next_log: u64,
    pub(super) pages: u32,
    /// Those that are a part of the checkpoint.
    pub(super) snapshot_pages: u32,
    /// It holds discards.
    pub(super) discards: bool,
    pub(super) clean: Option<CleanEnd>,
    /// It stands in both blocks. One that does not may have been torn, and be gone at the next mount with all that follows.
    pub(super) clean_twice: bool,
    /// Where the pages of the last group stand, those of a checkpoint and those without a twin apart: before all copies of these
    /// were there, the power may have gone.
    pub(super) last: BTreeSet<PageAddr>,
    /// The log is damaged in its middle: what follows is not known.
    pub(super) damage: Option<String>,
    /// The torn page that ends it, if one does.
    pub(super) torn: Option<PageAddr>,
    /// There is something of a later checkpoint behind it.
    pub(super) newer: bool,
    /// Blocks of which the last group took the last page that counts: it may have been torn, and be gone at the next mount.
    pub(super) emptied_last: BTreeSet<Block>,
    layout: Layout,
    /// Pages that discards may still name: no more than there are pages to discard.
    discardable: u64,
}

/// What the pages say of a group that is not complete yet.
type Group = Vec<Records>;

impl Replayed {
    pub(super) fn new(
        layout: &Layout,
        map: Map,
        blocks: Option<Blocks>,
        len: u64,
        clock: u64,
        next: u64,
    ) -> Self {
        Self {
            map,
            blocks,
            bad: BTreeSet::new(),
            len,
            clock,
            next_log: next,
            pages: 0,
            snapshot_pages: 0,
            discards: false,
            clean: None,
            clean_twice: false,
            last: BTreeSet::new(),
            damage: None,
            torn: None,
            newer: false,
            emptied_last: BTreeSet::new(),
            layout: *layout,
            discardable: u64::from(layout.capacity_pages),
        }
    }

    /// Walk to the end of the log.
    pub(super) fn run<H: FlashHardware>(
        &mut self,
        hw: &H,
        walker: &mut Walker<'_, H>,
        epoch: u32,
    ) -> Result<()> {
        let mut group = Group::new();
        let mut seen = None;
        loop {
            let slot = match seen.take() {
                Some(slot) => slot,
                None => walker.log_pages(self.next_log, epoch)?,
            };
            let (before, newer, begun) = (self.next_log, slot.newer, slot.begun);
            let (written, torn_twin) = (slot.written, slot.torn_twin);
            let (begins_group, may_be_cut) = (group.is_empty(), slot.may_be_cut());
            self.take(hw, slot, &mut group)?;
            if self.damage.is_some() {
                return Ok(());
            }
            if self.next_log > before {
                // The next page repeats it, if there is one.
                self.torn = torn_twin;
                if begins_group {
                    self.last.clear();
                }
                if may_be_cut {
                    self.last.extend(walker.places());
                }
                self.clean_twice = self.clean.is_some() && walker.both_hold(before, epoch)?;
                if walker.advance() {
                    continue;
                }
                return Ok(());
            }
            self.newer |= newer;
            if self.clean.is_some() {
                // A pair that was not begun holds what it held before.
                let begun = walker.slot > 0;
                // The next session begins in the next pair, whatever has become of this one.
                let mut ahead = walker.clone();
                if begun && ahead.jump() {
                    // Read once: a torn page may not read twice.
                    let slot = ahead.log_pages(self.next_log, epoch)?;
                    if slot.begins_with(self.next_log) {
                        *walker = ahead;
                        seen = Some(slot);
                        continue;
                    }
                }
                // A clean end is followed by nothing; else damage has to be told from a tail.
                if written.is_none() || !begun {
                    return Ok(());
                }
            }
            self.torn = self.torn.or(written.filter(|_| begun && !newer));
            let mut ahead = walker.clone();
            if !ahead.advance() {
                return Ok(());
            }
            let slot = ahead.log_pages(self.next_log, epoch)?;
            self.newer |= slot.newer;
            let Some((head, page)) = slot.pages.first() else { return Ok(()) };
            if head.number == self.next_log + 1 && !page.repeated.is_empty() {
                // The page in doubt stood in one block alone, and is repeated here.
                self.torn = None;
                *walker = ahead;
                continue;
            }
            if head.number > self.next_log {
                self.damage = Some(format!(
                    "log page {} cannot be read, and page {} follows it",
                    self.next_log, head.number
                ));
            }
            return Ok(());
        }
    }

    fn take<H: FlashHardware>(&mut self, hw: &H, slot: LogSlot, group: &mut Group) -> Result<()> {
        for (head, page) in slot.pages {
            if head.number == self.next_log + 1 && !page.repeated.is_empty() {
                self.next_log += 1;
                self.pages += 1;
                self.apply(hw, core::slice::from_ref(&page.repeated), page.before)?;
            }
            if head.number == self.next_log {
                self.next_log += 1;
                self.pages += 1;
                self.take_page(hw, head, page, group)?;
            }
        }
        Ok(())
    }

    fn take_page<H: FlashHardware>(
        &mut self,
        hw: &H,
        head: Head,
        page: LogPage,
        group: &mut Group,
    ) -> Result<()> {
        group.push(page.records);
        self.snapshot_pages += u32::from(head.flags & flags::SNAPSHOT != 0);
        if head.flags & flags::COMMIT == 0 {
            return Ok(());
        }
        let records = core::mem::take(group);
        if head.flags & flags::SNAPSHOT == 0 {
            return self.apply(hw, &records, page.clock);
        }
        // The block table counts these pages where they are already.
        let blocks = self.blocks.take();
        let applied = self.apply(hw, &records, page.clock);
        self.blocks = blocks;
        self.discards = false;
        applied
    }

    fn apply<H: FlashHardware>(&mut self, hw: &H, group: &[Records], clock: u64) -> Result<()> {
        if clock < self.clock || clock > crate::onflash::paged::MAX_CLOCK {
            self.damage = Some(format!("the host clock goes from {} to {clock}", self.clock));
            return Ok(());
        }
        let before = core::mem::replace(&mut self.clock, clock);
        self.emptied_last.clear();
        for record in group.iter().flat_map(Records::decode) {
            if let Some(wrong) = self.apply_record(hw, record, before)? {
                self.damage.get_or_insert(format!("log page {}: {wrong}", self.next_log - 1));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Apply one record; what is wrong with it, if anything.
    fn apply_record<H: FlashHardware>(
        &mut self,
        hw: &H,
        record: Record,
        before: u64,
    ) -> Result<Option<String>> {
        if !matches!(record, Record::Clean { .. }) {
            self.clean = None;
        }
        Ok(match record {
            Record::Extent { address, moved, pages } => {
                // What was moved is no newer than what was committed before.
                let stamp = if moved { before } else { self.clock };
                (address..).zip(pages).find_map(|(address, written)| self.written(address, written, stamp))
            }
            Record::Lost(pages) => pages.into_iter().find_map(|(logical, old)| {
                if logical >= self.layout.capacity_pages {
                    return Some(format!("it loses logical page {logical}"));
                }
                self.leave(old);
                self.map.set(Lpn(logical), MapEntry::Lost);
                None
            }),
            Record::Discard { first, count } => self.discard(hw, first, count)?,
            Record::Length(len) if len > self.layout.capacity() => Some(format!("a length of {len} bytes")),
            Record::Length(len) => {
                self.len = len;
                None
            }
            Record::Erase(blocks) => blocks.into_iter().find_map(|block| self.erase(Block(block))),
            Record::Bad(block) if block >= self.layout.blocks => Some(format!("block {block} is bad")),
            Record::Bad(block) => {
                self.bad.insert(Block(block));
                if let Some(blocks) = &mut self.blocks {
                    blocks.set_state(Block(block), BlockState::Bad);
                }
                None
            }
            Record::Session => None,
            Record::Clean { prints, open, announced } => {
                self.take_from_chain(&announced);
                self.clean = Some(CleanEnd { prints, open, announced });
                None
            }
        })
    }

    /// Blocks that had been set aside for the chain are for any use from here on.
    fn take_from_chain(&mut self, announced: &[u32]) {
        let Some(blocks) = &mut self.blocks else { return };
        for block in announced.iter().filter(|&&b| b < self.layout.blocks).map(|&b| Block(b)) {
            if blocks.state(block) == BlockState::Chain {
                blocks.set_state(block, BlockState::Announced);
            }
        }
    }

    /// A page was programmed; what is wrong with that, if anything.
    fn written(&mut self, address: u32, written: Written, stamp: u64) -> Option<String> {
        let Some(at) = self.layout.data_page(address).map(|page| self.layout.page_addr(page)) else {
            return Some(format!("it writes to page address {address}"));
        };
        if written.logical >= self.layout.capacity_pages {
            return Some(format!("it writes logical page {}", written.logical));
        }
        self.discardable += 1;
        self.leave(written.old);
        if let Some(blocks) = &mut self.blocks {
            match blocks.state(at.block) {
                // One that was closed before the checkpoint may hold pages that are committed only now.
                BlockState::Listed | BlockState::Closed => {}
                BlockState::Free | BlockState::Announced => blocks.set_state(at.block, BlockState::Listed),
                _ => return Some(format!("it writes to {}, which holds something else", at.block)),
            }
            if blocks.state(at.block) == BlockState::Listed {
                let list = blocks.lists.entry(at.block).or_default();
                if list.len() <= at.page as usize {
                    list.resize(at.page as usize + 1, None);
                }
                let stored = StoredPage { logical: written.logical, crc: written.crc, stamp };
                if let Some(slot) = list.get_mut(at.page as usize) {
                    *slot = Some(stored);
                }
            }
            blocks.add_live(at.block);
            blocks.info_mut(at.block).written = stamp;
        }
        self.map.set(Lpn(written.logical), MapEntry::At { address, crc: written.crc });
        None
    }

    /// A page is no longer current.
    fn leave(&mut self, old: u32) {
        if old != NO_PAGE
            && let Some(page) = self.layout.physical(old)
            && let Some(blocks) = &mut self.blocks
        {
            let block = self.layout.block_of(page);
            blocks.drop_live(block);
            if blocks.info(block).live == 0 {
                self.emptied_last.insert(block);
            }
        }
    }

    fn discard<H: FlashHardware>(&mut self, hw: &H, first: u32, count: u32) -> Result<Option<String>> {
        let end = first.checked_add(count).filter(|&end| end <= self.layout.capacity_pages);
        let left = self.discardable.checked_sub(u64::from(count));
        let (Some(end), Some(left)) = (end, left) else {
            return Ok(Some(format!("it discards {count} pages from {first} on")));
        };
        self.discardable = left;
        self.discards = true;
        for logical in (first..end).map(Lpn) {
            if self.blocks.is_some() {
                let old = match self.map.get(hw, logical) {
                    Ok(entry) => physical(entry, &self.layout),
                    Err(super::map::MapError::Flash(error)) => return Err(error.into()),
                    Err(super::map::MapError::Damaged(_)) => None,
                };
                self.leave(old.map_or(NO_PAGE, |Ppn(address)| address));
            }
            self.map.set(logical, MapEntry::Unmapped);
        }
        Ok(None)
    }

    fn erase(&mut self, block: Block) -> Option<String> {
        if block.0 >= self.layout.blocks {
            return Some(format!("it erases {block}"));
        }
        let Some(blocks) = &mut self.blocks else { return None };
        blocks.count_erase(block);
        match blocks.state(block) {
            BlockState::Zone | BlockState::Bad => {}
            _ if blocks.info(block).live > 0 => return Some(format!("it erases {block}, which holds data")),
            _ => blocks.set_state(block, BlockState::Announced),
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "tests know their layouts")]
mod tests {
    use super::*;
    use crate::flash::Geometry;
    use crate::flash::sim::SimFlash;
    use crate::onflash::paged::tables::Directory;

    fn fresh() -> (SimFlash, Replayed) {
        let chip = SimFlash::new(Geometry::new(256, 0, 2048, 64).expect("a geometry"));
        let layout = Layout::of_chip(chip.geometry()).and_then(|chip| chip.with_capacity(0, 7));
        let layout = layout.expect("a layout");
        let map_pages = alloc::vec![NO_PAGE; layout.map_pages() as usize];
        let map = Map::new(&layout, 1, Directory { pairs: Vec::new(), map_pages }, usize::MAX);
        let blocks = Some(Blocks::new(&layout));
        let replayed = Replayed::new(&layout, map.expect("an empty map"), blocks, 0, 5, 1);
        (chip, replayed)
    }

    fn extent(address: u32, logical: u32) -> Record {
        Record::Extent {
            address,
            moved: false,
            pages: Vec::from([Written { logical, crc: 0, old: NO_PAGE }]),
        }
    }

    fn group(records: &[Record]) -> [Records; 1] {
        let mut bytes = Vec::new();
        for record in records {
            assert_eq!(record.clone().put(&mut bytes, 4096), None);
        }
        [Records::check(&bytes).expect("records that are whole")]
    }

    #[track_caller]
    fn assert_wrong(prepare: &[Record], record: Record, why: &str) {
        let (chip, mut replayed) = fresh();
        replayed.blocks.as_mut().expect("a table").set_state(Block(20), BlockState::Chain);
        replayed.apply(&chip, &group(prepare), 6).expect("a chip in RAM reads");
        assert_eq!(replayed.damage, None);
        replayed.apply(&chip, &group(&[record]), 7).expect("a chip in RAM reads");
        let damage = replayed.damage.expect("the record cannot be");
        assert!(damage.contains(why), "{damage}");
    }

    #[test]
    fn what_a_log_cannot_say_is_damage() {
        let (_, fresh) = fresh();
        let capacity = fresh.layout.capacity_pages;
        // Pages of the chain, of the zone, a summary, past the chip.
        assert_wrong(&[], extent(20 * 8, 0), "which holds something else");
        assert_wrong(&[], extent(8, 0), "writes to page address 8");
        assert_wrong(&[], extent(30 * 8 + 7, 0), "writes to page address 247");
        assert_wrong(&[], extent(64 * 8, 0), "writes to page address 512");
        assert_wrong(&[], extent(30 * 8, capacity), "writes logical page");
        assert_wrong(&[extent(30 * 8, 0)], Record::Erase([30].into()), "which holds data");
        assert_wrong(&[], Record::Erase([64].into()), "erases block 64");
        assert_wrong(&[], Record::Bad(64), "block 64 is bad");
        assert_wrong(&[], Record::Length(fresh.layout.capacity() + 1), "a length of");
        assert_wrong(&[], Record::Lost([(capacity, NO_PAGE)].into()), "loses logical page");
        assert_wrong(&[], Record::Discard { first: capacity, count: 1 }, "discards 1 pages");
        assert_wrong(&[], Record::Discard { first: 1, count: u32::MAX }, "discards");
    }

    /// Else a log of lies could keep a mount busy for very long.
    #[test]
    fn no_more_is_discarded_than_there_is() {
        let (_, fresh) = fresh();
        let count = fresh.layout.capacity_pages;
        let all = Record::Discard { first: 0, count };
        assert_wrong(core::slice::from_ref(&all), all.clone(), "discards");
        // A page that is written may be discarded once more.
        let one = Record::Discard { first: 0, count: 1 };
        assert_wrong(&[all, extent(30 * 8, 0), one.clone()], one, "discards");
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let (chip, mut replayed) = fresh();
        replayed.apply(&chip, &[], 4).expect("a chip in RAM reads");
        assert!(replayed.damage.is_some_and(|damage| damage.contains("from 5 to 4")));
    }
}
