//! The anchor zone: where the newest anchor is, and writing the next one.
//!
//! An anchor stands in two blocks of the zone. They are filled page by page; then, or when the power went while one of them
//! was written, two others take over, one after the other, so that an anchor is there whenever the power goes.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::PageVolume;
use super::io::{Reading, block_place, read_metadata};
use crate::error::{Error, Result};
use crate::flash::{Block, FlashHardware, PageAddr};
use crate::onflash::paged::anchor::Anchor;
use crate::onflash::paged::head::{Head, Kind, PageError, seal};
use crate::onflash::paged::tables::BlockState;

#[derive(Clone, Debug, Default)]
pub(super) struct Zone {
    /// The blocks that hold the newest anchor.
    pub(super) blocks: Vec<Block>,
    /// The page after it.
    pub(super) next: u32,
    /// Nothing may be programmed behind it: the power may have gone while that was done.
    pub(super) in_doubt: bool,
    /// The blocks that the next one goes into, where those that hold the newest are not used on.
    pub(super) planned: Vec<Block>,
    /// Blocks that hold the anchor before the newest, and those that hold something torn.
    pub(super) previous: Vec<Block>,
    pub(super) damaged: Vec<Block>,
}

/// An anchor that was found.
#[derive(Clone, Debug)]
pub(super) struct FoundAnchor {
    pub(super) at: PageAddr,
    pub(super) head: Head,
    pub(super) anchor: Anchor,
}

/// No chip lives to see such a number of a log page or an anchor: it is damage.
pub(super) const LAST_NUMBER: u64 = 1 << 62;

/// What a page of the zone holds.
pub(super) fn read_anchor<H: FlashHardware + ?Sized>(
    hw: &H,
    at: PageAddr,
) -> Result<core::result::Result<FoundAnchor, Reading>> {
    let address = at.block.0 * hw.geometry().pages_per_block() + at.page;
    Ok(match read_metadata(hw, at)? {
        Reading::Whole(head, payload) if head.kind == Kind::Anchor => {
            let decoded =
                head.expect(Kind::Anchor, head.volume, address).and_then(|()| Anchor::decode(&payload));
            match decoded {
                Ok(_) if head.number >= LAST_NUMBER || head.epoch != head.number as u32 => {
                    Err(Reading::Not(PageError::Malformed("sequence number")))
                }
                Ok(anchor) => Ok(FoundAnchor { at, head, anchor }),
                Err(error) => Err(Reading::Not(error)),
            }
        }
        other => Err(other),
    })
}

/// What was found in the zone.
#[derive(Debug)]
pub(super) struct ZoneSurvey {
    /// The newest anchor in each block that begins with one, and whether all that follows it in the block is erased.
    pub(super) newest: Vec<(FoundAnchor, bool)>,
    /// Blocks that do not begin with an anchor and are not erased there.
    pub(super) damaged: Vec<(Block, Reading)>,
    /// Those of them that are marked bad.
    bad: Vec<Block>,
    /// How many blocks were looked at.
    blocks: u32,
}

