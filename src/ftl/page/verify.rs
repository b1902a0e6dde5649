//! What a check needs to see of a mounted volume: every copy of its metadata, and where each page should lie.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::chain::Pair;
use super::collect::summary_in;
use super::io::{Reading, read_metadata};
use super::layout::{Layout, Lpn, Ppn};
use super::map::{MapError, physical};
use super::{PageVolume, Session};
use crate::error::Result;
use crate::flash::{Block, FlashHardware, PageAddr};
use crate::onflash::paged::head::{Head, Kind};
use crate::onflash::paged::log::flags;
use crate::onflash::paged::map::MapEntry;
use crate::onflash::paged::tables::BlockState;
use crate::onflash::paged::{NO_PAGE, NextPair, StoredPage};

/// Why a log page is damaged that stood in one block alone.
const REPEATED: &str = "it is not the log page that the next one repeats";

/// Copies that are not there beside one that is, group by group of the log: of the last one, the power may have gone before they
/// were.
#[derive(Default)]
struct Missing {
    certain: Vec<(PageAddr, String)>,
    of_group: Vec<(PageAddr, String)>,
    /// The group is.
    is_complete: bool,
}

/// The head of a metadata page, or why there is none.
type HeadOr = core::result::Result<Head, String>;

impl Missing {
    fn note(&mut self, copies: [PageAddr; 2], halves: &[HeadOr; 2]) {
        if halves.iter().any(core::result::Result::is_ok) {
            let missing = |(at, half): (PageAddr, &HeadOr)| Some((at, half.as_ref().err()?.clone()));
            self.of_group.extend(copies.into_iter().zip(halves).filter_map(missing));
        }
    }

    /// There is another page of the log: the group before it is all there, if it was complete.
    fn next_page(&mut self) {
        if core::mem::take(&mut self.is_complete) {
            self.end_group();
        }
    }

    fn end_group(&mut self) {
        self.certain.append(&mut self.of_group);
    }
}

/// A page that should hold a logical page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredAt {
    /// Where.
    pub page: Ppn,
    /// The logical page.
    pub logical: Lpn,
    /// CRC-32 of its content.
    pub crc: u32,
}

/// What the map says, all of it.
#[derive(Clone, Debug, Default)]
pub struct MapContent {
    /// Pages that are stored, in the order of their places.
    pub stored: Vec<StoredAt>,
    /// Logical pages that were lost.
    pub lost: Vec<Lpn>,
    /// Entries that point to no page there is.
    pub misplaced: Vec<(Lpn, u32)>,
    /// Map pages of which no copy is whole, and why.
    pub damaged: Vec<(u32, String)>,
}

/// What a block's summary says of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SummaryEntry {
    /// The logical page.
    pub logical: Lpn,
    /// CRC-32 of its content.
    pub crc: u32,
}

/// A closed block by its summary.
#[derive(Clone, Debug)]
pub struct BlockContent {
    /// What its pages hold, by page.
    pub pages: BTreeMap<u32, SummaryEntry>,
    /// The erase count it states.
    pub erases: u32,
}

impl BlockContent {
    /// The content of `block` of `volume` by the summary in all its bytes; `None` where it has none that is whole.
    #[must_use]
    pub fn of_block(layout: &Layout, volume: u32, block: Block, bytes: &[u8]) -> Option<Self> {
        let summary = summary_in(layout, volume, block, bytes)?;
        let entry = |(page, stored): (u32, StoredPage)| {
            (page, SummaryEntry { logical: Lpn(stored.logical), crc: stored.crc })
        };
        Some(Self { pages: summary.contents.into_iter().map(entry).collect(), erases: summary.erases })
    }
}

impl<H: FlashHardware> PageVolume<H> {
    /// Whether the last session of writing ended well.
    pub fn ended_well(&self) -> bool {
        self.session == Session::Clean
    }

    /// The volume's id, which all its metadata pages bear.
    pub fn id(&self) -> u32 {
        self.volume
    }

    /// Whether what is mounted is not, or may not be, the newest state.
    pub fn is_older_state(&self) -> bool {
        self.older
    }

    /// Whether the block table is known.
    pub fn knows_blocks(&self) -> bool {
        self.has_table
    }

    /// Pages of a block that count, as the block table has it; `None` for a block that holds no data.
    pub fn live_pages(&self, block: Block) -> Option<u32> {
        let info = self.blocks.info(block);
        matches!(info.state, BlockState::Closed | BlockState::Listed).then_some(info.live)
    }

    /// Whether the table says that a block is closed by a summary.
    pub fn is_closed(&self, block: Block) -> bool {
        self.blocks.state(block) == BlockState::Closed
    }

    /// Whether the table, not the chip, says that a block is bad.
    pub fn is_bad_by_table(&self, block: Block) -> bool {
        self.blocks.state(block) == BlockState::Bad
    }

    /// All that the map says.
    ///
    /// # Errors
    /// When the chip fails otherwise than by pages that cannot be read.
    pub fn map_content(&self) -> Result<MapContent> {
        let mut content = MapContent::default();
        let per_page = self.layout.entries_per_map_page();
        for logical in self.layout.iter_logical() {
            let index = logical.0 / per_page;
            if content.damaged.last().is_some_and(|&(damaged, _)| damaged == index) {
                continue;
            }
            match self.map.get(&self.hw, logical) {
                Ok(MapEntry::Unmapped) => {}
                Ok(MapEntry::Lost) => content.lost.push(logical),
                Ok(entry @ MapEntry::At { address, crc }) => match physical(entry, &self.layout) {
                    Some(page) => content.stored.push(StoredAt { page, logical, crc }),
                    None => content.misplaced.push((logical, address)),
                },
                Err(MapError::Damaged(reason)) => content.damaged.push((index, reason)),
                Err(MapError::Flash(error)) => return Err(error.into()),
            }
        }
        content.stored.sort_unstable();
        Ok(content)
    }

