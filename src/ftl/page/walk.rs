//! Walking along the chain: page after page, pair after pair, by whichever copy is whole.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::chain::Pair;
use super::io::{Reading, place, read_metadata};
use super::layout::Layout;
use crate::error::{Error, Result};
use crate::flash::{Block, FlashHardware, PageAddr};
use crate::onflash::paged::head::{Head, Kind};
use crate::onflash::paged::log::{LogPage, flags};
use crate::onflash::paged::tables::decode_chunk;
use crate::onflash::paged::{NO_BLOCK, NextPair};

/// A place in the chain.
pub(super) struct Walker<'a, H: ?Sized> {
    hw: &'a H,
    layout: &'a Layout,
    volume: u32,
    pub(super) pair: Pair,
    pub(super) slot: u32,
    /// The pair that the pages of this one name.
    pub(super) next: Option<Pair>,
    /// The session that wrote the last page that was found gives each page a twin.
    mirrored: bool,
    /// The last page of the log that was found stands in the first block alone.
    alone: bool,
    /// Pairs that were seen, in order.
    pub(super) pairs: Vec<Pair>,
    /// Copies that are not whole beside one that is.
    pub(super) damaged: Vec<(PageAddr, String)>,
}

impl<H: ?Sized> Clone for Walker<'_, H> {
    fn clone(&self) -> Self {
        Self {
            hw: self.hw,
            layout: self.layout,
            volume: self.volume,
            pair: self.pair,
            slot: self.slot,
            next: self.next,
            mirrored: self.mirrored,
            alone: self.alone,
            pairs: self.pairs.clone(),
            damaged: self.damaged.clone(),
        }
    }
}

impl<'a, H: FlashHardware + ?Sized> Walker<'a, H> {
    /// At page `slot` of a pair; `None` where there are no such blocks.
    pub(super) fn new(
        hw: &'a H,
        layout: &'a Layout,
        volume: u32,
        (a, b, slot): (u32, u32, u32),
    ) -> Option<Self> {
        let pair = as_pair(layout, NextPair(a, b))?;
        let pairs = Vec::from([pair]);
        let inside = slot < layout.pages_per_block;
        inside.then_some(Self {
            hw,
            layout,
            volume,
            pair,
            slot,
            next: None,
            mirrored: false,
            alone: false,
            pairs,
            damaged: Vec::new(),
        })
    }

    pub(super) fn places(&self) -> [PageAddr; 2] {
        self.pair.map(|block| PageAddr { block, page: self.slot })
    }

    /// What the two copies of this place hold.
    fn read(&self, copy: usize) -> Result<(PageAddr, Reading)> {
        let at = self.places()[copy];
        Ok((at, read_metadata(self.hw, at)?))
    }

    /// What a page of the chain says of those after it.
    fn note(&mut self, head: &Head, payload: &[u8]) {
        self.mirrored = head.flags & flags::MIRRORED != 0;
        let next = NextPair::of_payload(payload).filter(|next| next.0 != NO_BLOCK);
        self.next = next.and_then(|next| as_pair(self.layout, next)).or(self.next);
    }

    /// Go to the next page; `false` where the chain does not say where it is.
    pub(super) fn advance(&mut self) -> bool {
        self.slot += 1;
        if self.slot < self.layout.pages_per_block {
            return true;
        }
        let Some(next) = self.next.take().filter(|next| !self.pairs.contains(next)) else {
            return false;
        };
        (self.pair, self.slot) = (next, 0);
        self.pairs.push(next);
        true
    }

    /// Go to the next pair, whatever is left of this one.
    pub(super) fn jump(&mut self) -> bool {
        self.slot = self.layout.pages_per_block - 1;
        self.advance()
    }

    /// A block that cannot be read and may have held one more page of the log, alone: where the log ends, and whether that is certain
    /// to be the block's damage. In a pair that may not have been begun, a cut may have torn the erase.
    pub(super) fn lost_half(&self) -> Result<Option<(Block, bool)>> {
        let at = self.next_alone().filter(|_| !self.mirrored);
        let begun = self.alone || self.slot > 0;
        match at {
            Some(at) if self.is_lost(at)? => Ok(Some((at.block, begun))),
            _ => Ok(None),
        }
    }

    /// Where the next page of the log stands if it has no twin: beside the last one, if that has none, else in the first block.
    fn next_alone(&self) -> Option<PageAddr> {
        if !self.alone {
            let room = self.slot < self.layout.pages_per_block;
            return room.then_some(PageAddr { block: self.pair[0], page: self.slot });
        }
        match self.slot.checked_sub(1) {
            Some(page) => Some(PageAddr { block: self.pair[1], page }),
            None => {
                let [_, block] = *self.pairs.iter().rev().nth(1)?;
                Some(PageAddr { block, page: self.layout.pages_per_block - 1 })
            }
        }
    }