impl ZoneSurvey {
    /// Look at the first `zone_blocks` blocks: at the first page of each, and for the newest anchor where the first pages say
    /// that it can be.
    ///
    /// # Errors
    /// When the chip fails otherwise than by pages that cannot be read.
    pub(super) fn read<H: FlashHardware + ?Sized>(hw: &H, zone_blocks: u32) -> Result<Self> {
        let mut firsts = Vec::new();
        let blocks = zone_blocks.min(hw.geometry().blocks());
        let mut survey = Self { newest: Vec::new(), damaged: Vec::new(), bad: Vec::new(), blocks };
        for block in (0..blocks).map(Block) {
            match read_anchor(hw, PageAddr { block, page: 0 })? {
                Ok(found) => firsts.push(found),
                Err(reading) if reading.is_vacant(0) => {}
                // Its later pages may tell.
                Err(reading) => {
                    if let Some(found) = newest_of(hw, block, None)? {
                        survey.newest.push(found);
                    }
                    survey.bad.extend(hw.is_bad(block)?.then_some(block));
                    survey.damaged.push((block, reading));
                }
            }
        }
        let newest = firsts.iter().map(|found| found.head.number).max();
        let mut page = None;
        for first in firsts {
            // Blocks are filled one pair after the other: the newest anchor is where the newest first page is.
            if Some(first.head.number) == newest {
                let found = match newest_at(hw, first.at.block, page)? {
                    Some(found) => Some((found, true)),
                    None => newest_of(hw, first.at.block, Some(first))?,
                };
                page = found.as_ref().map(|(found, _)| found.at.page);
                survey.newest.extend(found);
            } else {
                survey.newest.push((first, true));
            }
        }
        survey.newest.sort_by_key(|(found, _)| core::cmp::Reverse((found.head.number, found.at)));
        Ok(survey)
    }
}

impl ZoneSurvey {
    /// Damaged blocks that an anchor may have been written to when the power went: those that are marked bad hold nothing.
    pub(super) fn in_doubt(&self) -> impl Iterator<Item = &(Block, Reading)> {
        self.damaged.iter().filter(|(block, _)| !self.bad.contains(block))
    }

    /// What is where the anchors should be, and none is.
    pub(super) fn describe<H: FlashHardware + ?Sized>(&self, hw: &H) -> String {
        let offset = |block| hw.raw_offset(PageAddr { block: Block(block), page: 0 });
        let (last, start) = (self.blocks.saturating_sub(1), offset(0));
        let end = offset(last) + hw.geometry().raw_block_size();
        let damaged = self.damaged.iter();
        let damaged: Vec<String> = damaged
            .map(|(block, reading)| format!("{}: {}", block_place(hw, *block), reading.reason()))
            .collect();
        let but = if damaged.is_empty() { "" } else { "; " };
        format!(
            "blocks 0 to {last} (offset {start:#x} up to {end:#x}) hold no anchor{but}{}",
            damaged.join("; ")
        )
    }
}

/// The newest anchor of a block, if it is where its twin is, in `page`.
fn newest_at<H: FlashHardware + ?Sized>(
    hw: &H,
    block: Block,
    page: Option<u32>,
) -> Result<Option<FoundAnchor>> {
    let Some(page) = page.filter(|&page| page > 0) else { return Ok(None) };
    let next = page + 1;
    let is_last = next == hw.geometry().pages_per_block()
        || read_anchor(hw, PageAddr { block, page: next })?.is_err_and(|reading| reading.is_erased());
    Ok(if is_last { read_anchor(hw, PageAddr { block, page })?.ok() } else { None })
}

/// The newest anchor of a block, and whether the page after it is erased.
fn newest_of<H: FlashHardware + ?Sized>(
    hw: &H,
    block: Block,
    first: Option<FoundAnchor>,
) -> Result<Option<(FoundAnchor, bool)>> {
    let pages = hw.geometry().pages_per_block();
    // Pages are programmed in order: the first erased one is found by halving. One that cannot be read was programmed.
    let (mut low, mut high) = (1, pages);
    while low < high {
        let middle = low + (high - low) / 2;
        match read_anchor(hw, PageAddr { block, page: middle })? {
            Err(reading) if reading.is_erased() => high = middle,
            _ => low = middle + 1,
        }
    }
    for page in (0..low).rev() {
        if page == 0 {
            return Ok(first.map(|found| (found, low == 1)));
        }
        // An erase that was cut short may have left older ones behind the first.
        let is_newer = |found: &FoundAnchor| first.as_ref().is_none_or(|f| found.head.number > f.head.number);
        if let Some(found) = read_anchor(hw, PageAddr { block, page })?.ok().filter(is_newer) {
            return Ok(Some((found, page + 1 == low)));
        }
    }
    Ok(None)
}