    /// Copies of the checkpoint's tables, of map pages and of the log that are not whole; each has a twin that is, or the volume
    /// would not have mounted.
    ///
    /// # Errors
    /// When the chip fails otherwise than by pages that cannot be read.
    pub fn damaged_copies(&self) -> Result<Vec<(PageAddr, String)>> {
        let mut damaged = Vec::new();
        for &address in self.map.directory.iter().filter(|&&address| address != NO_PAGE) {
            let Some(page) = self.layout.physical(address) else { continue };
            let at = self.layout.page_addr(page);
            let twin = self.map.twins.get(&at.block).map(|&block| PageAddr { block, ..at });
            for at in [Some(at), twin].into_iter().flatten() {
                damaged.extend(self.why_not(at, Kind::Map)?);
            }
        }
        damaged.extend(self.damaged_tables()?);
        damaged.sort_by_key(|(at, _)| *at);
        damaged.dedup_by_key(|(at, _)| *at);
        Ok(damaged)
    }

    /// Both copies of all pages from the directory to the end of the log, and the pages that stood in one block alone.
    fn damaged_tables(&self) -> Result<Vec<(PageAddr, String)>> {
        let mut missing = Missing::default();
        self.look_along_chain(&mut missing)?;
        if self.ended_well() {
            missing.end_group();
        }
        Ok(missing.certain)
    }

    fn look_along_chain(&self, missing: &mut Missing) -> Result<()> {
        let (a, b, mut slot) = self.anchor.body;
        let mut pair = [Block(a), Block(b)];
        let mut pairs = BTreeSet::from([pair]);
        let tables = self.anchor.directory_pages.saturating_add(self.anchor.table_pages);
        let mut next_log = self.anchor.next_log;
        let (mut seen, mut next) = (0, None);
        // Where the page before those of this place stood, if it stood alone.
        let mut before = None;
        while seen < tables || next_log < self.log.next {
            let copies = pair.map(|block| PageAddr { block, page: slot });
            let halves = self.heads_at(copies, &mut next)?;
            let any = halves.iter().any(core::result::Result::is_ok);
            if seen < tables {
                seen += 1;
                missing.note(copies, &halves);
                missing.end_group();
            } else {
                let heads: Vec<&Head> = halves.iter().flatten().filter(|head| self.is_of_log(head)).collect();
                let numbers = heads.iter().map(|head| head.number);
                // A page that stood alone is not missed: the next one repeats it.
                if numbers.clone().min() == next_log.checked_add(1) {
                    let lost = if halves[0].is_err() { Some(copies[0]) } else { before };
                    missing.certain.extend(lost.map(|at| (at, REPEATED.to_string())));
                }
                next_log = numbers.max().map_or(next_log, |newest| next_log.max(newest.saturating_add(1)));
                let has = |flag| heads.iter().any(|head| head.flags & flag != 0);
                missing.next_page();
                if !has(flags::SINGLE) {
                    missing.note(copies, &halves);
                }
                if has(flags::SNAPSHOT) {
                    missing.end_group();
                }
                missing.is_complete = has(flags::COMMIT);
            }
            before = Some(copies[usize::from(any)]);
            slot += 1;
            // After a clean end the log goes on in the next pair.
            if slot == self.layout.pages_per_block || !any && !self.goes_on(pair, slot, next_log)? {
                let Some(NextPair(a, b)) = next.take() else { return Ok(()) };
                if a >= self.layout.blocks || b >= self.layout.blocks {
                    return Ok(());
                }
                (pair, slot) = ([Block(a), Block(b)], 0);
                // A page that lies may lead into a loop.
                if !pairs.insert(pair) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn is_of_log(&self, head: &Head) -> bool {
        head.kind == Kind::Log && head.epoch == self.sequence as u32
    }

    /// Whether the log page after `number` is in this place.
    fn goes_on(&self, pair: Pair, slot: u32, number: u64) -> Result<bool> {
        let halves = self.heads_at(pair.map(|block| PageAddr { block, page: slot }), &mut None)?;
        let mut heads = halves.iter().flatten();
        Ok(heads.any(|head| self.is_of_log(head) && Some(head.number) == number.checked_add(1)))
    }

    fn heads_at(&self, [a, b]: [PageAddr; 2], next: &mut Option<NextPair>) -> Result<[HeadOr; 2]> {
        Ok([self.head_at(a, next)?, self.head_at(b, next)?])
    }

    fn head_at(&self, at: PageAddr, next: &mut Option<NextPair>) -> Result<HeadOr> {
        Ok(match read_metadata(&self.hw, at)? {
            Reading::Whole(head, payload)
                if head.volume == self.volume && head.address == self.layout.address(at).0 =>
            {
                *next = NextPair::of_payload(&payload).or(*next);
                Ok(head)
            }
            other => Err(other.reason()),
        })
    }

    fn why_not(&self, at: PageAddr, kind: Kind) -> Result<Option<(PageAddr, String)>> {
        let reading = read_metadata(&self.hw, at)?;
        if let Reading::Whole(head, _) = &reading {
            let address = self.layout.address(at).0;
            let wrong = head.expect(kind, self.volume, address).err();
            return Ok(wrong.map(|error| (at, error.to_string())));
        }
        Ok(Some((at, reading.reason())))
    }
}