    /// Whether the page is not whole, and another one of its block cannot be read: a cut tears one page alone.
    fn is_lost(&self, at: PageAddr) -> Result<bool> {
        if !read_metadata(self.hw, at)?.is_torn() {
            return Ok(false);
        }
        for page in (0..self.layout.pages_per_block).filter(|&page| page != at.page) {
            if self.is_unreadable(PageAddr { page, ..at })? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_unreadable(&self, at: PageAddr) -> Result<bool> {
        Ok(matches!(read_metadata(self.hw, at)?, Reading::Unreadable(_)))
    }

    /// A pair that was come to, and holds nothing, is the next one still.
    pub(super) fn leave_if_unused(&mut self) {
        if self.slot == 0 && self.next.is_none() && self.pairs.len() > 1 {
            self.next = self.pairs.pop();
        }
    }

    /// The part of a stream in this page, by its kind and number.
    fn chunk(&mut self, kind: Kind, number: u64, epoch: u32) -> Result<Vec<u8>> {
        let noun = kind.name().trim_start_matches("a ");
        let mut reasons = String::new();
        for copy in 0..2 {
            let (at, reading) = self.read(copy)?;
            let here = || place(self.hw, at);
            let reason = match reading {
                Reading::Whole(head, payload) => {
                    let address = self.layout.address(at).0;
                    match head.expect(kind, self.volume, address) {
                        Ok(()) if head.number == number && head.epoch == epoch => {
                            self.note(&head, &payload);
                            let chunk = decode_chunk(&payload).unwrap_or_default().to_vec();
                            if !reasons.is_empty() {
                                let first = self.places()[0];
                                self.damaged.push((first, core::mem::take(&mut reasons)));
                            }
                            return Ok(chunk);
                        }
                        Ok(()) => format!("{} is another {noun}", here()),
                        Err(error) => format!("{}: {error}", here()),
                    }
                }
                Reading::Not(error) => format!("{}: {error}", here()),
                Reading::Unreadable(error) => format!("{error}"),
            };
            if !reasons.is_empty() {
                reasons.push_str("; ");
            }
            reasons.push_str(&reason);
        }
        Err(Error::Unmountable(format!("no copy of {noun} {number} is whole: {reasons}")))
    }

    /// A whole stream of `pages` pages from here on.
    pub(super) fn stream(&mut self, kind: Kind, pages: u32, epoch: u32) -> Result<Vec<u8>> {
        let mut stream = Vec::new();
        for number in 0..pages {
            stream.extend(self.chunk(kind, u64::from(number), epoch)?);
            self.leave(kind)?;
        }
        Ok(stream)
    }

    /// Pass over the pages of a stream that begins here; how many there are, `None` where the chain ends with them.
    pub(super) fn count(&mut self, kind: Kind, epoch: u32) -> Result<Option<u32>> {
        let mut pages = 0;
        loop {
            match self.chunk(kind, u64::from(pages), epoch) {
                Ok(_) if self.advance() => pages += 1,
                Ok(_) => return Ok(None),
                Err(Error::Unmountable(_)) => return Ok(Some(pages)),
                Err(error) => return Err(error),
            }
        }
    }

    /// The number of the log page that begins here, if there is one: where it stood in one block alone, the next one repeats it.
    pub(super) fn first_log_page(&mut self, epoch: u32) -> Result<Option<u64>> {
        for is_next in [false, true] {
            let slot = self.log_pages(0, epoch)?;
            if let Some((head, page)) = slot.pages.first() {
                return Ok(match page.repeated.is_empty() {
                    true => (!is_next).then_some(head.number),
                    false => head.number.checked_sub(1),
                });
            }
            if !self.advance() {
                break;
            }
        }
        Ok(None)
    }

    fn leave(&mut self, kind: Kind) -> Result<()> {
        if self.advance() {
            return Ok(());
        }
        let at = place(self.hw, self.places()[0]);
        Err(Error::Unmountable(format!("the chain ends at {at}, in the middle of {}", kind.name())))
    }

    /// Pass over a stream of `pages` pages; of each pair only a page is read that tells the next one.
    pub(super) fn skip(&mut self, kind: Kind, pages: u32, epoch: u32) -> Result<()> {
        let mut number = 0;
        while number < pages {
            let here = (self.layout.pages_per_block - self.slot).min(pages - number);
            let last = here - 1;
            self.slot += last;
            if self.slot + 1 == self.layout.pages_per_block || self.next.is_none() {
                self.chunk(kind, u64::from(number + last), epoch)?;
            }
            number += here;
            self.leave(kind)?;
        }
        Ok(())
    }

    /// Pass over a stream of `pages` pages, also where one is not whole; `false` where the chain does not say where it goes on.
    pub(super) fn pass(&mut self, kind: Kind, pages: u32, epoch: u32) -> Result<bool> {
        for number in 0..pages {
            match self.chunk(kind, u64::from(number), epoch) {
                Ok(_) | Err(Error::Unmountable(_)) => {}
                Err(error) => return Err(error),
            }
            if !self.advance() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The log pages in this place, by number, and what else shows here.
    pub(super) fn log_pages(&mut self, expected: u64, epoch: u32) -> Result<LogSlot> {
        let (at, first) = self.read(0)?;
        let begun = self.slot > 0;
        let mut slot = LogSlot { pages: Vec::new(), begun, written: None, newer: false, torn_twin: None };
        let torn = first.is_torn();
        let first = self.take_log_page(at, first, epoch, &mut slot);
        if first == Some((expected, false)) {
            self.alone = false;
            return Ok(slot);
        }
        let (twin, second) = self.read(1)?;
        let twin_written = !second.is_erased();
        slot.begun = slot.begun || torn && !twin_written && self.is_erased_behind(at.block)?;
        let second = self.take_log_page(twin, second, epoch, &mut slot);
        if first.is_some() || second.is_some() {
            self.alone = matches!((first, second), (Some((_, true)), None));
        }
        let damage = |at| (at, format!("{} is not the log page that its twin is", place(self.hw, at)));
        match (first, second) {
            (None, Some((_, false))) => self.damaged.push(damage(at)),
            (Some((_, false)), None) => self.damaged.push(damage(twin)),
            // The next page, which stood there alone.
            (Some((_, true)), None) => slot.torn_twin = twin_written.then_some(twin),
            _ => {}
        }
        slot.pages.sort_by_key(|(head, _)| head.number);
        Ok(slot)
    }

    /// Whether nothing follows this place in `block`: it was erased for the chain, and not before it held something else.
    fn is_erased_behind(&self, block: Block) -> Result<bool> {
        for page in [self.slot + 1, self.layout.pages_per_block - 1] {
            if !read_metadata(self.hw, PageAddr { block, page })?.is_erased() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first of these places that holds something which is no whole page.
    pub(super) fn first_torn(&self, places: &BTreeSet<PageAddr>) -> Result<Option<PageAddr>> {
        for &at in places {
            if read_metadata(self.hw, at)?.is_torn() {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Whether both copies of this place hold the log page with that number.
    pub(super) fn both_hold(&self, number: u64, epoch: u32) -> Result<bool> {
        for copy in 0..2 {
            let (at, reading) = self.read(copy)?;
            let page = reading.of(Kind::Log, self.volume, self.layout.address(at).0);
            if !page.is_some_and(|(head, _)| head.number == number && head.epoch == epoch) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Number of a log page, and whether it has no twin.
    fn take_log_page(
        &mut self,
        at: PageAddr,
        reading: Reading,
        epoch: u32,
        slot: &mut LogSlot,
    ) -> Option<(u64, bool)> {
        if !reading.is_erased() {
            slot.written.get_or_insert(at);
        }
        let (head, payload) = reading.written_by(self.volume, self.layout.address(at).0)?;
        slot.newer |= head.epoch > epoch;
        if head.kind != Kind::Log || head.epoch != epoch {
            return None;
        }
        let page = LogPage::decode(&payload).ok()?;
        self.note(&head, &payload);
        slot.pages.push((head, page));
        Some((head.number, head.flags & flags::SINGLE != 0))
    }
}

/// What a place in the log holds.
#[derive(Debug)]
pub(super) struct LogSlot {
    pub(super) pages: Vec<(Head, LogPage)>,
    /// The pair was begun: what it holds is no older than the chain.
    pub(super) begun: bool,
    /// The first place here that is not erased.
    pub(super) written: Option<PageAddr>,
    /// There is something of a later checkpoint.
    pub(super) newer: bool,
    /// The page in the first block has no twin, and this, which was written beside it, is not whole.
    pub(super) torn_twin: Option<PageAddr>,
}

impl LogSlot {
    /// Whether what is here is to have a twin, which the power may have kept from being written: a checkpoint's pages have theirs
    /// before it is in force.
    pub(super) fn may_be_cut(&self) -> bool {
        self.pages.iter().all(|(head, _)| head.flags & (flags::SINGLE | flags::SNAPSHOT) == 0)
    }

    /// Whether the first log page here is the one with that number.
    pub(super) fn begins_with(&self, number: u64) -> bool {
        self.pages.first().is_some_and(|(head, _)| head.number == number)
    }
}

/// A pair that a page names, if there are such blocks.
fn as_pair(layout: &Layout, next: NextPair) -> Option<Pair> {
    let inside = |block: u32| (layout.zone_blocks..layout.blocks).contains(&block);
    (inside(next.0) && inside(next.1) && next.0 != next.1).then_some([Block(next.0), Block(next.1)])
}