/// Whether any page of `block` is an anchor.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read.
pub fn holds_an_anchor<H: FlashHardware>(hw: &H, block: Block) -> Result<bool> {
    for at in hw.geometry().iter_pages(block) {
        if read_anchor(hw, at)?.is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether an anchor is in the first blocks.
///
/// # Errors
/// When the chip fails otherwise than by pages that cannot be read.
pub fn shows_an_anchor<H: FlashHardware>(hw: &H) -> Result<bool> {
    Ok(!ZoneSurvey::read(hw, super::mount::zone_blocks(hw))?.newest.is_empty())
}

impl<H: FlashHardware> PageVolume<H> {
    /// Blocks of the zone that can be used.
    pub(super) fn good_zone_blocks(&self) -> impl Iterator<Item = Block> {
        let zone = (0..self.layout.zone_blocks).map(Block);
        zone.filter(|&block| self.is_good_zone_block(block))
    }

    fn is_good_zone_block(&self, block: Block) -> bool {
        self.blocks.state(block) == BlockState::Zone
    }

    /// Whether the next anchor goes into other blocks.
    pub(super) fn zone_turns_over(&self) -> bool {
        let zone = &self.zone;
        zone.in_doubt
            || zone.next >= self.layout.pages_per_block
            || zone.blocks.iter().filter(|&&block| self.is_good_zone_block(block)).count() < 2
    }

    /// The blocks that the next anchor goes into when the zone turns over.
    pub(super) fn next_zone_blocks(&self) -> Vec<Block> {
        let mut good = self.zone_blocks_but(&[]);
        good.truncate(2);
        good
    }

    /// Blocks of the zone that can be used, in the order in which anchors go into them, without `blocks`.
    pub(super) fn zone_blocks_but(&self, blocks: &[Block]) -> Vec<Block> {
        let mut good: Vec<Block> = self.good_zone_blocks().filter(|block| !blocks.contains(block)).collect();
        good.sort_by_key(|&block| self.zone_preference(block));
        good
    }

    /// Decide where the next anchor goes; what has to be erased for it is counted.
    pub(super) fn plan_zone(&mut self) -> Result<()> {
        if !self.zone_turns_over() || !self.zone.planned.is_empty() {
            return Ok(());
        }
        let planned = self.next_zone_blocks();
        if planned.len() < 2 {
            return Err(self.too_few_anchor_blocks());
        }
        for &block in &planned {
            self.announce_erase(block);
        }
        self.zone.planned = planned;
        Ok(())
    }

    /// Make `anchor` the newest one.
    pub(super) fn write_anchor(&mut self, anchor: &Anchor, sequence: u64) -> Result<()> {
        let payload = anchor.encode();
        if !self.zone_turns_over() && self.append_anchor(&payload, sequence)? {
            return Ok(());
        }
        self.anchor_into_other_blocks(&payload, sequence)
    }

    /// Write the anchor behind the one before it; `false` where a block fails.
    fn append_anchor(&mut self, payload: &[u8], sequence: u64) -> Result<bool> {
        let page = self.zone.next;
        for block in self.zone.blocks.clone() {
            if !self.program_anchor(PageAddr { block, page }, payload, sequence)? {
                return Ok(false);
            }
        }
        self.hw.sync()?;
        self.zone.next += 1;
        Ok(true)
    }

    /// Write the anchor into two other blocks, one after the other: the one before it stays until this one is durable. The newest
    /// one, which stands in a block already, is copied to another alone where nothing would tell of the second erase: the checkpoint
    /// that follows will have counted it.
    fn anchor_into_other_blocks(&mut self, payload: &[u8], sequence: u64) -> Result<()> {
        let stands = sequence == self.sequence;
        let (mut written, mut in_doubt) = (Vec::new(), false);
        while written.len() < 2 {
            let next = || self.zone_blocks_but(&written).first().copied();
            if stands && written.len() == 1 && !next().is_some_and(|block| self.erase_shows(block)) {
                written.append(&mut self.zone.blocks);
                in_doubt = true;
                break;
            }
            self.anchor_into_one_more(&mut written, payload, sequence)?;
        }
        self.zone = Zone { blocks: written, next: 1, in_doubt, ..Zone::default() };
        Ok(())
    }

    /// Write the anchor into a block that is not among those it is `written` to; into none if the block fails.
    fn anchor_into_one_more(
        &mut self,
        written: &mut Vec<Block>,
        payload: &[u8],
        sequence: u64,
    ) -> Result<()> {
        let block = if self.zone.planned.is_empty() {
            let good = self.zone_blocks_but(written);
            let Some(&block) = good.first() else { return Err(self.too_few_anchor_blocks()) };
            self.announce_erase(block);
            block
        } else {
            self.zone.planned.remove(0)
        };
        if written.is_empty() && self.holds_the_only_anchor(block) {
            return Err(self.too_few_anchor_blocks());
        }
        if self.erase_or_retire(block)?
            && self.program_anchor(PageAddr { block, page: 0 }, payload, sequence)?
        {
            self.hw.sync()?;
            written.push(block);
            self.zone.previous.clear();
        }
        Ok(())
    }

    /// Blocks that have turned out bad count for nothing.
    fn holds_the_only_anchor(&self, block: Block) -> bool {
        let mut others = self.zone.blocks.iter().filter(|&&other| other != block);
        self.zone.blocks.contains(&block) && !others.any(|&other| self.is_good_zone_block(other))
    }

    /// Those that hold the newest anchor last, and before them those with the one before, where the newest stands in one alone;
    /// in a recovery those first of which the next one would know that they were erased; torn ones before those with the anchor
    /// before; the least worn first.
    fn zone_preference(&self, block: Block) -> (bool, bool, bool, bool, bool, u32, Block) {
        let zone = &self.zone;
        let (newest, previous) = (zone.blocks.contains(&block), zone.previous.contains(&block));
        let needed = previous && zone.blocks.len() < 2;
        let (hidden, whole) = (!self.erase_shows(block), !zone.damaged.contains(&block));
        (newest, needed, hidden, previous, whole, self.blocks.erase_count(block), block)
    }

    /// See that the newest anchor stands in two blocks. One that stands in one alone may have been torn and be gone at the next
    /// mount: until it stands in another, nothing may be erased that counts by the anchor before it.
    pub(super) fn make_anchor_certain(&mut self) -> Result<()> {
        if self.zone.blocks.len() >= 2 {
            return Ok(());
        }
        if self.good_zone_blocks().count() < 2 {
            return Err(self.too_few_anchor_blocks());
        }
        let payload = self.anchor.encode();
        self.anchor_into_other_blocks(&payload, self.sequence)
    }

    pub(super) fn too_few_anchor_blocks(&self) -> Error {
        Error::ReadOnly(too_few_are_left(self.good_zone_blocks().count(), self.layout.zone_blocks))
    }

    fn program_anchor(&mut self, at: PageAddr, payload: &[u8], sequence: u64) -> Result<bool> {
        let head = Head {
            kind: Kind::Anchor,
            flags: 0,
            volume: self.volume,
            epoch: sequence as u32,
            number: sequence,
            address: self.layout.address(at).0,
            erases: self.blocks.erase_count(at.block),
        };
        let bytes = seal(&head, payload, self.layout.page_size as usize);
        let programmed = self.hw.program(at, &bytes);
        self.or_bad(at.block, programmed)
    }
}

/// Why no anchor can be written to a zone of which so many blocks are left, if so.
pub(super) fn why_no_anchor(left: usize, zone_blocks: u32) -> Option<String> {
    (left < 2).then(|| too_few_are_left(left, zone_blocks))
}

fn too_few_are_left(left: usize, zone_blocks: u32) -> String {
    format!("too few blocks of the anchor zone are left: {left} of {zone_blocks}, and an anchor takes two")
}
